import CSQLite
public import Gateway
import Glibc
import Primitives
import Translation

/// The ledger's file: `ledger.sqlite` in the state directory (contract section 6).
public final class LedgerStore {
    private static let schemaVersion = 1
    private static let schema = """
        CREATE TABLE IF NOT EXISTS requests (
            id TEXT PRIMARY KEY, request_id TEXT NOT NULL, started_at TEXT NOT NULL,
            tenant TEXT NOT NULL, key_id TEXT NOT NULL, user TEXT, endpoint TEXT NOT NULL,
            route TEXT NOT NULL, backend TEXT NOT NULL, model TEXT NOT NULL,
            upstream_model TEXT NOT NULL, streamed INTEGER NOT NULL, status INTEGER NOT NULL,
            error_code TEXT, finish_reason TEXT, attempts INTEGER NOT NULL,
            input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
            cache_read_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL,
            reasoning_tokens INTEGER NOT NULL, usage_source TEXT NOT NULL, cost_nanousd INTEGER,
            price_id TEXT, ttft_ms INTEGER, duration_ms INTEGER NOT NULL,
            overhead_us INTEGER NOT NULL, request_bytes INTEGER NOT NULL,
            response_bytes INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS requests_started_at ON requests (started_at);
        """
    private static let insertion =
        "INSERT OR IGNORE INTO requests VALUES ("
        + Array(repeating: "?", count: 29).joined(separator: ",") + ")"

    private let database: SQLiteDatabase
    private let insert: SQLiteStatement

    /// Where the file of a state directory is.
    public static func path(in directory: String) -> String { "\(directory)/ledger.sqlite" }

    /// Opens the ledger for writing; makes directory (0700) and file when they are missing.
    /// - Throws: what is in the way, such as a newer schema.
    public init(directory: String) throws(SQLiteFailure) {
        if unsafe mkdir(directory, 0o700) != 0, errno != EEXIST {
            throw SQLiteFailure(
                code: SQLITE_CANTOPEN,
                message: "the state directory \(directory) cannot be made (errno \(errno))")
        }
        database = try SQLiteDatabase(path: Self.path(in: directory), isReadOnly: false)
        try database.run("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
        let version = try database.prepare("PRAGMA user_version")
        let known = try version.step() ? version.integer(0) : 0
        version.reset()
        guard known <= Int64(Self.schemaVersion) else {
            throw SQLiteFailure(
                code: SQLITE_MISMATCH,
                message: "the ledger was written by a newer sluice (schema \(known))")
        }
        try database.run(Self.schema)
        try database.run("PRAGMA user_version=\(Self.schemaVersion)")
        insert = try database.prepare(Self.insertion)
    }

    /// Adds rows in one transaction; a row whose id is there already is left as it is.
    /// - Throws: when the disk is full or the file is locked for long; nothing is added then.
    public func append(_ rows: some Sequence<LedgerRow>) throws(SQLiteFailure) {
        try database.run("BEGIN IMMEDIATE")
        do throws(SQLiteFailure) {
            for row in rows {
                insert.reset()
                bind(row)
                _ = try insert.step()
            }
            insert.reset()
            try database.run("COMMIT")
        } catch {
            insert.reset()
            try? database.run("ROLLBACK")
            throw error
        }
    }

    private func bind(_ row: LedgerRow) {
        let time = RFC3339.text(WallTime(milliseconds: row.startedAtMilliseconds))
        let texts: [String?] = [
            row.id, row.requestID, time, row.tenant, row.keyID, row.user, row.endpoint, row.route,
            row.backend, row.model, row.upstreamModel,
        ]
        for (index, text) in texts.enumerated() { insert.bind(text, at: Int32(index + 1)) }
        insert.bind(row.isStreamed ? 1 : 0, at: 12)
        insert.bind(Int64(row.status), at: 13)
        insert.bind(row.errorCode, at: 14)
        insert.bind(row.finishReason, at: 15)
        let counts = [
            row.attempts, row.usage.input, row.usage.output, row.usage.cacheRead,
            row.usage.cacheWrite, row.usage.reasoning,
        ]
        for (index, count) in counts.enumerated() {
            insert.bind(Int64(count), at: Int32(index + 16))
        }
        insert.bind(row.usageSource.rawValue, at: 22)
        insert.bind(row.costNanodollars, at: 23)
        insert.bind(row.priceID, at: 24)
        insert.bind(row.timeToFirstTokenMilliseconds.map { Int64($0) }, at: 25)
        let sizes = [
            row.durationMilliseconds, row.overheadMicroseconds, row.requestBytes,
            row.responseBytes,
        ]
        for (index, size) in sizes.enumerated() { insert.bind(Int64(size), at: Int32(index + 26)) }
    }
}

/// Reads the ledger while the gateway runs: WAL lets readers be.
public enum LedgerReader {
    /// The sums of a query.
    /// - Throws: when there is no ledger, or it cannot be read.
    public static func report(
        _ query: UsageQuery, directory: String
    ) throws(SQLiteFailure) -> UsageReport {
        let database = try SQLiteDatabase(
            path: LedgerStore.path(in: directory), isReadOnly: true)
        // The names come from `UsageQuery.dimensions`, never from outside.
        let columns = query.by.map { $0 == "day" ? "substr(started_at, 1, 10)" : $0 }
        let sums = """
            count(*), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens),
            sum(cache_write_tokens), sum(reasoning_tokens), coalesce(sum(cost_nanousd), 0)
            """
        let grouping =
            columns.isEmpty ? "" : "GROUP BY " + columns.joined(separator: ", ")
        let statement = try database.prepare(
            """
            SELECT \((columns + [sums]).joined(separator: ", ")) FROM requests
            WHERE started_at >= ? AND started_at < ? \(grouping)
            ORDER BY coalesce(sum(cost_nanousd), 0) DESC, count(*) DESC
            """)
        statement.bind(RFC3339.text(query.since), at: 1)
        statement.bind(RFC3339.text(query.until), at: 2)
        var groups: [UsageReport.Group] = []
        while try statement.step() {
            let names = columns.indices.map { statement.text(Int32($0)) }
            let figures = (0..<7).map { statement.integer(Int32(columns.count + $0)) }
            groups.append(UsageReport.Group(names: names, sums: figures))
        }
        return UsageReport(query: query, groups: groups)
    }
}
