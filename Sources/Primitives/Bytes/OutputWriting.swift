/// Writing text and numbers into memory that has been made ready for them.
///
/// Records and heads are many short pieces. Here a piece is a comparison and a copy; an array would
/// look at its owner and its size for each. Whoever opens the span asks for enough: writing beyond
/// it traps.
extension OutputSpan<UInt8> {
    /// Writes the bytes of a literal.
    @inlinable
    @inline(__always)
    public mutating func append(_ literal: StaticString) {
        unsafe append(
            copying: UnsafeBufferPointer(
                start: literal.utf8Start, count: literal.utf8CodeUnitCount))
    }

    /// Writes the bytes of a span.
    @inlinable
    @inline(__always)
    public mutating func append(span: Span<UInt8>) {
        unsafe span.withUnsafeBufferPointer { unsafe append(copying: $0) }
    }

    /// Writes a string as UTF-8.
    @inlinable
    public mutating func append(utf8 text: String) {
        let isDone: Void? = unsafe text.utf8.withContiguousStorageIfAvailable {
            unsafe append(copying: $0)
        }
        if isDone == nil { for byte in text.utf8 { append(byte) } }
    }

    /// Writes a whole number in decimal.
    @inlinable
    @inline(__always)
    public mutating func append(decimal number: Int) { append(decimal: Int64(number)) }

    /// Writes a whole number in decimal.
    @inlinable
    public mutating func append(decimal number: Int64) {
        if number < 0 { append(UInt8(ascii: "-")) }
        append(decimal: number.magnitude, width: 1)
    }

    /// Writes a whole number in decimal with at least `width` digits, zeros in front.
    @inlinable
    public mutating func append(decimal number: UInt64, width: Int) {
        if number < 10, width == 1 {
            return append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number))
        }
        var count = 2
        var limit: UInt64 = 100
        while number >= limit {
            count += 1
            let (next, isBeyond) = limit.multipliedReportingOverflow(by: 10)
            if isBeyond { break }
            limit = next
        }
        count = Swift.max(count, width)
        unsafe withUnsafeMutableBufferPointer { buffer, initialized in
            precondition(count <= buffer.count - initialized)
            var rest = number
            var offset = initialized + count
            while offset > initialized {
                offset -= 1
                unsafe buffer[offset] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            }
            initialized += count
        }
    }

    /// Writes a whole number in lower-case hexadecimal with at least `width` digits.
    @inlinable
    public mutating func append(hexadecimal number: UInt64, width: Int = 1) {
        let digits = Swift.max((67 - (number | 1).leadingZeroBitCount) / 4, width)
        let all: [2 of UInt64] = [
            Self.hexadecimalDigits(of: UInt32(truncatingIfNeeded: number >> 32)).bigEndian,
            Self.hexadecimalDigits(of: UInt32(truncatingIfNeeded: number)).bigEndian,
        ]
        unsafe withUnsafeBytes(of: all) { bytes in
            unsafe bytes.withMemoryRebound(to: UInt8.self) { bytes in
                unsafe append(copying: UnsafeBufferPointer(rebasing: bytes.suffix(digits)))
            }
        }
    }

    /// All eight digits at once, the first in the most significant byte: the number is spread out
    /// until each byte has four of its bits; what is above nine goes on to the letters, 39 places
    /// behind.
    @inlinable
    @inline(__always)
    static func hexadecimalDigits(of number: UInt32) -> UInt64 {
        var bits = UInt64(number)
        bits = (bits << 16 | bits) & 0x0000_ffff_0000_ffff
        bits = (bits << 8 | bits) & 0x00ff_00ff_00ff_00ff
        bits = (bits << 4 | bits) & 0x0f0f_0f0f_0f0f_0f0f
        let letters = (bits + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
        return bits + 0x3030_3030_3030_3030 + letters * 39
    }

    /// Writes a number's bytes, the most significant one first.
    @inlinable
    @inline(__always)
    public mutating func append(bigEndian number: UInt64) {
        append(bytesOf: number.bigEndian)
    }

    /// Writes a number's bytes, the most significant one first.
    @inlinable
    @inline(__always)
    public mutating func append(bigEndian number: UInt32) {
        append(bytesOf: number.bigEndian)
    }

    @inlinable
    @inline(__always)
    mutating func append(bytesOf number: some FixedWidthInteger & BitwiseCopyable) {
        let size = number.bitWidth / 8
        unsafe withUnsafeMutableBufferPointer { buffer, initialized in
            precondition(size <= buffer.count - initialized)
            guard let start = buffer.baseAddress else { return }
            unsafe UnsafeMutableRawPointer(start + initialized).storeBytes(
                of: number, as: type(of: number))
            initialized += size
        }
    }

    @inlinable
    @inline(__always)
    mutating func append(copying bytes: UnsafeBufferPointer<UInt8>) {
        guard let source = bytes.baseAddress else { return }
        unsafe withUnsafeMutableBufferPointer { buffer, initialized in
            precondition(bytes.count <= buffer.count - initialized)
            guard let start = buffer.baseAddress else { return }
            unsafe (start + initialized).update(from: source, count: bytes.count)
            initialized += bytes.count
        }
    }
}

extension [UInt8] {
    /// What `body` writes, `capacity` bytes at most. The standard library's initializer for this
    /// looks the array's type up each time.
    @inlinable
    @inline(__always)
    public init(atMost capacity: Int, _ body: (inout OutputSpan<UInt8>) -> Void) {
        self = []
        append(atMost: capacity, body)
    }

    /// Appends what `body` writes, `capacity` bytes at most. What `body` refers to is only lent; a
    /// closure for the standard library itself gets copies.
    @inlinable
    @inline(__always)
    public mutating func append(atMost capacity: Int, _ body: (inout OutputSpan<UInt8>) -> Void) {
        append(addingCapacity: capacity) { body(&$0) }
    }
}
