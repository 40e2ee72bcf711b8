import Primitives
import Synchronization
public import Translation

/// What a request is counted under. Every member comes from the configuration, never from a client.
public struct RequestLabels: Hashable, Sendable {
    let tenant: String
    let route: String
    let backend: String
    let provider: String
    let operation: String
    let upstreamModel: String

    /// Labels; empty where a request did not get that far.
    public init(
        tenant: String, route: String, backend: String, provider: String, operation: String,
        upstreamModel: String
    ) {
        self.tenant = tenant
        self.route = route
        self.backend = backend
        self.provider = provider
        self.operation = operation
        self.upstreamModel = upstreamModel
    }
}

/// How one try at a backend ended.
public enum AttemptOutcome: String, Sendable, CaseIterable {
    /// It answered as it should.
    case success
    /// It answered with an error status.
    case httpError = "http_error"
    /// There was no connection.
    case connectFailed = "connect_failed"
    /// A clock ran out.
    case timeout
    /// The connection broke.
    case reset
    /// The answer ended cleanly without its own terminator.
    case incomplete
    /// An exception frame in mid-stream.
    case exceptionFrame = "exception_frame"
    /// An error chunk in mid-stream.
    case errorChunk = "error_chunk"
    /// The answer made no sense.
    case malformed
    /// The client left.
    case cancelled
    /// A limit ended it.
    case cut
}

/// One finished request, for the counters.
public struct RequestOutcome: Sendable {
    /// What it is counted under.
    public let labels: RequestLabels
    /// What the client was told.
    public let status: Int
    /// The error's code; nil when there was none.
    public var errorType: String?
    /// The tokens, reported or estimated; nil when no work was done.
    public var usage: TokenUsage?
    /// The cost; nil when it is unknown.
    public var costNanodollars: Int64?
    /// From head to end.
    public var durationNanoseconds: UInt64 = 0
    /// From head to the first event; streams only.
    public var timeToFirstTokenNanoseconds: UInt64?
    /// The part of the duration that was ours.
    public var overheadNanoseconds: UInt64 = 0

    /// A request with that answer.
    public init(labels: RequestLabels, status: Int) {
        self.labels = labels
        self.status = status
    }
}

/// A number that goes up and down; any thread.
public final class Gauge: Sendable {
    private let count = Atomic<Int>(0)

    /// A gauge at zero.
    public init() {}

    /// The current value.
    public var value: Int { count.load(ordering: .relaxed) }

    /// Adds, or takes away.
    public func add(_ difference: Int) { count.wrappingAdd(difference, ordering: .relaxed) }

    /// Sets the value.
    public func set(_ value: Int) { count.store(value, ordering: .relaxed) }
}

/// All counters of the process: one shard a worker, each behind its own lock, merged when scraped.
public final class Metrics: Sendable {
    /// Admitted requests that have not settled.
    public let requestsInFlight = Gauge()
    /// Connections from clients.
    public let clientConnections = Gauge()
    /// Bytes of request bodies that are held, of all workers.
    public let bufferedBytes = Gauge()
    /// Connections to backends.
    public let upstreamConnections = Gauge()
    /// Rows in the ledger since start.
    public let ledgerRows = Gauge()
    /// Rows that are neither in the ledger nor in the journal, and will never be.
    public let ledgerLost = Gauge()
    /// Rows that wait to be written to the ledger.
    public let ledgerWaiting = Gauge()
    /// Writes to the journal that failed.
    public let journalFailures = Gauge()
    /// Workers whose journal cannot be written now.
    public let journalsFailing = Gauge()
    /// Places in journals that could not be read.
    public let journalDamage = Gauge()
    /// Age of the oldest row that waits to be written, in microseconds.
    public let ledgerLagMicroseconds = Gauge()

    let version: String
    /// By worker: how far its reservations are from what is set aside for them.
    private let imbalances: [Gauge]
    private let shards: [Locked<MetricsShard>]
    private let reloads = Locked<[String: Int]>(["applied": 0, "rejected": 0])

    /// Counters at zero.
    public init(shards: Int, version: String) {
        self.version = version
        self.shards = (0..<shards).map { _ in Locked(MetricsShard()) }
        imbalances = (0..<shards).map { _ in Gauge() }
    }

    /// Counts a finished request.
    public func record(_ outcome: RequestOutcome, shard: Int) {
        shards[shard].withLock { $0.record(outcome) }
    }

    /// Counts the end of one try.
    public func attempt(backend: String, outcome: AttemptOutcome, shard: Int) {
        shards[shard].withLock { shard in
            shard.attempts[PairLabels(first: backend, second: outcome.rawValue), default: 0] += 1
        }
    }

    /// Counts a refusal by a limit.
    public func limitRejection(tenant: String, limit: String, shard: Int) {
        shards[shard].withLock { shard in
            shard.rejections[PairLabels(first: tenant, second: limit), default: 0] += 1
        }
    }

    /// Counts a stream that a limit has ended.
    public func limitCut(tenant: String, limit: String, shard: Int) {
        shards[shard].withLock { shard in
            shard.cuts[PairLabels(first: tenant, second: limit), default: 0] += 1
        }
    }

    /// Sets what a worker's look at its reservations has found: 0.
    public func reservationImbalance(_ imbalance: Int, shard: Int) {
        imbalances[shard].set(imbalance)
    }

    /// The sum of what the workers have found.
    public var reservationImbalance: Int {
        imbalances.reduce(0) { Int(clamping: Int128($0) + Int128($1.value)) }
    }

    /// Counts a request whose model has no known price.
    public func unknownPrice(backend: String, route: String, shard: Int) {
        shards[shard].withLock { shard in
            shard.unknownPrices[PairLabels(first: backend, second: route), default: 0] += 1
        }
    }

