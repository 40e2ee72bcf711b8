/// A model name, or a glob: `*` stands for any text, `?` for any one byte.
public struct ModelPattern: Sendable, Hashable {
    private let pattern: [UInt8]

    /// Whether there is a wildcard in it.
    public let isGlob: Bool

    /// How many bytes stand for themselves: the more, the more specific.
    public let literalCount: Int

    /// A pattern from its text.
    public init(_ text: String) {
        pattern = Array(text.utf8)
        literalCount = pattern.count { !Self.isWildcard($0) }
        isGlob = literalCount < pattern.count
    }

    /// The text it was made from.
    public var text: String { String(decoding: pattern, as: UTF8.self) }

    /// Whether a name fits. Linear in the name for each star: it never tries combinations of stars.
    public func matches(_ name: String) -> Bool {
        var name = name
        return name.withUTF8 { unsafe matches(bytes: Span(_unsafeElements: $0)) }
    }

    /// Whether some name fits both patterns.
    public func overlaps(_ other: ModelPattern) -> Bool {
        if !isGlob { return other.matches(text) }
        if !other.isGlob { return matches(other.text) }
        return Self.overlap(pattern, other.pattern)
    }

    private func matches(bytes: Span<UInt8>) -> Bool {
        var at = 0
        var patternAt = 0
        var star: (pattern: Int, text: Int)?
        while at < bytes.count {
            if patternAt < pattern.count, pattern[patternAt] == UInt8(ascii: "*") {
                star = (patternAt, at)
                patternAt += 1
            } else if patternAt < pattern.count,
                pattern[patternAt] == UInt8(ascii: "?") || pattern[patternAt] == bytes[at]
            {
                patternAt += 1
                at += 1
            } else if let last = star {
                // The last star takes one byte more; earlier ones need not be tried again.
                star = (last.pattern, last.text + 1)
                patternAt = last.pattern + 1
                at = last.text + 1
            } else {
                return false
            }
        }
        return pattern[patternAt...].allSatisfy { $0 == UInt8(ascii: "*") }
    }

    /// From the ends of both: whether what follows two places can be one text follows from the
    /// places behind them.
    private static func overlap(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        let star = UInt8(ascii: "*")
        // For each place in `right`, and the place in `left` that was looked at last.
        var fits = [Bool](repeating: false, count: right.count + 1)
        fits[right.count] = true
        for place in right.indices.reversed() {
            fits[place] = right[place] == star && fits[place + 1]
        }
        for byte in left.reversed() {
            let behind = fits
            fits[right.count] = byte == star && behind[right.count]
            for place in right.indices.reversed() {
                if byte == star || right[place] == star {
                    fits[place] = behind[place] || fits[place + 1]
                } else {
                    let isSame =
                        byte == right[place] || isWildcard(byte) || isWildcard(right[place])
                    fits[place] = isSame && behind[place + 1]
                }
            }
        }
        return fits[0]
    }

    private static func isWildcard(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "*") || byte == UInt8(ascii: "?")
    }
}
