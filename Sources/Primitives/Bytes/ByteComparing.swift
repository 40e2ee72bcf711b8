import Glibc

/// Comparing and searching bytes from the wire.
extension Span where Element == UInt8 {
    /// Whether the bytes are exactly those of a literal. Most are not even as long: that is seen at
    /// the caller's.
    @inlinable
    public func equals(_ literal: StaticString) -> Bool {
        guard count == literal.utf8CodeUnitCount else { return false }
        return literal.withUTF8Buffer { text in
            for index in indices where unsafe self[index] != text[index] { return false }
            return true
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

    /// Whether two spans hold the same bytes.
    public func equals(_ other: Span<UInt8>) -> Bool {
        guard count == other.count else { return false }
        return unsafe withUnsafeBytes { bytes in
            unsafe other.withUnsafeBytes { others in
                guard let first = bytes.baseAddress, let other = others.baseAddress else {
                    return true
                }
                return unsafe memcmp(first, other, bytes.count) == 0
            }
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
    public var text: String { String(decoding: array, as: UTF8.self) }
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
