import CSQLite
import Gateway
import Primitives

/// Settled rows as a table that SQLite selects from, so that one statement inserts them all.
///
/// It is a virtual table (https://www.sqlite.org/vtab.html) that exists by its name alone. To bind
/// every value, and to run a statement for every row, costs half as much again.
@safe struct SettledRowTable {
    static let name = "settled_rows"

    private let source: UnsafeMutablePointer<SettledRowSource>

    /// The table of a connection, without any row. The connection frees what it needs.
    init(in database: SQLiteDatabase) throws(SQLiteFailure) {
        unsafe source = UnsafeMutablePointer.allocate(capacity: 1)
        unsafe source.initialize(to: SettledRowSource())
        try unsafe database.add(&source.pointee.module, named: Self.name, source: source) {
            let source = unsafe $0?.assumingMemoryBound(to: SettledRowSource.self)
            unsafe source?.deinitialize(count: 1)
            unsafe source?.deallocate()
        }
    }

    /// Runs `body` while the table has these rows.
    func with(
        _ rows: SettledRows, _ body: () throws(SQLiteFailure) -> Void
    ) throws(SQLiteFailure) {
        try unsafe rows.bytes.withUnsafeBufferPointer { bytes throws(SQLiteFailure) in
            unsafe source.pointee.bytes = bytes
            defer { unsafe source.pointee.bytes = UnsafeBufferPointer(start: nil, count: 0) }
            try body()
        }
    }
}

/// What the callbacks work on.
@safe private struct SettledRowSource {
    var module = sqlite3_module()
    /// Of the rows, while they are inserted.
    var bytes = unsafe UnsafeBufferPointer<UInt8>(start: nil, count: 0)
    /// Where the only cursor is.
    var reader = SettledRowReader()
    /// When the last row began, and that in the ledger's words: most rows begin with another.
    private var time = WallTime(milliseconds: 0)
    private var timeText = Array(RFC3339.text(WallTime(milliseconds: 0)).utf8)

    init() {
        unsafe module.xConnect = connect
        unsafe module.xBestIndex = { _, _ in SQLITE_OK }
        unsafe module.xDisconnect = { table in
            unsafe table?.deallocate()
            return SQLITE_OK
        }
        unsafe module.xOpen = open
        unsafe module.xClose = { cursor in
            unsafe cursor?.deallocate()
            return SQLITE_OK
        }
        unsafe module.xFilter = { cursor, _, _, _, _ in
            unsafe source(of: cursor).pointee.reader = SettledRowReader()
            return SQLITE_OK
        }
        unsafe module.xEof = { unsafe source(of: $0).pointee.isAtEnd ? 1 : 0 }
        unsafe module.xNext = { cursor in
            unsafe source(of: cursor).pointee.advance()
            return SQLITE_OK
        }
        unsafe module.xColumn = { cursor, result, column in
            unsafe source(of: cursor).pointee.give(Int(column), to: result)
            return SQLITE_OK
        }
        // A table must have one; nobody selects it.
        unsafe module.xRowid = { _, _ in SQLITE_ERROR }
    }

    var isAtEnd: Bool { reader.isAtEnd(unsafe Span(_unsafeElements: bytes)) }

    mutating func advance() { reader.advance(unsafe Span(_unsafeElements: bytes)) }

    @inline(__always)
    mutating func give(_ member: Int, to result: OpaquePointer?) {
        switch reader.value(member, unsafe Span(_unsafeElements: bytes)) {
        case .none: unsafe sqlite3_result_null(result)
        case .number(let number): unsafe sqlite3_result_int64(result, number)
        case .text(let range):
            // SQLITE_STATIC: the rows stay where they are until the statement has run.
            let start = unsafe UnsafeRawPointer(bytes.baseAddress)?.advanced(by: range.lowerBound)
            unsafe sqlite3_result_text(
                result, start?.assumingMemoryBound(to: CChar.self), Int32(range.count), nil)
        case .time(let start):
            if start != time {
                time = start
                timeText.removeAll(keepingCapacity: true)
                RFC3339.append(start, to: &timeText)
            }
            // SQLITE_TRANSIENT: SQLite makes its own copy.
            let transient = unsafe unsafeBitCast(-1, to: sqlite3_destructor_type.self)
            unsafe timeText.withUnsafeBytes { text in
                unsafe sqlite3_result_text(
                    result, text.baseAddress?.assumingMemoryBound(to: CChar.self),
                    Int32(text.count), transient)
            }
        }
    }
}

// MARK: - Tables and cursors of SQLite

private func connect(
    _ database: OpaquePointer?, _ source: UnsafeMutableRawPointer?, _ argumentCount: Int32,
    _ arguments: UnsafePointer<UnsafePointer<CChar>?>?,
    _ table: UnsafeMutablePointer<UnsafeMutablePointer<sqlite3_vtab>?>?,
    _ message: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) -> Int32 {
    let columns = (0..<SettledRowReader.members).map { "c\($0)" }.joined(separator: ", ")
    let code = unsafe sqlite3_declare_vtab(database, "CREATE TABLE t (\(columns))")
    guard code == SQLITE_OK else { return code }
    let made = UnsafeMutablePointer<sluice_table>.allocate(capacity: 1)
    unsafe made.initialize(to: sluice_table(base: sqlite3_vtab(), source: source))
    unsafe table?.pointee = UnsafeMutableRawPointer(made)
        .assumingMemoryBound(to: sqlite3_vtab.self)
    return SQLITE_OK
}

private func open(
    _ table: UnsafeMutablePointer<sqlite3_vtab>?,
    _ cursor: UnsafeMutablePointer<UnsafeMutablePointer<sqlite3_vtab_cursor>?>?
) -> Int32 {
    let made = UnsafeMutablePointer<sqlite3_vtab_cursor>.allocate(capacity: 1)
    unsafe made.initialize(to: sqlite3_vtab_cursor())
    unsafe cursor?.pointee = made
    return SQLITE_OK
}

/// SQLite gives back what `open` and `connect` have made.
private func source(
    of cursor: UnsafeMutablePointer<sqlite3_vtab_cursor>?
) -> UnsafeMutablePointer<SettledRowSource> {
    guard let table = unsafe UnsafeMutableRawPointer(cursor?.pointee.pVtab),
        let source = unsafe table.assumingMemoryBound(to: sluice_table.self).pointee.source
    else { preconditionFailure("a cursor of no table") }
    return unsafe source.assumingMemoryBound(to: SettledRowSource.self)
}
