/// Chooses among the targets of a route by weight.
public enum TargetPicker {
    /// The index of a target that is not excluded; nil when none is left. Weights are at least 1.
    public static func pick(
        weights: [Int], excluding excluded: [Int], random: inout some RandomNumberGenerator
    ) -> Int? {
        let candidates = weights.indices.filter { !excluded.contains($0) }
        guard candidates.count > 1 else { return candidates.first }
        let total = candidates.reduce(0) { $0 + weights[$1] }
        var rest = Int.random(in: 0..<max(1, total), using: &random)
        for index in candidates {
            rest -= weights[index]
            if rest < 0 { return index }
        }
        return candidates.last
    }
}
