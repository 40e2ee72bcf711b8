public import Gateway
import Primitives

/// Reads the ledger while the gateway runs: WAL lets readers be.
public enum LedgerReader {
    /// The sums of a query: of all rows in its time, and of the pruned months that lie in it whole.
    /// - Throws: when there is no ledger, or it cannot be read.
    public static func report(
        _ query: UsageQuery, directory: String
    ) throws(SQLiteFailure) -> UsageReport {
        let database = try SQLiteDatabase(
            path: LedgerStore.path(in: directory), isReadOnly: true)
        // One transaction, or a month that is pruned meanwhile would count twice or not at all.
        try database.run("BEGIN")
        let hasTotals = try database.userVersion() >= 2
        let groups = try groups(query, database, hasTotals: hasTotals)
        let omitted = hasTotals ? try omittedMonths(query, database) : []
        return UsageReport(query: query, groups: groups, omittedMonths: omitted)
    }

    private static func groups(
        _ query: UsageQuery, _ database: SQLiteDatabase, hasTotals: Bool
    ) throws(SQLiteFailure) -> [UsageReport.Group] {
        // The names come from `UsageQuery.dimensions`, never from outside.
        let names = query.by.joined(separator: ", ")
        let sums = UsageColumns.figures.map { UsageColumns.sum(of: $0) }.joined(separator: ", ")
        let statement = try database.prepare(
            """
            SELECT \(query.by.isEmpty ? "" : names + ", ")\(sums)
            FROM (\(UsageColumns.rows(query.by))\(hasTotals ? UsageColumns.totals(query.by) : ""))
            \(query.by.isEmpty ? "" : "GROUP BY " + names)
            ORDER BY total(cost_nanousd) DESC, total(requests) DESC
            """)
        statement.bind(RFC3339.text(query.since), at: 1)
        statement.bind(RFC3339.text(query.until), at: 2)
        if hasTotals {
            let months = query.wholeMonths
            statement.bind(months.first, at: 3)
            statement.bind(months.end, at: 4)
        }
        var groups: [UsageReport.Group] = []
        while try statement.step() {
            let values = query.by.indices.map { statement.text(Int32($0)) }
            let figures = (0..<7).map { statement.integer(Int32(query.by.count + $0)) }
            groups.append(UsageReport.Group(names: values, sums: figures))
        }
        return groups
    }

    /// Pruned months of which the query wants a part only.
    private static func omittedMonths(
        _ query: UsageQuery, _ database: SQLiteDatabase
    ) throws(SQLiteFailure) -> [String] {
        let statement = try database.prepare(
            """
            SELECT DISTINCT month FROM monthly_totals
            WHERE month || '~' > ?1 AND month || '-01T00:00:00.000Z' < ?2
            AND NOT (month >= ?3 AND month < ?4)
            """)
        let months = query.wholeMonths
        let bounds = [
            RFC3339.text(query.since), RFC3339.text(query.until), months.first, months.end,
        ]
        for (index, bound) in bounds.enumerated() { statement.bind(bound, at: Int32(index + 1)) }
        var omitted: [String] = []
        while try statement.step() { omitted.append(statement.text(0)) }
        return omitted
    }
}

/// The columns that rows and monthly totals have in common.
enum UsageColumns {
    static let figures = [
        "requests", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens",
        "reasoning_tokens", "cost_nanousd",
    ]
    private static let kept = ["tenant", "key_id", "route", "backend", "model", "upstream_model"]

    /// The sum of a figure; of money the largest number when it does not fit. With `sum` itself the
    /// whole query would fail, and a price may be high and a count absurd: so the halves are summed
    /// up apart. A row's tokens are few enough for any number of rows (`TokenUsage.count`).
    static func sum(of figure: String) -> String {
        guard figure == "cost_nanousd" else { return "coalesce(sum(\(figure)), 0)" }
        let high = "coalesce(sum(\(figure) >> 32), 0)"
        let low = "coalesce(sum(\(figure) & 4294967295), 0)"
        return "CASE WHEN \(high) + (\(low) >> 32) < 2147483648 "
            + "THEN (\(high) << 32) + \(low) ELSE \(Int64.max) END"
    }

    /// Adds what an insertion has brought to a figure, likewise.
    static func addition(to figure: String) -> String {
        "\(figure) = CASE WHEN \(figure) <= \(Int64.max) - excluded.\(figure) "
            + "THEN \(figure) + excluded.\(figure) ELSE \(Int64.max) END"
    }

    /// Single requests; `?1` to `?2`.
    static func rows(_ by: [String]) -> String {
        let names = by.map { name in
            switch name {
            case "day": "substr(started_at, 1, 10) AS day"
            case "user": "coalesce(user, '') AS user"
            default: name
            }
        }
        let counted = ["1 AS requests"] + figures.dropFirst()
        return "SELECT \((names + counted).joined(separator: ", ")) FROM requests "
            + "WHERE started_at >= ?1 AND started_at < ?2"
    }

    /// Months; `?3` to `?4`. They know no day but their month, and neither user, status nor
    /// endpoint.
    static func totals(_ by: [String]) -> String {
        let names = by.map { name in
            name == "day" ? "month" : kept.contains(name) ? name : "'' AS \(name)"
        }
        return " UNION ALL SELECT \((names + figures).joined(separator: ", ")) "
            + "FROM monthly_totals WHERE month >= ?3 AND month < ?4"
    }
}
