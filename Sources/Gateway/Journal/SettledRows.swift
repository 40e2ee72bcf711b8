import Primitives

/// Rows on their way into the ledger: the journal's records of settled requests, one after another.
///
/// A row is bytes already when its request has settled, and stays that until SQLite has it. So one
/// thread hands it to another without a count and a release for each of its texts.
public struct SettledRows: Sendable {
    /// The records.
    public private(set) var bytes: [UInt8] = []
    /// How many they are.
    public private(set) var count = 0

    /// No rows.
    public init() {}

    /// Whether there are none.
    public var isEmpty: Bool { count == 0 }

    /// Adds the row of one record, as `JournalRecord.append(settled:to:)` has written it.
    public mutating func append(record: Span<UInt8>) {
        bytes.append(span: record)
        count += 1
    }

    /// Adds a row.
    public mutating func append(_ row: LedgerRow) {
        JournalRecord.append(settled: row, to: &bytes)
        count += 1
    }

    /// Adds the rows of others behind these.
    public mutating func append(contentsOf others: SettledRows) {
        bytes.append(contentsOf: others.bytes)
        count += others.count
    }

    /// Forgets all rows and keeps the memory.
    public mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        count = 0
    }
}