    /// Counts a reload: `applied` or `rejected`.
    public func configReload(result: String) {
        reloads.withLock { $0[result, default: 0] += 1 }
    }

    /// Whether requests can be recorded: every journal takes records, and the ledger keeps up.
    public var canRecord: Bool {
        journalsFailing.value == 0 && ledgerWaiting.value < Limits.ledgerRefusalRows
    }

    /// Everything as Prometheus text, or as OpenMetrics 1.0; `limits` say where they stand.
    public func render(openMetrics: Bool, limits: [LimitReading] = []) -> [UInt8] {
        var merged = MetricsShard()
        for shard in shards {
            let copy = shard.withLock { $0 }
            merged.merge(copy)
        }
        let reloads = reloads.withLock { $0 }
        var page = MetricsPage(openMetrics: openMetrics)
        page.write(merged, reloads: reloads, metrics: self)
        page.write(limits)
        return page.finish()
    }
}

/// Two label values.
struct PairLabels: Hashable, Sendable {
    let first: String
    let second: String
}

/// One worker's counters.
struct MetricsShard: Sendable {
    struct RequestKey: Hashable {
        let labels: RequestLabels
        let status: Int
    }

    struct DurationKey: Hashable {
        let labels: RequestLabels
        let errorType: String
    }

    struct Tokens: Sendable {
        var input = 0
        var output = 0
        var cacheRead = 0
        var cacheWrite = 0
        var reasoning = 0
        var costNanodollars: Int64 = 0
        var inputSizes = Histogram(bounds: Histogram.tokenBounds)
        var outputSizes = Histogram(bounds: Histogram.tokenBounds)
    }

    var requests: [RequestKey: Int] = [:]
    var tokens: [RequestLabels: Tokens] = [:]
    var durations: [DurationKey: Histogram] = [:]
    var firstTokens: [RequestLabels: Histogram] = [:]
    var outputTokens: [RequestLabels: Histogram] = [:]
    var attempts: [PairLabels: Int] = [:]
    var rejections: [PairLabels: Int] = [:]
    var cuts: [PairLabels: Int] = [:]
    var unknownPrices: [PairLabels: Int] = [:]
    var overhead = Histogram(bounds: Histogram.overheadBounds)

    mutating func record(_ outcome: RequestOutcome) {
        let labels = outcome.labels
        requests[RequestKey(labels: labels, status: outcome.status), default: 0] += 1
        overhead.observe(Double(outcome.overheadNanoseconds) / 1e9)
        guard !labels.backend.isEmpty else { return }
        // The GenAI family has neither tenant nor backend among its labels.
        let shared = RequestLabels(
            tenant: "", route: labels.route, backend: "", provider: labels.provider,
            operation: labels.operation, upstreamModel: labels.upstreamModel)
        let seconds = Double(outcome.durationNanoseconds) / 1e9
        let key = DurationKey(labels: shared, errorType: ErrorTypeLabel.text(outcome.errorType))
        durations[key, default: Histogram(bounds: Histogram.durationBounds)].observe(seconds)
        if let usage = outcome.usage { record(usage, outcome) }
        guard let first = outcome.timeToFirstTokenNanoseconds else { return }
        let firstSeconds = Double(first) / 1e9
        firstTokens[shared, default: Histogram(bounds: Histogram.firstTokenBounds)]
            .observe(firstSeconds)
        guard let output = outcome.usage?.output, output > 1 else { return }
        outputTokens[shared, default: Histogram(bounds: Histogram.outputTokenBounds)]
            .observe((seconds - firstSeconds) / Double(output - 1))
    }

    private mutating func record(_ usage: TokenUsage, _ outcome: RequestOutcome) {
        var entry = tokens.removeValue(forKey: outcome.labels) ?? Tokens()
        entry.input += usage.input
        entry.output += usage.output
        entry.cacheRead += usage.cacheRead
        entry.cacheWrite += usage.cacheWrite
        entry.reasoning += usage.reasoning
        // Backends say how many tokens there were: no sum of their claims may trap.
        entry.costNanodollars &+= outcome.costNanodollars ?? 0
        entry.inputSizes.observe(Double(usage.input))
        entry.outputSizes.observe(Double(usage.output))
        tokens[outcome.labels] = entry
    }

    mutating func merge(_ other: MetricsShard) {
        requests.merge(other.requests, uniquingKeysWith: +)
        attempts.merge(other.attempts, uniquingKeysWith: +)
        rejections.merge(other.rejections, uniquingKeysWith: +)
        cuts.merge(other.cuts, uniquingKeysWith: +)
        unknownPrices.merge(other.unknownPrices, uniquingKeysWith: +)
        durations.merge(other.durations) { $0.merged(with: $1) }
        firstTokens.merge(other.firstTokens) { $0.merged(with: $1) }
        outputTokens.merge(other.outputTokens) { $0.merged(with: $1) }
        overhead = overhead.merged(with: other.overhead)
        tokens.merge(other.tokens) { left, right in
            var sum = left
            sum.input += right.input
            sum.output += right.output
            sum.cacheRead += right.cacheRead
            sum.cacheWrite += right.cacheWrite
            sum.reasoning += right.reasoning
            sum.costNanodollars &+= right.costNanodollars
            sum.inputSizes = left.inputSizes.merged(with: right.inputSizes)
            sum.outputSizes = left.outputSizes.merged(with: right.outputSizes)
            return sum
        }
    }
}

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

    func merged(with other: Histogram) -> Histogram {
        var result = self
        result.sum += other.sum
        result.count += other.count
        for index in counts.indices { result.counts[index] += other.counts[index] }
        return result
    }
}
