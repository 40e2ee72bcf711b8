import Foundation
import Primitives
import Testing

@testable import Gateway
@testable import Runtime

@Suite struct RetentionTests {
    private func filled() throws -> (String, LedgerStore) {
        let directory = freshDirectory()
        let store = try LedgerStore(directory: directory)
        try store.append([
            ledgerRow("a", at: "2025-10-31T23:59:59Z"), ledgerRow("b", at: "2025-11-01T00:00:00Z"),
            ledgerRow("c", cost: nil, at: "2025-11-30T23:59:59Z"),
            ledgerRow("d", tenant: "u", at: "2025-11-15T00:00:00Z"),
            ledgerRow("e", at: "2025-12-01T00:00:00Z"), ledgerRow("f", at: "2026-01-02T00:00:00Z"),
        ])
        return (directory, store)
    }

    private func time(_ text: String) throws -> WallTime { try #require(RFC3339.time(text)) }

    @Test func `old months become totals, and no sum changes`() throws {
        let (directory, store) = try filled()
        let before = try usage(
            of: directory, by: "tenant", since: "2025-10-01", until: "2026-02-01")
        #expect(try store.prune(before: time("2025-12-20")) == 4)
        #expect(try rowStates(in: directory).count == 2)
        let after = try usage(of: directory, by: "tenant", since: "2025-10-01", until: "2026-02-01")
        #expect(before.json() == after.json())
        #expect(after.groups.map(\.requests) == [5, 1])
        #expect(after.groups.map(\.costNanodollars) == [20, 5])
        #expect(try store.prune(before: time("2025-12-20")) == 0)
        let days = try usage(of: directory, by: "day", since: "2025-10-01", until: "2026-02-01")
        #expect(
            Set(days.groups.map { $0.names[0] })
                == ["2025-10", "2025-11", "2025-12-01", "2026-01-02"])
        let users = try usage(of: directory, by: "user", since: "2025-10-01", until: "2026-02-01")
        #expect(users.groups.map(\.requests) == [6])
    }

    @Test func `a month is pruned whole, when all of it is old`() throws {
        let (_, store) = try filled()
        #expect(try store.prune(before: time("2025-11-30T23:59:59Z")) == 1)
        #expect(try store.prune(before: time("2025-12-01")) == 3)
    }

    @Test func `a row that comes late to a pruned month adds to its totals`() throws {
        let (directory, store) = try filled()
        _ = try store.prune(before: time("2025-12-01"))
        try store.append([ledgerRow("late", at: "2025-11-20T00:00:00Z")])
        let before = try usage(of: directory, by: "", since: "2025-11-01", until: "2025-12-01")
        #expect(before.groups.first?.requests == 4)
        #expect(try store.prune(before: time("2025-12-01")) == 1)
        let after = try usage(of: directory, by: "", since: "2025-11-01", until: "2025-12-01")
        #expect(before.json() == after.json())
    }

    @Test(arguments: [
        ("2025-11-01", "2025-12-01", 3, []), ("2025-11-02", "2026-01-01", 1, ["2025-11"]),
        ("2025-10-15", "2025-11-30", 0, ["2025-10", "2025-11"]),
        ("2025-10-01", "2025-11-01", 1, []), ("2025-11-10", "2025-11-20", 0, ["2025-11"]),
        ("2025-12-01", "2026-02-01", 2, []),
    ])
    func `a query counts pruned months whole, or leaves them out and says so`(
        since: String, until: String, requests: Int64, omitted: [String]
    ) throws {
        let (directory, store) = try filled()
        _ = try store.prune(before: time("2025-12-01"))
        let report = try usage(of: directory, by: "", since: since, until: until)
        #expect(report.groups.reduce(0) { $0 + $1.requests } == requests)
        #expect(report.omittedMonths == omitted)
        let json = String(decoding: report.json(), as: UTF8.self)
        #expect(json.contains("omitted_months") == !omitted.isEmpty)
    }

    @Test func `sums that no number holds are as large as they can be`() throws {
        let directory = freshDirectory()
        let store = try LedgerStore(directory: directory)
        let months = ["2025-11-01T00:00:00Z", "2025-11-02T00:00:00Z", "2025-12-03T00:00:00Z"]
        for (index, time) in months.enumerated() {
            // More digits than a floating-point number keeps.
            try store.append([
                ledgerRow("large \(index)", cost: .max - 5, at: time),
                ledgerRow("small \(index)", tenant: "u", cost: (1 << 60) + 1, at: time),
                ledgerRow("unpriced \(index)", tenant: "v", cost: nil, at: time),
            ])
        }
        let expected: [Int64] = [.max, 3 * ((1 << 60) + 1), 0]
        func costs() throws -> [Int64] {
            try usage(of: directory, by: "tenant", since: "2025-11-01", until: "2026-01-01")
                .groups.map(\.costNanodollars)
        }
        #expect(try costs() == expected)
        #expect(try store.prune(before: time("2026-01-01")) == 9)
        #expect(try costs() == expected)
        // What comes late is added to what is there.
        try store.append([ledgerRow("late", cost: .max, at: "2025-12-04T00:00:00Z")])
        #expect(try store.prune(before: time("2026-01-01")) == 1)
        #expect(try costs() == expected)
    }

    @Test func `a ledger of the first schema is taken over with its rows`() throws {
        let directory = freshDirectory()
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true)
        // Exactly what the first version wrote.
        let database = try SQLiteDatabase(
            path: LedgerStore.path(in: directory), isReadOnly: false)
        try database.run("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
        try database.run(
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
            INSERT INTO requests VALUES ('old', 'r', '2026-01-02T03:04:05.000Z', 't', 'k', NULL,
                'chat.completions', 'r', 'b', 'm', 'u', 0, 200, NULL, 'stop', 1, 10, 2, 0, 0, 0,
                'upstream', 5, 'p', NULL, 1, 1, 1, 1);
            PRAGMA user_version=1;
            """)
        // Read before anybody has upgraded it.
        let before = try usage(
            of: directory, by: "tenant", since: "2026-01-01", until: "2026-02-01")
        #expect(before.groups.map(\.requests) == [1])
        let store = try LedgerStore(directory: directory)
        try store.append([ledgerRow("new")])
        #expect(try database.userVersion() == LedgerStore.migrations.count)
        #expect(try rowStates(in: directory) == ["new 200 -", "old 200 -"])
        _ = try LedgerStore(directory: directory)
        #expect(try store.prune(before: time("2026-02-01")) == 2)
    }
}
