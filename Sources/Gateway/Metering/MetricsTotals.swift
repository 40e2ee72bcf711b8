/// Two label values.
struct PairLabels: Hashable, Sendable {
    let first: String
    let second: String
}

/// The counters of all workers, added up and arranged as they are shown.
struct MetricsTotals {
    struct RequestKey: Hashable {
        let labels: RequestLabels
        let status: Int
    }

    struct DurationKey: Hashable {
        let labels: RequestLabels
        let errorType: String
    }

    private(set) var requests: [RequestKey: Int] = [:]
    private(set) var tokens: [RequestLabels: TokenCounts] = [:]
    private(set) var durations: [DurationKey: Histogram] = [:]
    private(set) var firstTokens: [RequestLabels: Histogram] = [:]
    private(set) var outputTokens: [RequestLabels: Histogram] = [:]
    private(set) var attempts: [PairLabels: Int] = [:]
    private(set) var rejections: [PairLabels: Int] = [:]
    private(set) var cuts: [PairLabels: Int] = [:]
    private(set) var unknownPrices: [PairLabels: Int] = [:]
    private(set) var overhead = Histogram(bounds: Histogram.overheadBounds)

    mutating func add(_ shard: MetricsShard) {
        for row in shard.series.rows { add(row.value, row.label) }
        overhead.add(shard.overhead)
        for row in shard.attempts.rows {
            for (outcome, count) in row.value {
                let key = PairLabels(first: row.label, second: outcome.rawValue)
                attempts[key, default: 0] += count
            }
        }
        for row in shard.rejections.rows { rejections[row.label, default: 0] += row.value }
        for row in shard.cuts.rows { cuts[row.label, default: 0] += row.value }
        for row in shard.unknownPrices.rows { unknownPrices[row.label, default: 0] += row.value }
    }

    private mutating func add(_ series: MetricsShard.Series, _ labels: RequestLabels) {
        for (status, count) in series.statuses {
            requests[RequestKey(labels: labels, status: status), default: 0] += count
        }
        if let counts = series.tokens { tokens[labels, default: TokenCounts()].add(counts) }
        // The GenAI family has neither tenant nor backend among its labels.
        let shared = labels.withoutTenantAndBackend
        for (errorType, values) in series.durations {
            let key = DurationKey(labels: shared, errorType: errorType)
            durations[key, default: Histogram(bounds: values.bounds)].add(values)
        }
        if let values = series.firstTokens {
            firstTokens[shared, default: Histogram(bounds: values.bounds)].add(values)
        }
        if let values = series.outputTokens {
            outputTokens[shared, default: Histogram(bounds: values.bounds)].add(values)
        }
    }
}
