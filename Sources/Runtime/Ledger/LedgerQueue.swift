public import Gateway
import Primitives

/// Rows on their way from one worker to the ledger thread.
public final class LedgerQueue: Sendable {
    private struct Pending {
        var rows: [LedgerRow] = []
        var since: Instant?
    }

    private let pending = Locked(Pending())

    /// An empty queue.
    public init() {}

    /// Adds a row.
    public func append(_ row: LedgerRow) {
        pending.withLock { pending in
            if pending.rows.isEmpty { pending.since = SystemClock.now() }
            pending.rows.append(row)
        }
    }

    /// Takes all rows out, and says since when the oldest one waited.
    func take() -> (rows: [LedgerRow], since: Instant?) {
        pending.withLock { pending in
            let taken = (pending.rows, pending.since)
            pending = Pending()
            return taken
        }
    }
}
