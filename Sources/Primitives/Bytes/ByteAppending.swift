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
    public mutating func append(decimal number: Int) { append(decimal: Int64(number)) }

    /// Appends a whole number in decimal.
    public mutating func append(decimal number: Int64) {
        if number < 0 { append(UInt8(ascii: "-")) }
        append(decimal: number.magnitude)
    }

    /// Appends a whole number in decimal. Not generic: a generic one would not be specialised
    /// across modules, and cost as much as the rest of a head.
    public mutating func append(decimal number: UInt64) {
        append(decimal: number, width: 1)
    }

    /// Appends a whole number in decimal with at least `width` digits, zeros in front.
    public mutating func append(decimal number: UInt64, width: Int) {
        append(addingCapacity: Swift.max(20, width)) { $0.append(decimal: number, width: width) }
    }

    /// Appends a whole number in decimal with at least `width` digits, zeros in front.
    public mutating func append(decimal number: Int, width: Int) {
        append(decimal: UInt64(clamping: number), width: width)
    }

    /// Appends a number's bytes, the most significant one first.
    public mutating func append(bigEndian number: UInt32) {
        unsafe Swift.withUnsafeBytes(of: number.bigEndian) { unsafe append(contentsOf: $0) }
    }

    /// Appends a number's bytes, the most significant one first.
    public mutating func append(bigEndian number: UInt64) {
        unsafe Swift.withUnsafeBytes(of: number.bigEndian) { unsafe append(contentsOf: $0) }
    }

    /// Appends lower-case hexadecimal digits, two a byte.
    public mutating func append(hexadecimal bytes: [UInt8]) {
        append(addingCapacity: 2 * bytes.count) { output in
            for byte in bytes {
                output.append((byte >> 4).hexadecimalDigit)
                output.append((byte & 15).hexadecimalDigit)
            }
        }
    }

    /// Appends the two lower-case hexadecimal digits of a byte.
    public mutating func append(hexadecimal byte: UInt8) {
        append(addingCapacity: 2) { $0.append(hexadecimal: UInt64(byte), width: 2) }
    }

    /// The bytes of a literal.
    public init(_ literal: StaticString) {
        self = []
        append(literal)
    }
}
