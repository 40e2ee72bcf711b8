/// Appending text and numbers to a byte buffer without making a `String`.
extension [UInt8] {
    /// Appends the bytes of a literal.
    public mutating func append(_ literal: StaticString) {
        literal.withUTF8Buffer { unsafe append(contentsOf: $0) }
    }

    /// Appends a string as UTF-8.
    public mutating func append(utf8 text: String) { append(contentsOf: text.utf8) }

    /// Appends the bytes of a span.
    public mutating func append(span: Span<UInt8>) {
        unsafe span.withUnsafeBufferPointer { unsafe append(contentsOf: $0) }
    }

    /// Appends a whole number in decimal.
    public mutating func append<Number: BinaryInteger>(decimal number: Number) {
        guard number >= 0 else {
            append(UInt8(ascii: "-"))
            append(decimal: number.magnitude)
            return
        }
        let start = count
        var rest = number.magnitude
        repeat {
            let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
            append(UInt8(ascii: "0") + UInt8(digit))
            rest = quotient
        } while rest > 0
        self[start...].reverse()
    }

    /// Appends a whole number in decimal with at least `width` digits, zeros in front.
    public mutating func append(decimal number: Int, width: Int) {
        let digits = String(number)
        for _ in 0..<Swift.max(0, width - digits.utf8.count) { append(UInt8(ascii: "0")) }
        append(utf8: digits)
    }

    /// Appends lower-case hexadecimal digits, two a byte.
    public mutating func append(hexadecimal bytes: some Sequence<UInt8>) {
        for byte in bytes {
            append(Self.hexadecimalDigit(byte >> 4))
            append(Self.hexadecimalDigit(byte & 15))
        }
    }

    /// The bytes of a literal.
    public init(_ literal: StaticString) {
        self = []
        append(literal)
    }

    private static func hexadecimalDigit(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10
    }
}
