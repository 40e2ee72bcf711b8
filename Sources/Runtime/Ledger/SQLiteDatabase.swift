import CSQLite
import Primitives

/// What SQLite said was wrong.
public struct SQLiteFailure: Error, Sendable {
    /// The result code.
    public let code: Int32
    /// For people.
    public let message: String
}

/// One connection to a SQLite database, used by one thread at a time.
@safe final class SQLiteDatabase {
    private let pointer: OpaquePointer

    /// Opens a file, or makes it.
    init(path: String, isReadOnly: Bool) throws(SQLiteFailure) {
        var opened: OpaquePointer?
        let flags =
            (isReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)
            | SQLITE_OPEN_NOMUTEX
        let code = unsafe sqlite3_open_v2(path, &opened, flags, nil)
        guard code == SQLITE_OK, let opened = unsafe opened else {
            let reason = KernelFailure(number: unsafe sqlite3_system_errno(opened)).reason
            unsafe sqlite3_close(opened)
            let hint = isReadOnly ? "; the first `sluice serve` makes it" : ""
            throw SQLiteFailure(
                code: code, message: "the ledger \(path) cannot be opened: \(reason)\(hint)")
        }
        unsafe pointer = opened
        unsafe sqlite3_busy_timeout(pointer, 5000)
    }

    deinit { unsafe sqlite3_close_v2(pointer) }

    /// Runs statements that return nothing.
    func run(_ sql: String) throws(SQLiteFailure) {
        let code = unsafe sqlite3_exec(pointer, sql, nil, nil, nil)
        guard code == SQLITE_OK else { throw failure(code) }
    }

    /// Runs `body` between BEGIN and COMMIT; when it throws, nothing of it is done.
    func transaction(_ body: () throws(SQLiteFailure) -> Void) throws(SQLiteFailure) {
        try run("BEGIN IMMEDIATE")
        do throws(SQLiteFailure) {
            try body()
            try run("COMMIT")
        } catch {
            try? run("ROLLBACK")
            throw error
        }
    }

    /// Whether the path leads to another file by now, or to none.
    var hasMoved: Bool {
        var moved: Int32 = 0
        let code = unsafe sqlite3_file_control(pointer, nil, SQLITE_FCNTL_HAS_MOVED, &moved)
        return code == SQLITE_OK && moved != 0
    }

    /// Rows that the last statement has changed.
    var changes: Int { Int(unsafe sqlite3_changes(pointer)) }

    /// The number that the file's schema was marked with; 0 in a new file.
    func userVersion() throws(SQLiteFailure) -> Int {
        let version = try prepare("PRAGMA user_version")
        defer { version.reset() }
        return try version.step() ? Int(version.integer(0)) : 0
    }

    /// Prepares one statement.
    func prepare(_ sql: String) throws(SQLiteFailure) -> SQLiteStatement {
        var statement: OpaquePointer?
        let code = unsafe sqlite3_prepare_v2(pointer, sql, -1, &statement, nil)
        guard code == SQLITE_OK, let statement = unsafe statement else { throw failure(code) }
        return unsafe SQLiteStatement(statement, of: self)
    }

    /// Makes a table that a module reads from `source`; `free` is called with that at the end, and
    /// when there is no such table.
    func add(
        _ module: UnsafePointer<sqlite3_module>, named name: String,
        source: UnsafeMutableRawPointer,
        free: @convention(c) (UnsafeMutableRawPointer?) -> Void
    ) throws(SQLiteFailure) {
        let code = unsafe sqlite3_create_module_v2(pointer, name, module, source, free)
        guard code == SQLITE_OK else { throw failure(code) }
    }

    func failure(_ code: Int32) -> SQLiteFailure {
        SQLiteFailure(
            code: code, message: unsafe String(cString: sqlite3_errmsg(pointer)))
    }
}

/// A prepared statement. Values are bound, never spliced into SQL.
@safe final class SQLiteStatement {
    private let pointer: OpaquePointer
    private let database: SQLiteDatabase

    fileprivate init(_ pointer: OpaquePointer, of database: SQLiteDatabase) {
        unsafe self.pointer = pointer
        self.database = database
    }

    deinit { unsafe sqlite3_finalize(pointer) }

    /// Binds text. Indexes begin with 1.
    func bind(_ text: String, at index: Int32) {
        // SQLITE_TRANSIENT: SQLite makes its own copy.
        let transient = unsafe unsafeBitCast(-1, to: sqlite3_destructor_type.self)
        unsafe sqlite3_bind_text(pointer, index, text, Int32(text.utf8.count), transient)
    }

    /// Binds a number.
    func bind(_ number: Int64, at index: Int32) {
        unsafe sqlite3_bind_int64(pointer, index, number)
    }

    /// Runs on to the next row. False: there is none.
    func step() throws(SQLiteFailure) -> Bool {
        switch unsafe sqlite3_step(pointer) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        case let code: throw database.failure(code)
        }
    }

    /// Ready to run again with other values.
    func reset() { unsafe sqlite3_reset(pointer) }

    /// The text of a column, from 0; empty for NULL.
    func text(_ column: Int32) -> String {
        guard let text = unsafe sqlite3_column_text(pointer, column) else { return "" }
        return unsafe String(cString: text)
    }

    /// The number of a column, from 0; 0 for NULL.
    func integer(_ column: Int32) -> Int64 { unsafe sqlite3_column_int64(pointer, column) }
}
