import Primitives

/// Reads the field lines of a head or a trailer section (RFC 9112 section 5).
enum FieldLines {
    /// Appends all fields of `bytes[range]`, whose lines all end with CRLF.
    /// - Throws: 400 for anything that is not a field line; 431 for too many.
    static func read(
        _ bytes: Span<UInt8>, _ range: Range<Int>, maximumCount: Int,
        into fields: inout HeaderFields
    ) throws(HTTPFailure) {
        var at = range.lowerBound
        while at < range.upperBound {
            let nameStart = at
            // RFC 9112 section 5.2: a line that begins with white space is obs-fold.
            while at < range.upperBound, ByteClass.isToken(bytes[at]) { at += 1 }
            guard at > nameStart, at < range.upperBound, bytes[at] == UInt8(ascii: ":") else {
                throw HTTPFailure(status: 400, reason: "A header field has no proper name.")
            }
            let nameEnd = at
            at += 1
            while at < range.upperBound, ByteClass.isBlank(bytes[at]) { at += 1 }
            let valueStart = at
            while at < range.upperBound, ByteClass.isFieldValue(bytes[at]) { at += 1 }
            guard at + 1 < range.upperBound, bytes[at] == 0x0d, bytes[at + 1] == 0x0a else {
                throw HTTPFailure(
                    status: 400, reason: "A header field holds a control character.")
            }
            var valueEnd = at
            while valueEnd > valueStart, ByteClass.isBlank(bytes[valueEnd - 1]) { valueEnd -= 1 }
            guard fields.count < maximumCount else {
                throw HTTPFailure(status: 431, reason: "There are too many header fields.")
            }
            fields.append(
                name: bytes.extracting(nameStart..<nameEnd),
                value: bytes.extracting(valueStart..<valueEnd))
            at += 2
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
