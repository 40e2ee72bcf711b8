import Gateway
import Primitives
import Runtime
import Translation

/// Limits, and what is written down about a request.
enum GatewayCases {
    static let all = [
        MicroCase(name: "limits-reserve-settle", prepare: reserveAndSettle),
        MicroCase(name: "limits-standing", prepare: standing),
        MicroCase(name: "limits-refuse", prepare: refuse),
        MicroCase(name: "journal-records", prepare: journalRecords),
        MicroCase(name: "ledger-push", prepare: ledgerPush),
    ]

    private static let wall = WallTime(milliseconds: 1_764_000_000_000)
    private static let start = Instant(nanoseconds: 1_000_000_000_000)

    private static func book(_ tokens: Int64 = 1_000_000_000_000) -> QuotaBook {
        let limits = [
            LimitConfiguration(measure: .requests, amount: 1_000_000_000, window: .minute),
            LimitConfiguration(measure: .tokens, amount: tokens, window: .minute),
            LimitConfiguration(measure: .usd, amount: 1_000_000_000_000_000, window: .month),
        ]
        return QuotaBook(tenants: [(name: "bench", limits: limits)], carryingOverFrom: nil)
    }

    private static let demand = Demand(
        tenant: 0, model: "chat", user: nil, inputTokens: 40, outputTokens: 256,
        costNanodollars: 4_000)

    /// Three limits; a microsecond passes between requests.
    @Sendable private static func reserveAndSettle() -> MicroCase.Operation {
        let book = book()
        let used = QuotaAmounts(inputTokens: 31, outputTokens: 57, costNanodollars: 950)
        var now = start
        return {
            now = Instant(nanoseconds: now.nanoseconds + 1_000)
            switch book.reserve(demand, now: now, wall: wall) {
            case .admitted(let reservation):
                book.settle(reservation, used: used, now: now, wall: wall)
                return 1
            case .refused: preconditionFailure("refused")
            }
        }
    }

    @Sendable private static func standing() -> MicroCase.Operation {
        let book = book()
        return {
            let standing = book.standing(
                tenant: 0, model: "chat", user: nil, now: start, wall: wall)
            return withExtendedLifetime(standing) { 1 }
        }
    }

    @Sendable private static func refuse() -> MicroCase.Operation {
        let book = book(100)
        return {
            switch book.reserve(demand, now: start, wall: wall) {
            case .admitted: preconditionFailure("admitted")
            case .refused(let refusal): return refusal.retryAfterMilliseconds ?? 0
            }
        }
    }

    private static let row: LedgerRow = {
        var row = LedgerRow()
        row.id = "0123456789abcdef01234567"
        row.requestID = "req_0123456789abcdef01234567"
        row.startedAtMilliseconds = wall.milliseconds
        row.tenant = "bench"
        row.keyID = "0123456789ab"
        row.endpoint = "chat.completions"
        row.route = "chat"
        row.backend = "upstream"
        row.model = "chat"
        row.upstreamModel = "meta-llama/Llama-3.1-8B-Instruct"
        row.status = 200
        row.finishReason = "stop"
        row.attempts = 1
        row.usage.input = 31
        row.usage.output = 57
        row.usageSource = .upstream
        row.costNanodollars = 950
        row.priceID = "override:chat"
        row.durationMilliseconds = 812
        return row
    }()

    /// The two records of a request, into a buffer that keeps its memory.
    @Sendable private static func journalRecords() -> MicroCase.Operation {
        var bytes: [UInt8] = []
        return {
            bytes.removeAll(keepingCapacity: true)
            JournalRecord.append(opened: row, to: &bytes)
            JournalRecord.append(settled: row, to: &bytes)
            return bytes.count
        }
    }

    /// A turn's one row; another queue now and then, as if the ledger's thread had emptied it.
    @Sendable private static func ledgerPush() -> MicroCase.Operation {
        var record: [UInt8] = []
        JournalRecord.append(settled: row, to: &record)
        var rows = SettledRows()
        var queue = LedgerQueue()
        var pushed = 0
        return {
            rows.append(record: record.span)
            queue.append(&rows, areJournalled: true)
            pushed += 1
            if pushed % 100 == 0 { queue = LedgerQueue() }
            return pushed
        }
    }
}
