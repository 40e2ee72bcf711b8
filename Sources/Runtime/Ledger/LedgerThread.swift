public import Gateway
import Glibc
import Primitives
import Synchronization

/// Moves rows from the workers' queues into the ledger, in batches.
///
/// A batch that SQLite refuses (disk full, file locked) is kept and tried again: rows are never
/// dropped.
public final class LedgerThread: Sendable {
    private static let pauseMicroseconds: UInt32 = 50_000
    private static let batchSize = 1_000

    private let isStopping = Atomic<Bool>(false)
    private let queues: [LedgerQueue]
    private let metrics: Metrics
    private let report: @Sendable (String) -> Void
    private let thread = Locked<BackgroundThread?>(nil)

    /// A thread that does not run yet; `report` receives problems, once each time they begin.
    public init(
        queues: [LedgerQueue], metrics: Metrics, report: @escaping @Sendable (String) -> Void
    ) {
        self.queues = queues
        self.metrics = metrics
        self.report = report
    }

    /// Opens the ledger in a state directory and starts.
    /// - Throws: why the ledger cannot be opened.
    public func start(directory: String) throws(SQLiteFailure) {
        // Opened here first, so that a wrong directory is told before anything is served.
        _ = try LedgerStore(directory: directory)
        do throws(KernelFailure) {
            let started = try BackgroundThread { [self] in run(directory: directory) }
            thread.withLock { $0 = started }
        } catch {
            throw SQLiteFailure(code: 0, message: "no thread for the ledger")
        }
    }

    /// Writes everything that waits, and ends.
    public func stop() {
        isStopping.store(true, ordering: .releasing)
        let running = thread.withLock { thread -> BackgroundThread? in
            let running = thread
            thread = nil
            return running
        }
        running?.join()
    }

    private func run(directory: String) {
        guard let store = try? LedgerStore(directory: directory) else {
            return report("the ledger cannot be opened any more")
        }
        var waiting: [LedgerRow] = []
        var oldest: Instant?
        var isFailing = false
        while true {
            let isLast = isStopping.load(ordering: .acquiring)
            for queue in queues {
                let (rows, since) = queue.take()
                waiting.append(contentsOf: rows)
                if let since { oldest = min(oldest ?? since, since) }
            }
            while !waiting.isEmpty {
                let batch = waiting.prefix(Self.batchSize)
                do throws(SQLiteFailure) {
                    try store.append(batch)
                    metrics.ledgerRows.add(batch.count)
                    waiting.removeFirst(batch.count)
                    isFailing = false
                } catch {
                    if !isFailing { report("the ledger cannot be written: \(error.message)") }
                    isFailing = true
                    break
                }
            }
            if waiting.isEmpty { oldest = nil }
            let lag = oldest.map { SystemClock.now().nanoseconds(since: $0) / 1000 } ?? 0
            metrics.ledgerLagMicroseconds.set(Int(clamping: lag))
            if isLast { return }
            usleep(Self.pauseMicroseconds)
        }
    }
}
