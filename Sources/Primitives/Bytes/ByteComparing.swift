import Glibc

/// Comparing and searching bytes from the wire.
extension Span where Element == UInt8 {
    /// Whether the bytes are exactly those of a literal. Most are not even as long: that is seen at
    /// the caller's.
    @inlinable
    public func equals(_ literal: StaticString) -> Bool {
        guard count == literal.utf8CodeUnitCount else { return false }
        return unsafe withUnsafeBytes { bytes in
            unsafe Self.areSame(
                bytes,
                UnsafeRawBufferPointer(
                    start: literal.utf8Start, count: literal.utf8CodeUnitCount))
        }
    }

    /// Whether the bytes are those of a literal, ASCII letters compared without case.
    /// The literal must be lower-case.
    @inlinable
    public func equalsIgnoringCase(_ lowercased: StaticString) -> Bool {
        guard count == lowercased.utf8CodeUnitCount else { return false }
        return lowercased.withUTF8Buffer { text in
            for index in indices where unsafe self[index].asciiLowercased != text[index] {
                return false
            }
            return true
        }
    }

    /// Whether the bytes begin with a literal, ASCII letters compared without case.
    /// The literal must be lower-case.
    public func startsIgnoringCase(with lowercased: StaticString) -> Bool {
        guard count >= lowercased.utf8CodeUnitCount else { return false }
        return extracting(0..<lowercased.utf8CodeUnitCount).equalsIgnoringCase(lowercased)
    }

    /// Whether two spans hold the same bytes.
    public func equals(_ other: Span<UInt8>) -> Bool {
        guard count == other.count else { return false }
        return unsafe withUnsafeBytes { bytes in
            unsafe other.withUnsafeBytes { otherBytes in
                guard count > 64, let left = bytes.baseAddress, let right = otherBytes.baseAddress
                else { return unsafe Self.areSame(bytes, otherBytes) }
                return unsafe memcmp(left, right, count) == 0
            }
        }
    }

    /// Whether two pieces of one length are the same. By words, which may overlap at the end: names
    /// and keys are short, and a call of memcmp would cost more than they do.
    @inlinable
    @inline(__always)
    static func areSame(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        let count = left.count
        guard count >= 8 else {
            for index in 0..<count where unsafe left[index] != right[index] { return false }
            return true
        }
        var at = 0
        while true {
            let leftWord = unsafe left.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            let rightWord = unsafe right.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            guard leftWord == rightWord else { return false }
            if at == count - 8 { return true }
            at = Swift.min(at + 8, count - 8)
        }
    }

    /// Whether the bytes begin with a literal.
    @inlinable
    public func starts(with literal: StaticString) -> Bool {
        guard count >= literal.utf8CodeUnitCount else { return false }
        return extracting(0..<literal.utf8CodeUnitCount).equals(literal)
    }

    /// The index of the first `byte` at or after `start`; nil when there is none.
    public func firstIndex(of byte: UInt8, from start: Int = 0) -> Int? {
        guard start < count else { return nil }
        return unsafe withUnsafeBytes { bytes in
            guard let first = bytes.baseAddress,
                let found = unsafe memchr(first + start, Int32(byte), count - start)
            else { return nil }
            return unsafe UnsafeRawPointer(found) - first
        }
    }

    /// A copy of the bytes.
    public var array: [UInt8] {
        unsafe withUnsafeBufferPointer { unsafe Array($0) }
    }

    /// The bytes as text; invalid UTF-8 becomes U+FFFD.
    public var text: String {
        unsafe withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }
}

extension UInt8 {
    /// The byte with `A` to `Z` turned into `a` to `z`.
    @inlinable public var asciiLowercased: UInt8 {
        self >= UInt8(ascii: "A") && self <= UInt8(ascii: "Z") ? self | 0x20 : self
    }

    /// Whether the byte is an ASCII digit.
    @inlinable public var isASCIIDigit: Bool {
        self >= UInt8(ascii: "0") && self <= UInt8(ascii: "9")
    }
}

extension UInt8 {
    /// The lower-case hexadecimal digit for a value of 0 to 15.
    @inlinable
    @inline(__always)
    public var hexadecimalDigit: UInt8 {
        self &+ (self < 10 ? UInt8(ascii: "0") : UInt8(ascii: "a") &- 10)
    }

    /// The value of an ASCII hexadecimal digit; nil for other bytes.
    public var hexadecimalValue: UInt8? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): self - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
