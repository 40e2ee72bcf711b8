import Translation

/// One worker's counters, made to be counted in: everything of one set of labels is in one place.
struct MetricsShard: Sendable {
    /// What is counted of requests with the same labels.
    struct Series: Sendable {
        /// By status; a handful.
        var statuses: [(status: Int, count: Int)] = []
        /// By kind of error, empty for none.
        var durations: [(errorType: String, values: Histogram)] = []
        var tokens: TokenCounts?
        var firstTokens: Histogram?
        var outputTokens: Histogram?
    }

    private(set) var series = LabelledValues<RequestLabels, Series>()
    private(set) var overhead = Histogram(bounds: Histogram.overheadBounds)
    /// By backend; a handful of outcomes.
    private(set) var attempts = LabelledValues<String, [(outcome: AttemptOutcome, count: Int)]>()
    var rejections = LabelledValues<PairLabels, Int>()
    var cuts = LabelledValues<PairLabels, Int>()
    var unknownPrices = LabelledValues<PairLabels, Int>()

    mutating func record(_ outcome: RequestOutcome) {
        overhead.observe(Double(outcome.overheadNanoseconds) / 1e9)
        series.update(outcome.labels, from: Series()) { $0.record(outcome) }
    }

    mutating func attempt(_ backend: String, _ outcome: AttemptOutcome) {
        attempts.update(backend, from: []) { counts in
            if let known = counts.firstIndex(where: { $0.outcome == outcome }) {
                counts[known].count += 1
            } else {
                counts.append((outcome, 1))
            }
        }
    }
}

extension MetricsShard.Series {
    fileprivate mutating func record(_ outcome: RequestOutcome) {
        if let known = statuses.firstIndex(where: { $0.status == outcome.status }) {
            statuses[known].count += 1
        } else {
            statuses.append((outcome.status, 1))
        }
        guard !outcome.labels.backend.isEmpty else { return }
        let seconds = Double(outcome.durationNanoseconds) / 1e9
        let errorType = ErrorTypeLabel.text(outcome.errorType)
        if let known = durations.firstIndex(where: { $0.errorType == errorType }) {
            durations[known].values.observe(seconds)
        } else {
            var values = Histogram(bounds: Histogram.durationBounds)
            values.observe(seconds)
            durations.append((errorType, values))
        }
        if let usage = outcome.usage {
            if tokens == nil { tokens = TokenCounts() }
            tokens?.add(usage, costNanodollars: outcome.costNanodollars)
        }
        guard let first = outcome.timeToFirstTokenNanoseconds else { return }
        let firstSeconds = Double(first) / 1e9
        if firstTokens == nil { firstTokens = Histogram(bounds: Histogram.firstTokenBounds) }
        firstTokens?.observe(firstSeconds)
        guard let output = outcome.usage?.output, output > 1 else { return }
        if outputTokens == nil { outputTokens = Histogram(bounds: Histogram.outputTokenBounds) }
        outputTokens?.observe((seconds - firstSeconds) / Double(output - 1))
    }
}

/// Tokens and money.
struct TokenCounts: Sendable {
    var input = 0
    var output = 0
    var cacheRead = 0
    var cacheWrite = 0
    var reasoning = 0
    var costNanodollars: Int64 = 0
    var inputSizes = Histogram(bounds: Histogram.tokenBounds)
    var outputSizes = Histogram(bounds: Histogram.tokenBounds)

    mutating func add(_ usage: TokenUsage, costNanodollars cost: Int64?) {
        // Backends say how many tokens there were: no sum of their claims may trap.
        input &+= usage.input
        output &+= usage.output
        cacheRead &+= usage.cacheRead
        cacheWrite &+= usage.cacheWrite
        reasoning &+= usage.reasoning
        costNanodollars &+= cost ?? 0
        inputSizes.observe(Double(usage.input))
        outputSizes.observe(Double(usage.output))
    }

    mutating func add(_ other: TokenCounts) {
        input &+= other.input
        output &+= other.output
        cacheRead &+= other.cacheRead
        cacheWrite &+= other.cacheWrite
        reasoning &+= other.reasoning
        costNanodollars &+= other.costNanodollars
        inputSizes.add(other.inputSizes)
        outputSizes.add(other.outputSizes)
    }
}
