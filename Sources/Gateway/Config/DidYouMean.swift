/// Suggests what somebody probably meant to write.
enum DidYouMean {
    /// ` (did you mean "x"?)` for the nearest candidate, or nothing when none is near.
    static func hint(_ text: String, among candidates: [String]) -> String {
        let nearest = candidates.map { ($0, distance(text, $0)) }.min { $0.1 < $1.1 }
        // A word of which every letter must change is another word.
        guard let (candidate, distance) = nearest, distance <= max(2, text.count / 3),
            distance < max(text.count, candidate.count)
        else { return "" }
        return " (did you mean \"\(candidate)\"?)"
    }

    /// How many letters must be changed, added or removed (Levenshtein).
    private static func distance(_ left: String, _ right: String) -> Int {
        let left = Array(left.lowercased())
        let right = Array(right.lowercased())
        var row = Array(0...right.count)
        for (lineIndex, letter) in left.enumerated() {
            var diagonal = row[0]
            row[0] = lineIndex + 1
            for column in right.indices {
                let change = diagonal + (letter == right[column] ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(change, row[column] + 1, diagonal + 1)
            }
        }
        return row[right.count]
    }
}
