import Foundation
import Glibc
import Primitives
import Testing

@testable import Gateway
@testable import Runtime

@Suite struct JournalReplayTests {
    private let state = freshDirectory()
    private var journals: String { JournalReplay.directory(in: state) }

    private func makeStore() throws -> LedgerStore {
        let store = try LedgerStore(directory: state)
        try JournalReplay.makeDirectory(journals)
        return store
    }

    private func writer(_ shard: Int = 0, queue: LedgerQueue = LedgerQueue()) -> JournalWriter {
        JournalWriter(directory: journals, start: "s", shard: shard, queue: queue) { _ in }
    }

    private func opened(_ ids: String...) -> [UInt8] {
        var bytes: [UInt8] = []
        for id in ids {
            var row = ledgerRow(id)
            row.status = 500
            row.errorCode = "gateway_interrupted"
            JournalRecord.append(opened: row, to: &bytes)
        }
        return bytes
    }

    private func settled(_ ids: String...) -> [UInt8] {
        var bytes: [UInt8] = []
        for id in ids { JournalRecord.append(settled: ledgerRow(id), to: &bytes) }
        return bytes
    }

    private func segments() -> [String] { FileSystem.names(in: journals).sorted() }

    private func replay(into store: LedgerStore) throws -> JournalReplay.Summary {
        var replay = JournalReplay(into: store)
        try replay.run(directory: journals)
        return replay.summary
    }

    /// Two segments, as a process leaves them that is killed: nobody holds them any more.
    private func leaveSegments() throws {
        do {
            var first = writer(0)
            _ = first.append(opened("a", "b"))
            _ = first.renew(with: opened("b", "c") + settled("a"))
            var second = writer(1)
            _ = second.append(opened("d"))
            _ = second.append(settled("d", "e"))
            #expect(segments().count == 3)
        }
    }

    @Test func `what a dead process has left becomes rows, once`() throws {
        let store = try makeStore()
        try store.append([ledgerRow("d")])
        try leaveSegments()
        let summary = try replay(into: store)
        #expect(summary == JournalReplay.Summary(segments: 3, settled: 2, interrupted: 2))
        let rows = [
            "a 200 -", "b 500 gateway_interrupted", "c 500 gateway_interrupted", "d 200 -",
            "e 200 -",
        ]
        #expect(try rowStates(in: state) == rows)
        #expect(segments().isEmpty)
        #expect(try replay(into: store) == JournalReplay.Summary())
    }

    @Test func `a replay that is broken off is made good by the next one`() throws {
        let store = try makeStore()
        try leaveSegments()
        let whole = try segments().map { name in
            (name, try Data(contentsOf: URL(fileURLWithPath: "\(journals)/\(name)")))
        }
        _ = try replay(into: store)
        let rows = try rowStates(in: state)
        // Whatever had been deleted by then, the rest changes nothing.
        for kept in 0..<(1 << whole.count) {
            for (index, (name, data)) in whole.enumerated() where kept & 1 << index != 0 {
                try data.write(to: URL(fileURLWithPath: "\(journals)/\(name)"))
            }
            _ = try replay(into: store)
            #expect(try rowStates(in: state) == rows)
        }
    }

    @Test func `a living process keeps its segments`() throws {
        let store = try makeStore()
        let queue = LedgerQueue()
        var living = writer(queue: queue)
        _ = living.append(opened("a"))
        #expect(try replay(into: store) == JournalReplay.Summary())
        #expect(segments().count == 1)
        // Given up, but its rows are still on their way: it is held by the queue.
        living.end()
        #expect(try replay(into: store).segments == 0)
        _ = queue.take()
        #expect(try replay(into: store).interrupted == 1)
    }

    @Test func `a torn end is told, and damage keeps the file for people to look at`() throws {
        let store = try makeStore()
        var first = opened("a") + settled("a")
        do {
            var writer = writer()
            _ = writer.append(first)
            first = settled("b")
            _ = writer.append(first)
        }
        let name = try #require(segments().first)
        let url = URL(fileURLWithPath: "\(journals)/\(name)")
        let data = try Data(contentsOf: url)
        try data.dropLast(7).write(to: url)
        #expect(
            try replay(into: store)
                == JournalReplay.Summary(segments: 1, settled: 1, interrupted: 0, torn: 1))
        #expect(segments().isEmpty)

