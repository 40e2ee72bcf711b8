import CSys
import Primitives

/// One field line of a head or a trailer section (RFC 9112 section 5).
struct FieldLine {
    /// Where the name stands, now in lower case.
    let name: Range<Int>
    /// Where the value stands, without the white space around it.
    let value: Range<Int>

    /// Reads the line at `position`, which goes behind its CRLF.
    /// - Throws: 400 for anything that is not a field line.
    init(_ bytes: inout MutableSpan<UInt8>, _ position: inout Int) throws(HTTPFailure) {
        // RFC 9112 section 5.2: a line that begins with white space is obs-fold.
        let nameEnd = Self.lowercaseToken(&bytes, from: position)
        guard nameEnd > position, nameEnd < bytes.count, bytes[nameEnd] == UInt8(ascii: ":") else {
            throw HTTPFailure(status: 400, reason: "A header field has no proper name.")
        }
        var start = nameEnd + 1
        while start < bytes.count, ByteClass.isBlank(bytes[start]) { start += 1 }
        let lineEnd = Self.valueEnd(bytes, from: start)
        guard lineEnd + 1 < bytes.count, bytes[lineEnd] == 0x0d, bytes[lineEnd + 1] == 0x0a else {
            throw HTTPFailure(status: 400, reason: "A header field holds a control character.")
        }
        var end = lineEnd
        while end > start, ByteClass.isBlank(bytes[end - 1]) { end -= 1 }
        name = position..<nameEnd
        value = start..<end
        position = lineEnd + 2
    }

    /// Where the token ends that begins at `start`; its letters become lower-case.
    private static func lowercaseToken(_ bytes: inout MutableSpan<UInt8>, from start: Int) -> Int {
        unsafe bytes.withUnsafeMutableBufferPointer { buffer in
            unsafe csys_lowercase_token(buffer.baseAddress, start, buffer.count)
        }
    }

    /// Where the bytes end, from `start` on, that a value may hold.
    private static func valueEnd(_ bytes: borrowing MutableSpan<UInt8>, from start: Int) -> Int {
        unsafe bytes.span.withUnsafeBufferPointer { buffer in
            unsafe csys_field_value_end(buffer.baseAddress, start, buffer.count)
        }
    }
}

/// Classes of bytes in HTTP.
enum ByteClass {
    /// tchar of RFC 9110 section 5.6.2, as two bitmaps of 64.
    private static let lowTokens: UInt64 = 0x03ff_6cfa_0000_0000
    private static let highTokens: UInt64 = 0x57ff_ffff_c7ff_fffe
    /// `A` to `Z` in the second bitmap.
    private static let capitals: UInt64 = 0x07ff_fffe

    static func isToken(_ byte: UInt8) -> Bool { contains(byte, lowTokens, highTokens) }

    /// Such a character that HTTP/2 allows in a field's name (RFC 9113 section 8.2).
    static func isLowercaseToken(_ byte: UInt8) -> Bool {
        contains(byte, lowTokens, highTokens & ~capitals)
    }

    private static func contains(_ byte: UInt8, _ low: UInt64, _ high: UInt64) -> Bool {
        guard byte < 0x80 else { return false }
        return (byte < 64 ? low : high) >> UInt64(byte & 63) & 1 == 1
    }

    /// SP or HTAB.
    static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    /// What a field value may hold (RFC 9110 section 5.5): no CR, LF, NUL or other control.
    static func isFieldValue(_ byte: UInt8) -> Bool {
        byte >= 0x20 && byte != 0x7f || byte == 0x09
    }

    /// What a request target may hold: visible ASCII.
    static func isTarget(_ byte: UInt8) -> Bool { byte > 0x20 && byte < 0x7f }

    /// What a host and port may hold; no userinfo (RFC 9110 section 4.2.4).
    static func isAuthority(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"),
            UInt8(ascii: ":"), UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: "%"):
            true
        default: false
        }
    }
}
