public import Gateway
import Primitives

/// Rows and segments of the journal on their way from one worker to the ledger thread.
public final class LedgerQueue: Sendable {
    /// A segment that its worker has given up.
    struct RetiredSegment: Sendable {
        let segment: JournalSegment
        /// Some of its rows did not come through the queue: they must be read from it.
        let isNeeded: Bool
    }

    /// What has come since the last look.
    struct Taken: Sendable {
        var rows = SettledRows()
        /// Since when the oldest row has waited.
        var since: Instant?
        /// Everything that they say and was not left to them is among the rows of this look, or of
        /// former ones.
        var retired: [RetiredSegment] = []
        /// The segment that is written now.
        var current: JournalSegment?
    }

    private struct Pending {
        var taken = Taken()
        var hasLeftRows = false
    }

    private let pending = Locked(Pending())
    private let waiting: Gauge
    private let lost: Gauge
    private let bell: Doorbell?

    /// An empty queue; it counts rows that wait, over all queues, and those that are lost. Rows
    /// ring the bell.
    public init(waiting: Gauge = Gauge(), lost: Gauge = Gauge(), bell: Doorbell? = nil) {
        self.waiting = waiting
        self.lost = lost
        self.bell = bell
    }

    /// Takes rows; `rows` is empty then. When too many wait already, they are left to the journal
    /// if it has them.
    public func append(_ rows: inout SettledRows, areJournalled: Bool) {
        guard !rows.isEmpty else { return }
        pending.withLock { pending in
            guard waiting.value < Limits.ledgerWaitingRows else {
                if areJournalled { pending.hasLeftRows = true } else { lost.add(rows.count) }
                return
            }
            waiting.add(rows.count)
            if pending.taken.rows.isEmpty {
                pending.taken.since = SystemClock.now()
                swap(&pending.taken.rows, &rows)
            } else {
                pending.taken.rows.append(contentsOf: rows)
            }
        }
        rows.removeAll()
        bell?.ring()
    }

    /// Another segment is written from now on, or none; the former one is given up.
    func begin(_ segment: JournalSegment?) {
        pending.withLock { pending in
            if let former = pending.taken.current {
                pending.taken.retired.append(
                    RetiredSegment(segment: former, isNeeded: pending.hasLeftRows))
            }
            pending.hasLeftRows = false
            pending.taken.current = segment
        }
    }

    /// Takes out everything that has come.
    func take() -> Taken {
        pending.withLock { pending in
            let taken = pending.taken
            pending.taken = Taken()
            pending.taken.current = taken.current
            return taken
        }
    }
}
