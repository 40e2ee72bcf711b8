import Foundation
import Primitives
import TestSupport
import Testing
import Translation

@testable import Gateway
@testable import Runtime

@Suite struct LedgerTests {
    private func directory() -> String {
        FileManager.default.temporaryDirectory.path + "/sluice-ledger-\(UUID().uuidString)"
    }

    private func row(_ id: String, tenant: String = "t", cost: Int64? = 5) -> LedgerRow {
        var row = LedgerRow()
        row.id = id
        row.tenant = tenant
        row.model = "m'; DROP TABLE requests; --"
        row.startedAtMilliseconds = 1_767_323_045_000
        row.usage = TokenUsage(input: 10, output: 2)
        row.usageSource = .upstream
        row.costNanodollars = cost
        row.status = 200
        return row
    }

    private func query() throws -> UsageQuery {
        try UsageQuery(
            since: "2026-01-01", until: "2026-02-01", by: "tenant,day",
            now: WallTime(milliseconds: 0))
    }

    @Test func `a row is counted once, however often it is written`() throws {
        let directory = directory()
        let store = try LedgerStore(directory: directory)
        try store.append([row("a"), row("b", cost: nil), row("c", tenant: "u")])
        try store.append([row("a"), row("b")])
        let report = try LedgerReader.report(try query(), directory: directory)
        #expect(report.groups.count == 2)
        #expect(report.groups.first?.names == ["t", "2026-01-02"])
        #expect(report.groups.first?.requests == 2)
        #expect(report.groups.first?.inputTokens == 20)
        #expect(report.groups.first?.costNanodollars == 5)
        let json = JSONSupport.parse(report.json()) as? [String: Any]
        #expect((json?["groups"] as? [Any])?.count == 2)
        #expect(report.csv().hasPrefix("tenant,day,requests,"))
        #expect(report.table().contains("cost_usd"))
    }

    @Test func `everything that was queued is written before the thread ends`() throws {
        let directory = directory()
        let queues = [LedgerQueue(), LedgerQueue()]
        let metrics = Metrics(shards: 1, version: "test")
        let thread = LedgerThread(queues: queues, metrics: metrics) { Issue.record("\($0)") }
        try thread.start(directory: directory)
        for index in 0..<2500 { queues[index % 2].append(row("\(index)")) }
        thread.stop()
        let report = try LedgerReader.report(try query(), directory: directory)
        #expect(report.groups.first?.requests == 2500)
        #expect(metrics.ledgerRows.value == 2500)
    }

    @Test func `a ledger of a newer sluice is left alone`() throws {
        let directory = directory()
        _ = try LedgerStore(directory: directory)
        let database = try SQLiteDatabase(
            path: LedgerStore.path(in: directory), isReadOnly: false)
        try database.run("PRAGMA user_version=99")
        #expect(throws: SQLiteFailure.self) { try LedgerStore(directory: directory) }
    }

    @Test func `a wrong question is answered with what would be right`() {
        for (since, by) in [("yesterday", "tenant"), ("24h", "colour")] {
            #expect(throws: APIError.self) {
                try UsageQuery(since: since, until: nil, by: by, now: WallTime(milliseconds: 0))
            }
        }
    }
}
