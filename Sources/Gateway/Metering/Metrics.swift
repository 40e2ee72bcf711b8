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

    /// The labels of the GenAI family.
    var withoutTenantAndBackend: RequestLabels {
        RequestLabels(
            tenant: "", route: route, backend: "", provider: provider, operation: operation,
            upstreamModel: upstreamModel)
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
        shards[shard].withLock { $0.attempt(backend, outcome) }
    }

    /// Counts a refusal by a limit.
    public func limitRejection(tenant: String, limit: String, shard: Int) {
        shards[shard].withLock { $0.rejections.count(tenant, limit) }
    }

    /// Counts a stream that a limit has ended.
    public func limitCut(tenant: String, limit: String, shard: Int) {
        shards[shard].withLock { $0.cuts.count(tenant, limit) }
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
        shards[shard].withLock { $0.unknownPrices.count(backend, route) }
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
        var totals = MetricsTotals()
        for shard in shards { totals.add(shard.withLock { $0 }) }
        let reloads = reloads.withLock { $0 }
        var page = MetricsPage(openMetrics: openMetrics)
        page.write(totals, reloads: reloads, metrics: self)
        page.write(limits)
        return page.finish()
    }
}
