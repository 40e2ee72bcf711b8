public import Gateway
import Glibc
import Primitives
import Synchronization

/// Moves rows from the workers' queues into the ledger, in batches, and looks after the journal.
///
/// A batch that SQLite refuses (disk full, file locked) is kept and tried again: rows are never
/// dropped here.
public final class LedgerThread: Sendable {
    /// Rows that come within it are written together: few transactions are better than many.
    private static let pauseMicroseconds: UInt32 = 50_000

    /// One for each worker.
    public let queues: [LedgerQueue]
    private let bell: Doorbell
    private let isStopping = Atomic<Bool>(false)
    private let metrics: Metrics
    private let report: @Sendable (_ level: String, _ message: String) -> Void
    private let settings: Locked<LedgerConfiguration>
    private let thread = Locked<BackgroundThread?>(nil)

    /// A thread that does not run yet; `report` receives problems, once each time they begin, and
    /// what came of the journals of former runs, at levels of swift-log.
    public init(
        workers: Int, metrics: Metrics, settings: LedgerConfiguration,
        report: @escaping @Sendable (_ level: String, _ message: String) -> Void
    ) {
        let bell = Doorbell()
        self.bell = bell
        queues = (0..<workers).map { _ in
            LedgerQueue(waiting: metrics.ledgerWaiting, lost: metrics.ledgerLost, bell: bell)
        }
        self.metrics = metrics
        self.settings = Locked(settings)
        self.report = report
    }

    /// Opens the ledger in a state directory, replays what earlier runs have left, and starts.
    /// - Throws: why the ledger cannot be opened, or the journals not be replayed.
    public func start(directory: String) throws(SQLiteFailure) {
        let journals = JournalReplay.directory(in: directory)
        // Done here first, so that a wrong directory is told before anything is served.
        let store = try LedgerStore(directory: directory)
        do throws(KernelFailure) {
            try JournalReplay.makeDirectory(journals)
        } catch {
            throw SQLiteFailure(code: 0, message: "\(journals) cannot be made: \(error.reason)")
        }
        let keeper = LedgerKeeper(metrics: metrics, report: report)
        try keeper.replay(journals, into: store)
        do throws(KernelFailure) {
            let started = try BackgroundThread { [self] in run(directory, journals: journals) }
            thread.withLock { $0 = started }
        } catch {
            throw SQLiteFailure(code: 0, message: "no thread for the ledger")
        }
    }

    /// Takes over what a reload has changed.
    public func adopt(_ settings: LedgerConfiguration) { self.settings.withLock { $0 = settings } }

    /// Writes everything that waits, and ends.
    public func stop() {
        isStopping.store(true, ordering: .releasing)
        bell.ring()
        let running = thread.withLock { thread -> BackgroundThread? in
            let running = thread
            thread = nil
            return running
        }
        running?.join()
    }

    /// The ledger, for this thread. It could be opened a moment ago: what is in the way now, such
    /// as a full disk, may pass. So may that its file has gone at once, as some network file
    /// systems say of every file. nil: it has not before the end; what the journal has is replayed
    /// by the next run.
    func reopen(
        _ directory: String,
        open: (String) -> LedgerStore? = { try? LedgerStore(directory: $0) }
    ) -> LedgerStore? {
        var isReported = false
        while true {
            if let store = open(directory), !store.hasGone { return store }
            if !isReported { report("error", "the ledger cannot be opened; it is tried again") }
            isReported = true
            if isStopping.load(ordering: .acquiring) { return nil }
            usleep(Self.pauseMicroseconds)
        }
    }

    private func run(_ directory: String, journals: String) {
        var keeper = LedgerKeeper(metrics: metrics, report: report)
        // One ledger is closed before the next is opened: they may share the files beside them.
        while let store = reopen(directory) {
            if serve(store, &keeper, journals: journals) { return }
            report("error", "the ledger has been deleted or moved; a new one is begun")
        }
    }

    /// Writes into one ledger until the end. False: its file has gone before that.
    private func serve(
        _ store: LedgerStore, _ keeper: inout LedgerKeeper, journals: String
    ) -> Bool {
        while true {
            bell.answer()
            let isLast = isStopping.load(ordering: .acquiring)
            let settings = settings.withLock { $0 }
            for queue in queues { keeper.collect(queue) }
            guard !store.hasGone else { return false }
            keeper.write(into: store)
            if isLast { return true }
            keeper.sync(every: settings.syncMilliseconds)
            keeper.lookAfter(
                store, journals: journals, retention: settings.retentionMilliseconds)
            bell.wait(atMostMilliseconds: settings.longestPauseMilliseconds)
            usleep(Self.pauseMicroseconds)
        }
    }
}

extension LedgerConfiguration {
    /// What the workers write to their journals rings no bell, and is to reach the disk in time.
    fileprivate var longestPauseMilliseconds: Int {
        min(syncMilliseconds ?? Limits.lookAroundMilliseconds, Limits.lookAroundMilliseconds)
    }
}
