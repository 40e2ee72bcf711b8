import Primitives
import Wire

/// Compact JSON with text beyond ASCII as it is, not as escapes (rule R3).
enum PlainJSON {
    private static let backslash = UInt8(ascii: "\\")

    /// The text of a value: key order and number formats are kept.
    static func text(_ value: JSONValue) -> [UInt8] {
        var compact: [UInt8] = []
        value.appendCompact(to: &compact)
        return compact.contains(backslash) ? unescaped(compact) : compact
    }

    /// The text is valid: backslashes stand in strings only, and surrogates in pairs.
    private static func unescaped(_ json: [UInt8]) -> [UInt8] {
        var plain: [UInt8] = []
        plain.reserveCapacity(json.count)
        var rest = json[...]
        while let byte = rest.first {
            guard byte == backslash else {
                plain.append(byte)
                rest = rest.dropFirst()
                continue
            }
            let (scalar, length) = readEscape(rest)
            if let scalar, !scalar.isASCII {
                plain.append(contentsOf: String(scalar).utf8)
            } else {
                plain.append(contentsOf: rest.prefix(length))
            }
            rest = rest.dropFirst(length)
        }
        return plain
    }

    /// The character behind the escape that `text` begins with, nil for short ones, and its length.
    private static func readEscape(_ text: ArraySlice<UInt8>) -> (Unicode.Scalar?, length: Int) {
        guard let first = codeUnit(text) else { return (nil, 2) }
        guard first & 0xfc00 == 0xd800, let second = codeUnit(text.dropFirst(6)) else {
            return (Unicode.Scalar(first), 6)
        }
        // RFC 8259 section 7: a pair stands for one character beyond the first plane.
        return (Unicode.Scalar(0x10000 + ((first & 0x3ff) << 10 | second & 0x3ff)), 12)
    }

    /// The number in the escape with four digits that `text` begins with.
    private static func codeUnit(_ text: ArraySlice<UInt8>) -> UInt32? {
        guard text.starts(with: [backslash, UInt8(ascii: "u")]) else { return nil }
        return text.dropFirst(2).prefix(4).reduce(0) { unit, digit in
            unit << 4 | UInt32(digit.hexadecimalValue ?? 0)
        }
    }
}
