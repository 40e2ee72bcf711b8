import CSys
import Primitives

/// Escapes within JSON strings (RFC 8259 section 7).
enum JSONEscape {
    /// The offset behind the escape whose backslash is at `start`; nil when it is not one.
    /// Surrogates must come in pairs: a lone one is no character.
    static func end(_ bytes: Span<UInt8>, from start: Int) -> Int? {
        guard start + 1 < bytes.count else { return nil }
        switch bytes[start + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"),
            UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return start + 2
        case UInt8(ascii: "u"):
            guard let unit = codeUnit(bytes, at: start + 2) else { return nil }
            if unit & 0xfc00 == 0xdc00 { return nil }
            guard unit & 0xfc00 == 0xd800 else { return start + 6 }
            guard start + 11 < bytes.count, bytes[start + 6] == UInt8(ascii: "\\"),
                bytes[start + 7] == UInt8(ascii: "u"),
                let low = codeUnit(bytes, at: start + 8), low & 0xfc00 == 0xdc00
            else { return nil }
            return start + 12
        default: return nil
        }
    }

    /// The text of a validated string's content, escapes undone.
    static func unescaped(_ content: Span<UInt8>) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(content.count)
        unescape(content, to: &text)
        return text
    }

    /// Appends the text of a validated string's content, escapes undone.
    static func unescape(_ content: Span<UInt8>, to text: inout [UInt8]) {
        text.append(addingCapacity: content.count) { unescape(content, to: &$0) }
    }

    /// No escape is shorter than the character that it stands for.
    private static func unescape(_ content: Span<UInt8>, to text: inout OutputSpan<UInt8>) {
        var at = 0
        while at < content.count {
            guard content[at] == UInt8(ascii: "\\") else {
                text.append(content[at])
                at += 1
                continue
            }
            let escape = content[at + 1]
            at += 2
            switch escape {
            case UInt8(ascii: "b"): text.append(0x08)
            case UInt8(ascii: "f"): text.append(0x0c)
            case UInt8(ascii: "n"): text.append(0x0a)
            case UInt8(ascii: "r"): text.append(0x0d)
            case UInt8(ascii: "t"): text.append(0x09)
            case UInt8(ascii: "u"): at = appendScalar(content, at: at, to: &text)
            default: text.append(escape)
            }
        }
    }

    private static func appendScalar(
        _ content: Span<UInt8>, at start: Int, to text: inout OutputSpan<UInt8>
    ) -> Int {
        var value = UInt32(codeUnit(content, at: start) ?? 0xfffd)
        var end = start + 4
        if value & 0xfc00 == 0xd800, let low = codeUnit(content, at: start + 6) {
            value = 0x10000 + (value & 0x3ff) << 10 + UInt32(low & 0x3ff)
            end = start + 10
        }
        for byte in UTF8.encode(Unicode.Scalar(value) ?? "\u{fffd}") ?? .init([]) {
            text.append(byte)
        }
        return end
    }

    private static func codeUnit(_ bytes: Span<UInt8>, at start: Int) -> UInt16? {
        guard start + 4 <= bytes.count else { return nil }
        var unit: UInt16 = 0
        for index in start..<start + 4 {
            guard let digit = bytes[index].hexadecimalValue else { return nil }
            unit = unit << 4 | UInt16(digit)
        }
        return unit
    }
}

extension Span where Element == UInt8 {
    /// What a JSON string may hold as it is: from `start` to the first quote, backslash or control
    /// character.
    @inline(__always)
    func stringRun(from start: Int) -> csys_string_run {
        unsafe withUnsafeBufferPointer { buffer in
            unsafe csys_string_run_at(buffer.baseAddress, start, buffer.count)
        }
    }
}
