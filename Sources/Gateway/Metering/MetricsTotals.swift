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
        for series in shard.series { add(series) }
        overhead.add(shard.overhead)
        for (backend, counts) in shard.attempts {
            for (outcome, count) in counts {
                attempts[PairLabels(first: backend, second: outcome.rawValue), default: 0] += count
            }
        }
        rejections.merge(shard.rejections, uniquingKeysWith: +)
        cuts.merge(shard.cuts, uniquingKeysWith: +)
        unknownPrices.merge(shard.unknownPrices, uniquingKeysWith: +)
    }

    private mutating func add(_ series: MetricsShard.Series) {
        let labels = series.labels
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
