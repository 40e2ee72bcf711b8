/// Chooses among the targets of a route by weight.
public enum TargetPicker {
    /// The index of a target that is not excluded; nil when none is left. Weights are at least 1.
    public static func pick(
        weights: [Int], random: inout some RandomNumberGenerator,
        excluding isExcluded: (Int) -> Bool
    ) -> Int? {
        var total = 0
        var last: Int?
        var count = 0
        for index in weights.indices where !isExcluded(index) {
            total += weights[index]
            last = index
            count += 1
        }
        guard count > 1 else { return last }
        var rest = Int.random(in: 0..<max(1, total), using: &random)
        for index in weights.indices where !isExcluded(index) {
            rest -= weights[index]
            if rest < 0 { return index }
        }
        return last
    }
}
