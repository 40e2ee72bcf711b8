/// Percent-encoding (RFC 3986 section 2).
public enum PercentEncoding {
    /// Which bytes stay as they are.
    public enum Kept: Sendable {
        /// `A-Z a-z 0-9 - . _ ~`
        case unreserved
        /// The same and `/`.
        case unreservedAndSlash
    }

    /// Every other byte becomes `%XX` with upper-case digits.
    public static func encode(_ bytes: [UInt8], keeping kept: Kept = .unreserved) -> [UInt8] {
        [UInt8](atMost: 3 * bytes.count) { write(bytes.span, keeping: kept, to: &$0) }
    }

    /// Writes the encoding, three bytes for each at most.
    public static func write(
        _ bytes: Span<UInt8>, keeping kept: Kept = .unreserved, to output: inout OutputSpan<UInt8>
    ) {
        for index in bytes.indices {
            let byte = bytes[index]
            if isUnreserved(byte) || kept == .unreservedAndSlash && byte == UInt8(ascii: "/") {
                output.append(byte)
            } else {
                output.append(UInt8(ascii: "%"))
                output.append(upperDigit(byte >> 4))
                output.append(upperDigit(byte & 15))
            }
        }
    }

    /// Undoes the encoding; a `%` without two digits stays as it is.
    public static func decode(_ text: Span<UInt8>) -> [UInt8] {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(text.count)
        var at = 0
        while at < text.count {
            if text[at] == UInt8(ascii: "%"), at + 2 < text.count,
                let high = text[at + 1].hexadecimalValue, let low = text[at + 2].hexadecimalValue
            {
                decoded.append(high << 4 | low)
                at += 3
            } else {
                decoded.append(text[at])
                at += 1
            }
        }
        return decoded
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "_"), UInt8(ascii: "~"):
            true
        default: false
        }
    }

    private static func upperDigit(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "A") + nibble - 10
    }
}
