/// Values by label, made to be counted in: the label that came last is found without a look-up.
struct LabelledValues<Label: Hashable & Sendable, Value: Sendable>: Sendable {
    struct Row: Sendable {
        let label: Label
        var value: Value
    }

    private(set) var rows: [Row] = []
    private var places: [Label: Int] = [:]
    private var last = 0

    /// The value of a label; nil where there is none.
    mutating func value(of label: Label) -> Value? { find(label) ? rows[last].value : nil }

    /// Changes the value of a label; a new one begins with `initial`.
    @inline(__always)
    mutating func update(
        _ label: Label, from initial: @autoclosure () -> Value, _ body: (inout Value) -> Void
    ) {
        if !find(label) {
            last = rows.count
            places[label] = last
            rows.append(Row(label: label, value: initial()))
        }
        body(&rows[last].value)
    }

    /// Whether the label is known; it is the last one then.
    private mutating func find(_ label: Label) -> Bool {
        if last < rows.count, rows[last].label == label { return true }
        guard let known = places[label] else { return false }
        last = known
        return true
    }
}

extension LabelledValues<PairLabels, Int> {
    /// Counts one more.
    mutating func count(_ first: String, _ second: String) {
        update(PairLabels(first: first, second: second), from: 0) { $0 += 1 }
    }
}
