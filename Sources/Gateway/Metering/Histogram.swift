/// Counts of observations below rising bounds.
struct Histogram: Sendable {
    /// The advised buckets of OpenTelemetry's GenAI metrics.
    static let tokenBounds: [Double] = (0...13).map { exponent in
        (0..<exponent).reduce(1.0) { product, _ in product * 4 }
    }
    static let durationBounds: [Double] = [
        0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
    ]
    static let firstTokenBounds: [Double] = [
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    ]
    static let outputTokenBounds: [Double] = [
        0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
    ]
    /// Ours is a matter of microseconds.
    static let overheadBounds: [Double] = [
        0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1,
        1,
    ]

    let bounds: [Double]
    private(set) var counts: [Int]
    private(set) var sum = 0.0
    private(set) var count = 0

    init(bounds: [Double]) {
        self.bounds = bounds
        counts = [Int](repeating: 0, count: bounds.count)
    }

    mutating func observe(_ value: Double) {
        sum += value
        count += 1
        if let bucket = bounds.firstIndex(where: { value <= $0 }) { counts[bucket] += 1 }
    }

    /// Adds observations of the same bounds.
    mutating func add(_ other: Histogram) {
        sum += other.sum
        count += other.count
        for index in counts.indices { counts[index] += other.counts[index] }
    }
}
