import CSQLite
public import Gateway
public import Primitives
import Translation

extension LedgerReader {
    /// Requests that began this long before a calendar window may have ended in it; none runs
    /// longer by any sane `timeouts.total`.
    private static let longestRequestSeconds: Int64 = 86_400

    /// Hands over what was used since a calendar window began, in sums by tenant, model and price,
    /// and by user where that is asked for. A request counts in the window in which it ended, as it
    /// did for its limits.
    /// - Throws: when there is no ledger, or it cannot be read.
    public static func sums(
        _ restoration: QuotaBook.Restoration, wall: WallTime, directory: String,
        _ body: (UsageSum) -> Void
    ) throws(SQLiteFailure) {
        let database = try SQLiteDatabase(
            path: LedgerStore.path(in: directory), isReadOnly: true)
        let user = restoration.isByUser ? "user" : "NULL"
        // total() and CAST: sum() fails when counts that a backend made up are too large for it.
        let statement = try database.prepare(
            """
            SELECT tenant, model, \(user) AS who, price_id, count(*),
            CAST(total(input_tokens) AS INTEGER), CAST(total(output_tokens) AS INTEGER),
            CAST(total(cache_read_tokens) AS INTEGER), CAST(total(cost_nanousd) AS INTEGER)
            FROM requests WHERE started_at >= ?
            AND (julianday(started_at) - 2440587.5) * 86400000 + duration_ms >= ?
            GROUP BY tenant, model, who, price_id
            """)
        let start = restoration.start(wall)
        statement.bind(RFC3339.text(start.advanced(bySeconds: -longestRequestSeconds)), at: 1)
        statement.bind(start.milliseconds, at: 2)
        while try statement.step() {
            var sum = UsageSum()
            sum.tenant = statement.text(0)
            sum.model = statement.text(1)
            sum.user = statement.text(2)
            sum.priceID = statement.text(3)
            sum.requests = Int(statement.integer(4))
            sum.usage.input = Int(statement.integer(5))
            sum.usage.output = Int(statement.integer(6))
            sum.usage.cacheRead = Int(statement.integer(7))
            sum.costNanodollars = statement.integer(8)
            body(sum)
        }
    }
}
