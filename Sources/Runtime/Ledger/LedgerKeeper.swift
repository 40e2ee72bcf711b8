import Gateway
import Primitives

/// What the ledger's thread does in one round, and what it has in hand meanwhile.
struct LedgerKeeper {
    /// A problem that is told when it begins, not each time it is met.
    private enum Trouble { case ledger, sync, upkeep }

    private let metrics: Metrics
    private let report: @Sendable (_ level: String, _ message: String) -> Void
    /// In groups that are written in one transaction each.
    private var waiting: [SettledRows] = []
    private var oldest: Instant?
    private var retired: [LedgerQueue.RetiredSegment] = []
    private var current: [JournalSegment] = []
    private var troubles: Set<Trouble> = []
    private var syncedAt = SystemClock.now()
    private var lookedAfterAt: Instant?

    init(metrics: Metrics, report: @escaping @Sendable (_ level: String, _ message: String) -> Void)
    {
        self.metrics = metrics
        self.report = report
    }

    /// Takes what a worker has handed over. Called for all queues, in a round.
    mutating func collect(_ queue: LedgerQueue) {
        let taken = queue.take()
        if !taken.rows.isEmpty { add(taken.rows) }
        if let since = taken.since { oldest = min(oldest ?? since, since) }
        retired.append(contentsOf: taken.retired)
        if let segment = taken.current {
            segment.look()
            current.append(segment)
        }
    }

    /// Few transactions are better than many, but none gets much longer than a round's rows.
    private mutating func add(_ rows: SettledRows) {
        if let last = waiting.indices.last,
            waiting[last].count + rows.count <= Limits.ledgerBatchRows
        {
            waiting[last].append(contentsOf: rows)
        } else {
            waiting.append(rows)
        }
    }

    /// Writes all rows; when they are in the ledger, the segments that they came from are deleted.
    mutating func write(into store: LedgerStore) {
        var written = 0
        attempt(.ledger, "the ledger cannot be written") { keeper throws(SQLiteFailure) in
            for rows in keeper.waiting {
                keeper.metrics.ledgerRows.add(try store.append(rows))
                keeper.metrics.ledgerWaiting.add(-rows.count)
                written += 1
            }
        }
        waiting.removeFirst(written)
        if waiting.isEmpty {
            oldest = nil
            attempt(.upkeep, "the journal cannot be read back") { keeper throws(SQLiteFailure) in
                while let last = keeper.retired.last {
                    var isSound = true
                    if last.isNeeded { isSound = try keeper.readBack(last.segment, into: store) }
                    isSound ? last.segment.remove() : keeper.setAside(last.segment)
                    keeper.retired.removeLast()
                }
            }
        }
        let lag = oldest.map { SystemClock.now().nanoseconds(since: $0) / 1000 } ?? 0
        metrics.ledgerLagMicroseconds.set(Int(clamping: lag))
    }

    /// Adds the rows that were left to a segment because too many waited. False: not all of it
    /// could be read.
    private func readBack(
        _ segment: JournalSegment, into store: LedgerStore
    ) throws(SQLiteFailure) -> Bool {
        var replay = JournalReplay(into: store)
        let isSound = try replay.replaySettled(segment)
        metrics.ledgerRows.add(replay.summary.settled)
        metrics.journalDamage.add(replay.summary.damaged)
        return isSound
    }

    private func setAside(_ segment: JournalSegment) {
        segment.setAside()
        report("error", "\(segment.path) is damaged; what could be read of it is in the ledger")
    }

    /// Brings the journal to the disk itself, when it is time to.
    mutating func sync(every milliseconds: Int?) {
        defer { current.removeAll(keepingCapacity: true) }
        let now = SystemClock.now()
        guard let milliseconds, now.milliseconds(since: syncedAt) >= milliseconds else { return }
        syncedAt = now
        attempt(.sync, "the journal cannot be brought to the disk") {
            keeper throws(SQLiteFailure) in
            for segment in keeper.current + keeper.retired.map(\.segment) {
                do throws(KernelFailure) {
                    try segment.sync()
                } catch {
                    keeper.metrics.journalFailures.add(1)
                    throw SQLiteFailure(code: 0, message: error.reason)
                }
            }
        }
    }

    /// At the start and then now and again: journals that a killed process has left beside us, and
    /// months that are old enough. Rows that still stand in a journal of ours are never pruned:
    /// replayed after their month was summed up, they would count twice.
    mutating func lookAfter(_ store: LedgerStore, journals: String, retention: Int?) {
        let now = SystemClock.now()
        if let before = lookedAfterAt,
            now.milliseconds(since: before) < Limits.ledgerUpkeepMilliseconds
        {
            return
        }
        lookedAfterAt = now
        attempt(.upkeep, "the ledger cannot be looked after") { keeper throws(SQLiteFailure) in
            try keeper.replay(journals, into: store)
            guard let retention, keeper.retired.isEmpty else { return }
            let wall = SystemClock.wallTime()
            let pruned = try store.prune(
                before: WallTime(milliseconds: wall.milliseconds - Int64(retention)))
            if pruned > 0 { keeper.report("info", "\(pruned) old rows were summed up by month") }
        }
    }

    /// Replays the journals that nobody writes any more.
    func replay(_ journals: String, into store: LedgerStore) throws(SQLiteFailure) {
        var replay = JournalReplay(into: store)
        try replay.run(directory: journals)
        metrics.ledgerRows.add(replay.summary.settled + replay.summary.interrupted)
        metrics.journalDamage.add(replay.summary.damaged + replay.summary.unopened)
        if let text = replay.summary.text {
            let isSound = replay.summary.damaged + replay.summary.unopened == 0
            report(isSound ? "warning" : "error", text)
        }
    }

    private mutating func attempt(
        _ trouble: Trouble, _ what: String, _ body: (inout Self) throws(SQLiteFailure) -> Void
    ) {
        do throws(SQLiteFailure) {
            try body(&self)
            troubles.remove(trouble)
        } catch {
            if troubles.insert(trouble).inserted { report("error", "\(what): \(error.message)") }
        }
    }
}
