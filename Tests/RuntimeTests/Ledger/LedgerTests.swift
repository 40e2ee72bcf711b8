import Foundation
import Primitives
import TestSupport
import Testing
import Translation

@testable import Gateway
@testable import Runtime

@Suite struct LedgerTests {
    private func report(_ directory: String) throws -> UsageReport {
        try usage(of: directory, by: "tenant,day", since: "2026-01-01", until: "2026-02-01")
    }

    @Test func `a row is counted once, however often it is written`() throws {
        let directory = freshDirectory()
        let store = try LedgerStore(directory: directory)
        try store.append([ledgerRow("a"), ledgerRow("b", cost: nil), ledgerRow("c", tenant: "u")])
        try store.append([ledgerRow("a"), ledgerRow("b")])
        let report = try self.report(directory)
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

    @Test func `a ledger that cannot be opened for a while is opened when it can`() throws {
        let directory = freshDirectory()
        // In the way: a file where the directory should be.
        try Data().write(to: URL(fileURLWithPath: directory))
        let reports = Locked<[String]>([])
        let ledger = LedgerThread(
            workers: 0, metrics: Metrics(shards: 1, version: "test"),
            settings: LedgerConfiguration()
        ) { level, message in reports.withLock { $0.append("\(level): \(message)") } }
        let opened = Locked(false)
        let thread = try BackgroundThread {
            let isOpen = ledger.reopen(directory) != nil
            opened.withLock { $0 = isOpen }
        }
        while reports.withLock({ $0.isEmpty }) { usleep(1000) }
        try FileManager.default.removeItem(atPath: directory)
        thread.join()
        #expect(opened.withLock { $0 })
        let told = reports.withLock { $0 }
        #expect(told == ["error: the ledger cannot be opened; it is tried again"])
    }

    @Test func `a ledger that has gone as soon as it is opened is waited for`() throws {
        let directory = freshDirectory()
        let reports = Locked<[String]>([])
        let ledger = LedgerThread(
            workers: 0, metrics: Metrics(shards: 1, version: "test"),
            settings: LedgerConfiguration()
        ) { _, message in reports.withLock { $0.append(message) } }
        var opened = 0
        let begin = SystemClock.now()
        let store = ledger.reopen(directory) { directory in
            opened += 1
            let store = try? LedgerStore(directory: directory)
            if opened < 4 { unlink(LedgerStore.path(in: directory)) }
            return store
        }
        #expect(store?.hasGone == false)
        #expect(opened == 4)
        #expect(SystemClock.now().milliseconds(since: begin) >= 150)
        #expect(reports.withLock { $0 } == ["the ledger cannot be opened; it is tried again"])
    }

    @Test(arguments: [true, false])
    func `a segment whose rows are needed is kept when it is damaged`(_ isSound: Bool) throws {
        let directory = freshDirectory()
        let store = try LedgerStore(directory: directory)
        let metrics = Metrics(shards: 1, version: "test")
        let queue = LedgerQueue(waiting: metrics.ledgerWaiting, lost: metrics.ledgerLost)
        let path = "\(directory)/x.journal"
        let segment = try JournalSegment(creating: path)
        var bytes: [UInt8] = []
        JournalRecord.append(settled: ledgerRow("a"), to: &bytes)
        if !isSound { bytes += [1, 2, 3] }
        JournalRecord.append(settled: ledgerRow("b"), to: &bytes)
        try segment.append(bytes, size: 0)
        queue.begin(segment)
        // So many wait that these are left to the segment.
        metrics.ledgerWaiting.add(Limits.ledgerWaitingRows)
        queue.add([ledgerRow("a"), ledgerRow("b")], areJournalled: true)
        metrics.ledgerWaiting.add(-Limits.ledgerWaitingRows)
        queue.begin(nil)
        let reports = Locked<[String]>([])
        var keeper = LedgerKeeper(metrics: metrics) { _, message in
            reports.withLock { $0.append(message) }
        }
        keeper.collect(queue)
        keeper.write(into: store)
        #expect(try rowStates(in: directory) == ["a 200 -", "b 200 -"])
        let files = FileSystem.names(in: directory).filter { $0.hasPrefix("x.") }
        #expect(files == (isSound ? [] : ["x.journal.damaged"]))
        #expect(reports.withLock { $0.count } == (isSound ? 0 : 1))
    }

    @Test(arguments: [true, false])
    func `a ledger that is taken away is followed by a new one`(_ withDirectory: Bool) throws {
        let directory = freshDirectory()
        let metrics = Metrics(shards: 1, version: "test")
        let reports = Locked<[String]>([])
        let thread = LedgerThread(
            workers: 1, metrics: metrics, settings: LedgerConfiguration()
        ) { level, message in reports.withLock { $0.append("\(level): \(message)") } }
        try thread.start(directory: directory)
        let queue = thread.queues[0]
        queue.add([ledgerRow("a")], areJournalled: false)
        while metrics.ledgerRows.value < 1 { usleep(1000) }
        let files = FileManager.default
        if withDirectory {
            try files.removeItem(atPath: directory)
        } else {
            for name in try files.contentsOfDirectory(atPath: directory)
            where name.hasPrefix("ledger") {
                try files.removeItem(atPath: "\(directory)/\(name)")
            }
        }
        queue.add([ledgerRow("b")], areJournalled: false)
        while metrics.ledgerRows.value < 2 { usleep(1000) }
        queue.add([ledgerRow("c")], areJournalled: false)
        thread.stop()
        #expect(try rowStates(in: directory) == ["b 200 -", "c 200 -"])
        #expect(metrics.ledgerWaiting.value == 0)
        let told = reports.withLock { $0 }
        #expect(told.last == "error: the ledger has been deleted or moved; a new one is begun")
    }

    @Test func `rows that were written as the file went are not taken for recorded`() throws {
        let directory = freshDirectory()
        let store = try LedgerStore(directory: directory)
        #expect(!store.hasGone)
        try FileManager.default.moveItem(
            atPath: LedgerStore.path(in: directory), toPath: directory + "/elsewhere.sqlite")
        #expect(store.hasGone)
        #expect(throws: SQLiteFailure.self) { try store.append([ledgerRow("a")]) }
    }

    @Test func `every member of a row stands in its column`() throws {
        let directory = freshDirectory()
        let store = try LedgerStore(directory: directory)
        var row = ledgerRow("b", tenant: "Jürgen\n\u{0}", at: "2026-01-02T03:04:05.678Z")
        row.requestID = "req"
        row.keyID = "key"
        row.user = ""
        row.endpoint = "chat.completions"
        row.route = "r-*"
        row.backend = "vllm"
        row.upstreamModel = "up"
        row.isStreamed = true
        row.errorCode = "error"
        row.finishReason = "stop"
        row.attempts = 3
        row.usage = TokenUsage(input: .max, output: 1)
        row.usage.cacheRead = 2
        row.usage.cacheWrite = 4
        row.usage.reasoning = 5
        row.costNanodollars = -6
        row.priceID = "price"
        row.timeToFirstTokenMilliseconds = 7
        row.durationMilliseconds = 8
        row.overheadMicroseconds = 9
        row.requestBytes = 10
        row.responseBytes = 11
        var bare = LedgerRow()
        bare.id = "a"
        #expect(try store.append(SettledRows([row, bare, row])) == 2)
        #expect(try store.append(SettledRows([bare])) == 0)
        #expect(try store.append(SettledRows()) == 0)
        let database = try SQLiteDatabase(
            path: LedgerStore.path(in: directory), isReadOnly: true)
        let statement = try database.prepare("SELECT * FROM requests ORDER BY id")
        func next() throws -> [String] {
            #expect(try statement.step())
            return (0..<29).map { statement.text($0) }
        }
        #expect(
            try next() == [
                "a", "", "1970-01-01T00:00:00.000Z", "", "", "", "", "", "", "", "", "0", "0", "",
                "",
                "0", "0", "0", "0", "0", "0", "none", "", "", "", "0", "0", "0", "0",
            ])
        #expect(
            try next() == [
                "b", "req", "2026-01-02T03:04:05.678Z", "Jürgen\n", "key", "", "chat.completions",
                "r-*", "vllm", row.model, "up", "1", "200", "error", "stop", "3",
                "9223372036854775807", "1", "2", "4", "5", "upstream", "-6", "price", "7", "8", "9",
                "10", "11",
            ])
        let nulls = try database.prepare(
            "SELECT id FROM requests WHERE user IS NULL AND error_code IS NULL AND price_id IS NULL "
                + "AND finish_reason IS NULL AND cost_nanousd IS NULL AND ttft_ms IS NULL "
                + "UNION ALL SELECT id FROM requests WHERE length(CAST(tenant AS BLOB)) = 9")
        #expect(try nulls.step() && nulls.text(0) == "a")
        #expect(try nulls.step() && nulls.text(0) == "b")
    }

    @Test func `a batch that cannot be written leaves nothing behind`() throws {
        let directory = freshDirectory()
        let store = try LedgerStore(directory: directory)
        let database = try SQLiteDatabase(
            path: LedgerStore.path(in: directory), isReadOnly: false)
        // The third row is one too many.
        try database.run(
            "CREATE TRIGGER full BEFORE INSERT ON requests WHEN new.id = 'c' "
                + "BEGIN SELECT RAISE(ABORT, 'full'); END")
        let rows = SettledRows(["a", "b", "c", "d"].map { ledgerRow($0) })
        #expect(throws: SQLiteFailure.self) { try store.append(rows) }
        #expect(try rowStates(in: directory).isEmpty)
        try database.run("DROP TRIGGER full")
        #expect(try store.append(rows) == 4)
    }

    @Test func `everything that was queued is written before the thread ends`() throws {
        let directory = freshDirectory()
        let metrics = Metrics(shards: 1, version: "test")
        let thread = LedgerThread(
            workers: 2, metrics: metrics, settings: LedgerConfiguration()
        ) { _, message in Issue.record("\(message)") }
        try thread.start(directory: directory)
        for index in 0..<2500 {
            thread.queues[index % 2].add([ledgerRow("\(index)")], areJournalled: false)
        }
        thread.stop()
        let report = try self.report(directory)
        #expect(report.groups.first?.requests == 2500)
        #expect(metrics.ledgerRows.value == 2500)
    }

    @Test func `a calendar window is summed up by when requests ended`() throws {
        let directory = freshDirectory()
        let store = try LedgerStore(directory: directory)
        // 2026-01-02T03:04:05Z; the day began 11,045 s before.
        let wall = WallTime(milliseconds: 1_767_323_045_000)
        var rows: [LedgerRow] = []
        for (index, (seconds, duration)) in [
            (11_044, 0), (11_046, 0), (11_046, 1_000), (80_000, 68_954_999), (80_000, 68_955_000),
            (11_045 + 86_400, 0),
        ].enumerated() {
            var row = ledgerRow("\(index)")
            row.startedAtMilliseconds = wall.milliseconds - Int64(seconds) * 1000
            row.durationMilliseconds = duration
            row.user = index == 0 ? "alice" : nil
            row.usage.cacheRead = 3
            row.usage.input = .max
            rows.append(row)
        }
        try store.append(rows)
        let byUser = book(isByUser: true, .day)
        var sums: [UsageSum] = []
        try LedgerReader.sums(byUser, wall: wall, directory: directory) { sums.append($0) }
        #expect(sums.map(\.requests).sorted() == [1, 2])
        #expect(Set(sums.map(\.user)) == ["alice", ""])
        #expect(sums.reduce(0) { $0 + $1.usage.cacheRead } == 9)
        #expect(sums.reduce(0) { $0 + $1.costNanodollars } == 15)
        sums = []
        let month = book(isByUser: false, .month)
        try LedgerReader.sums(month, wall: wall, directory: directory) { sums.append($0) }
        #expect(sums.map(\.requests) == [6])
        #expect(sums.first?.usage.input == .max)
        #expect(sums.first?.tenant == "t")
    }

    private func book(
        isByUser: Bool, _ window: LimitConfiguration.Window
    ) -> QuotaBook.Restoration {
        var limit = LimitConfiguration(measure: .usd, amount: 1, window: window)
        limit.isByUser = isByUser
        return QuotaBook(tenants: [(name: "t", limits: [limit])], carryingOverFrom: nil)
            .restorations[0]
    }

    @Test func `a ledger of a newer sluice is left alone`() throws {
        let directory = freshDirectory()
        _ = try LedgerStore(directory: directory)
        let database = try SQLiteDatabase(
            path: LedgerStore.path(in: directory), isReadOnly: false)
        try database.run("PRAGMA user_version=99")
        let failure = #expect(throws: SQLiteFailure.self) {
            try LedgerStore(directory: directory)
        }
        #expect(failure?.message.contains("newer sluice (schema 99") == true)
    }

    @Test func `a wrong question is answered with what would be right`() {
        for (since, until, by) in [
            ("yesterday", "0s", "tenant"), ("24h", "0s", "colour"),
            ("24h", "0s", "tenant,day,tenant"), ("1h", "2h", "tenant"),
        ] {
            #expect(throws: APIError.self) {
                try UsageQuery(since: since, until: until, by: by, now: WallTime(milliseconds: 0))
            }
        }
    }
}
