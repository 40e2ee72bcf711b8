/// An address of IP version 6, however it is written (RFC 4291 section 2.2).
struct IPv6Number: Equatable {
    /// Every address of a machine.
    static let unspecified = IPv6Number(words: [0, 0, 0, 0, 0, 0, 0, 0])
    /// The machine itself.
    static let loopback = IPv6Number(words: [0, 0, 0, 0, 0, 0, 0, 1])

    private let words: [UInt16]

    private init(words: [UInt16]) { self.words = words }

    /// The address that a text names; nil for anything else, such as one with a zone.
    init?(_ text: String) {
        let halves = text.split(separator: "::", omittingEmptySubsequences: false)
        guard halves.count <= 2, let first = Self.words(halves[0]),
            let last = Self.words(halves.count == 2 ? halves[1] : "")
        else { return nil }
        let missing = 8 - first.count - last.count
        // Two colons stand for at least one zero.
        guard halves.count == 2 ? missing > 0 : missing == 0 else { return nil }
        words = first + Array(repeating: 0, count: missing) + last
    }

    /// The words of a part without two colons in a row.
    private static func words(_ text: Substring) -> [UInt16]? {
        guard !text.isEmpty else { return [] }
        var words: [UInt16] = []
        let groups = text.split(separator: ":", omittingEmptySubsequences: false)
        for (index, group) in groups.enumerated() {
            if index == groups.count - 1, let pair = version4(group) {
                words += pair
            } else if (1...4).contains(group.count), group.allSatisfy(\.isHexDigit),
                let word = UInt16(group, radix: 16)
            {
                words.append(word)
            } else {
                return nil
            }
        }
        return words
    }

    /// The last two words where they are written as an address of version 4.
    private static func version4(_ text: Substring) -> [UInt16]? {
        let bytes = text.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
        guard bytes.count == 4 else { return nil }
        let known = bytes.compactMap { $0 }.map { UInt16($0) }
        return known.count == 4 ? [known[0] << 8 | known[1], known[2] << 8 | known[3]] : nil
    }
}
