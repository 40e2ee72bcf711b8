import CSQLite
public import Gateway
import Glibc
import Primitives
import Translation

/// The ledger's file: `ledger.sqlite` in the state directory (contract section 6).
public final class LedgerStore {
    /// The steps from an empty file to what this version writes; a file has done as many of them as
    /// its `user_version` says.
    static let migrations = [
        """
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
        """,
        """
        CREATE TABLE monthly_totals (
            month TEXT NOT NULL, tenant TEXT NOT NULL, key_id TEXT NOT NULL, route TEXT NOT NULL,
            backend TEXT NOT NULL, model TEXT NOT NULL, upstream_model TEXT NOT NULL,
            requests INTEGER NOT NULL, input_tokens INTEGER NOT NULL,
            output_tokens INTEGER NOT NULL, cache_read_tokens INTEGER NOT NULL,
            cache_write_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL,
            cost_nanousd INTEGER NOT NULL,
            PRIMARY KEY (month, tenant, key_id, route, backend, model, upstream_model)
        ) WITHOUT ROWID;
        """,
        // In the order of time, in one tree: a new row goes to the end, and needs no second entry.
        """
        ALTER TABLE requests RENAME TO requests_by_id;
        CREATE TABLE requests (
            id TEXT NOT NULL, request_id TEXT NOT NULL, started_at TEXT NOT NULL,
            tenant TEXT NOT NULL, key_id TEXT NOT NULL, user TEXT, endpoint TEXT NOT NULL,
            route TEXT NOT NULL, backend TEXT NOT NULL, model TEXT NOT NULL,
            upstream_model TEXT NOT NULL, streamed INTEGER NOT NULL, status INTEGER NOT NULL,
            error_code TEXT, finish_reason TEXT, attempts INTEGER NOT NULL,
            input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
            cache_read_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL,
            reasoning_tokens INTEGER NOT NULL, usage_source TEXT NOT NULL, cost_nanousd INTEGER,
            price_id TEXT, ttft_ms INTEGER, duration_ms INTEGER NOT NULL,
            overhead_us INTEGER NOT NULL, request_bytes INTEGER NOT NULL,
            response_bytes INTEGER NOT NULL, PRIMARY KEY (started_at, id)
        ) WITHOUT ROWID;
        INSERT INTO requests SELECT * FROM requests_by_id ORDER BY started_at, id;
        DROP TABLE requests_by_id;
        """,
    ]
    private static let insertion =
        "INSERT OR IGNORE INTO requests SELECT * FROM \(SettledRowTable.name)"

    private let database: SQLiteDatabase
    private let settled: SettledRowTable
    private let insert: SQLiteStatement

    /// Where the file of a state directory is.
    public static func path(in directory: String) -> String { "\(directory)/ledger.sqlite" }

    /// Opens the ledger for writing; makes directory (0700) and file when they are missing.
    /// - Throws: what is in the way, such as a newer schema.
    public init(directory: String) throws(SQLiteFailure) {
        if unsafe mkdir(directory, 0o700) != 0, errno != EEXIST {
            throw SQLiteFailure(
                code: SQLITE_CANTOPEN,
                message: "the state directory \(directory) cannot be made: "
                    + KernelFailure(number: errno).reason)
        }
        database = try SQLiteDatabase(path: Self.path(in: directory), isReadOnly: false)
        try database.run("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
        try Self.migrate(database)
        settled = try SettledRowTable(in: database)
        insert = try database.prepare(Self.insertion)
    }

    /// Brings the file to this version's schema, in one transaction: two processes may try at once.
    private static func migrate(_ database: SQLiteDatabase) throws(SQLiteFailure) {
        guard try database.userVersion() != migrations.count else { return }
        try database.transaction { () throws(SQLiteFailure) in
            let known = try database.userVersion()
            guard known <= migrations.count else {
                throw SQLiteFailure(
                    code: SQLITE_MISMATCH,
                    message: "the ledger was written by a newer sluice (schema \(known), this one "
                        + "knows \(migrations.count)); use that one, or another state directory")
            }
            for step in migrations[known...] { try database.run(step) }
            try database.run("PRAGMA user_version=\(migrations.count)")
        }
    }

    /// Whether the file has been deleted or moved. SQLite writes on into such a one, and nobody
    /// would ever read it.
    var hasGone: Bool { database.hasMoved }

    /// Adds rows in one transaction; a row whose id is there already is left as it is.
    /// - Returns: how many were added.
    /// - Throws: when the disk is full or the file is locked for long; nothing is added then. When
    ///   the file has gone meanwhile, they must be added to the next one.
    @discardableResult
    public func append(_ rows: SettledRows) throws(SQLiteFailure) -> Int {
        var added = 0
        try database.transaction { () throws(SQLiteFailure) in
            try settled.with(rows) { () throws(SQLiteFailure) in
                // A statement that is not reset would keep the transaction open.
                defer { insert.reset() }
                _ = try insert.step()
            }
            added = database.changes
        }
        guard !hasGone else {
            throw SQLiteFailure(code: SQLITE_IOERR, message: "its file has been deleted or moved")
        }
        return added
    }

    /// Sums up the rows of months that ended before `time`, and deletes them in the same
    /// transaction: a month has either its rows or its totals.
    /// - Returns: how many rows went.
    func prune(before time: WallTime) throws(SQLiteFailure) -> Int {
        let month = String(RFC3339.text(time).prefix(7))
        let oldest = try database.prepare(
            "SELECT substr(min(started_at), 1, 7) FROM requests WHERE started_at < ?")
        var pruned = 0
        while true {
            oldest.reset()
            oldest.bind(month, at: 1)
            let first = try oldest.step() ? oldest.text(0) : ""
            oldest.reset()
            guard !first.isEmpty else { return pruned }
            pruned += try sumUp(month: first)
        }
    }

    private func sumUp(month: String) throws(SQLiteFailure) -> Int {
        let keys = "tenant, key_id, route, backend, model, upstream_model"
        let figures = UsageColumns.figures.map { UsageColumns.addition(to: $0) }
        let sums = UsageColumns.figures.dropFirst().map { UsageColumns.sum(of: $0) }
        // '~' is behind all digits and dashes.
        let rows = "started_at >= ?1 AND started_at < ?1 || '~'"
        let summing = try database.prepare(
            """
            INSERT INTO monthly_totals SELECT ?1, \(keys), count(*), \(sums.joined(separator: ", "))
            FROM requests WHERE \(rows) GROUP BY \(keys)
            ON CONFLICT DO UPDATE SET \(figures.joined(separator: ", "))
            """)
        let deletion = try database.prepare("DELETE FROM requests WHERE \(rows)")
        var deleted = 0
        try database.transaction { () throws(SQLiteFailure) in
            defer {
                summing.reset()
                deletion.reset()
            }
            summing.bind(month, at: 1)
            _ = try summing.step()
            deletion.bind(month, at: 1)
            _ = try deletion.step()
            deleted = database.changes
        }
        return deleted
    }
}
