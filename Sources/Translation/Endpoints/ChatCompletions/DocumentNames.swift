/// Names of documents: they must differ within a request, and their alphabet is small (rule A17).
struct DocumentNames {
    private static let limit = 200
    /// More than any number takes, with its dash.
    private static let endingLimit = 12
    private var used: Set<String> = []
    /// The last number given to a name, so that a thousand namesakes are not counted through each
    /// time. Names that differ only where a number would stand count as one.
    private var numbers: [String: Int] = [:]

    /// The name for the next document, from the name of its file.
    mutating func next(for fileName: [UInt8]) -> [UInt8] {
        let base = Self.fit(fileName)
        let stem = String(base.prefix(Self.limit - Self.endingLimit))
        var name = base
        var number = numbers[stem] ?? 1
        while !used.insert(name).inserted {
            number += 1
            let ending = "-\(number)"
            name = base.prefix(Self.limit - ending.utf8.count) + ending
        }
        numbers[stem] = number
        return Array(name.utf8)
    }

    private static func fit(_ fileName: [UInt8]) -> String {
        var stem = String(decoding: fileName, as: UTF8.self)
        if let dot = stem.lastIndex(of: ".") { stem = String(stem[..<dot]) }
        // By scalar: macOS writes an accented letter as a plain one and a mark behind it.
        let kept = stem.unicodeScalars.map { scalar -> Character in
            let character = Character(scalar)
            let isKept =
                scalar.isASCII
                && (character.isLetter || character.isNumber || "-()[]".contains(character))
            return isKept ? character : " "
        }
        let name = String(kept).split(separator: " ").joined(separator: " ").prefix(limit)
        return name.isEmpty ? "document" : String(name)
    }
}