        var damaged = data
        damaged[data.count - 5] ^= 1
        damaged.append(contentsOf: settled("c"))
        try damaged.write(to: url)
        let summary = try replay(into: store)
        #expect(summary.damaged == 1 && summary.settled == 1)
        #expect(summary.text?.contains("1 places are damaged") == true)
        #expect(segments() == [name + ".damaged"])
        #expect(try rowStates(in: state) == ["a 200 -", "c 200 -"])
    }

    @Test func `a file that cannot be opened is told, and stays`() throws {
        let store = try makeStore()
        try leaveSegments()
        let path = "\(journals)/loop\(JournalSegment.suffix)"
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: path)
        let summary = try replay(into: store)
        #expect(summary.unopened == 1 && summary.segments == 3)
        #expect(summary.text?.contains("1 files could not be opened") == true)
        #expect(segments() == ["loop" + JournalSegment.suffix])
    }

    @Test func `a segment goes when all its rows are in the ledger, and not before`() throws {
        let store = try makeStore()
        let metrics = Metrics(shards: 1, version: "test")
        let queue = LedgerQueue(waiting: metrics.ledgerWaiting, lost: metrics.ledgerLost)
        var writer = writer(queue: queue)
        let problems = Locked<[String]>([])
        var keeper = LedgerKeeper(metrics: metrics) { _, problem in
            problems.withLock { $0.append(problem) }
        }
        _ = writer.append(opened("a") + settled("a"))
        queue.add([ledgerRow("a")], areJournalled: true)
        _ = writer.renew(with: opened("b"))
        let database = try SQLiteDatabase(path: LedgerStore.path(in: state), isReadOnly: false)
        try database.run("ALTER TABLE requests RENAME TO hidden")
        keeper.collect(queue)
        keeper.write(into: store)
        #expect(segments().count == 2)
        #expect(metrics.ledgerWaiting.value == 1)
        try database.run("ALTER TABLE hidden RENAME TO requests")
        keeper.write(into: store)
        #expect(segments().count == 1)
        #expect(metrics.ledgerWaiting.value == 0)
        writer.end()
        keeper.collect(queue)
        keeper.sync(every: 0)
        keeper.write(into: store)
        #expect(segments().isEmpty)
        #expect(problems.withLock { $0 }.count == 1)
        #expect(metrics.journalFailures.value == 0)
    }

    @Test func `rows that do not fit in memory are read from the journal`() throws {
        let store = try makeStore()
        let metrics = Metrics(shards: 1, version: "test")
        let queue = LedgerQueue(waiting: metrics.ledgerWaiting, lost: metrics.ledgerLost)
        var writer = writer(queue: queue)
        var keeper = LedgerKeeper(metrics: metrics) { _, _ in }
        metrics.ledgerWaiting.set(Limits.ledgerWaitingRows)
        #expect(!metrics.canRecord)
        _ = writer.append(settled("a", "b"))
        queue.add([ledgerRow("a"), ledgerRow("b")], areJournalled: true)
        queue.add([ledgerRow("c")], areJournalled: false)
        metrics.ledgerWaiting.set(0)
        writer.end()
        keeper.collect(queue)
        keeper.write(into: store)
        #expect(try rowStates(in: state) == ["a 200 -", "b 200 -"])
        #expect(metrics.ledgerLost.value == 1)
        #expect(metrics.ledgerRows.value == 2)
        #expect(segments().isEmpty)
    }

    @Test func `a journal whose directory has gone says so once, and recovers`() throws {
        _ = try makeStore()
        let reports = Locked<[String]>([])
        var writer = JournalWriter(
            directory: journals, start: "s", shard: 0, queue: LedgerQueue()
        ) { problem in reports.withLock { $0.append(problem) } }
        try FileManager.default.removeItem(atPath: state)
        #expect(writer.append(opened("a")) == .failed(ENOENT))
        #expect(writer.renew(with: []) == .failed(ENOENT))
        #expect(reports.withLock { $0 }.count == 1)
        #expect(unsafe mkdir(state, 0o700) == 0)
        guard case .written = writer.renew(with: opened("a")) else {
            Issue.record("not written")
            return
        }
        #expect(segments().count == 1)
    }

    @Test func `a segment that is deleted under its writer takes no more records`() throws {
        _ = try makeStore()
        let queue = LedgerQueue()
        var writer = writer(queue: queue)
        guard case .written = writer.append(opened("a")) else {
            Issue.record("not written")
            return
        }
        let name = try #require(segments().first)
        try FileManager.default.removeItem(atPath: "\(journals)/\(name)")
        var keeper = LedgerKeeper(metrics: Metrics(shards: 1, version: "test")) { _, _ in }
        keeper.collect(queue)
        #expect(writer.append(opened("b")) == .failed(ENOENT))
        guard case .written = writer.renew(with: opened("a", "b")) else {
            Issue.record("not written")
            return
        }
        #expect(segments().count == 1)
    }

    @Test func `a state directory that cannot be used is told before anything is served`() throws {
        let metrics = Metrics(shards: 1, version: "test")
        let file = freshDirectory()
        try Data().write(to: URL(fileURLWithPath: file))
        for directory in [file, file + "/state"] {
            let thread = LedgerThread(
                workers: 0, metrics: metrics, settings: LedgerConfiguration()
            ) { _, _ in }
            #expect(throws: SQLiteFailure.self) { try thread.start(directory: directory) }
        }
    }
}
