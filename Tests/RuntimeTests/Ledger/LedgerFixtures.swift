import Foundation
import Primitives
import Translation

@testable import Gateway
@testable import Runtime

/// A state directory that nobody has used yet.
func freshDirectory() -> String {
    FileManager.default.temporaryDirectory.path + "/sluice-ledger-\(UUID().uuidString)"
}

/// A row of ten input and two output tokens.
func ledgerRow(
    _ id: String, tenant: String = "t", cost: Int64? = 5, at time: String = "2026-01-02T03:04:05Z"
) -> LedgerRow {
    var row = LedgerRow()
    row.id = id
    row.tenant = tenant
    row.model = "m'; DROP TABLE requests; --"
    row.startedAtMilliseconds = RFC3339.time(time)?.milliseconds ?? 0
    row.usage = TokenUsage(input: 10, output: 2)
    row.usageSource = .upstream
    row.costNanodollars = cost
    row.status = 200
    return row
}

/// What the ledger of a directory says.
func usage(
    of directory: String, by: String, since: String, until: String
) throws -> UsageReport {
    let query = try UsageQuery(
        since: since, until: until, by: by, now: WallTime(milliseconds: 0))
    return try LedgerReader.report(query, directory: directory)
}

/// The ids of all rows with their status, in order.
func rowStates(in directory: String) throws -> [String] {
    let database = try SQLiteDatabase(path: LedgerStore.path(in: directory), isReadOnly: true)
    let statement = try database.prepare(
        "SELECT id || ' ' || status || ' ' || coalesce(error_code, '-') FROM requests ORDER BY id")
    var states: [String] = []
    while try statement.step() { states.append(statement.text(0)) }
    return states
}

extension LedgerStore {
    /// Adds rows.
    func append(_ rows: [LedgerRow]) throws { try append(SettledRows(rows)) }
}

extension SettledRows {
    /// These rows.
    init(_ rows: [LedgerRow]) {
        self.init()
        for row in rows { append(row) }
    }
}

extension LedgerQueue {
    /// Adds rows that nobody needs back.
    func add(_ rows: [LedgerRow], areJournalled: Bool) {
        var rows = SettledRows(rows)
        append(&rows, areJournalled: areJournalled)
    }
}
