import Primitives
import Testing
import Translation

@testable import Gateway

@Suite struct JournalTests {
    /// A row with something in every member.
    static func row(_ id: String) -> LedgerRow {
        var row = LedgerRow()
        row.id = id
        row.requestID = "req_\(id)"
        row.startedAtMilliseconds = 1_767_323_045_000
        row.tenant = "t"
        row.keyID = "0123456789ab"
        row.user = "Jürgen\n\u{0}"
        row.endpoint = "chat.completions"
        row.route = "llama-*"
        row.backend = "vllm"
        row.model = "llama-3"
        row.upstreamModel = "meta/llama-3"
        row.isStreamed = true
        row.status = 200
        row.errorCode = "client_closed"
        row.finishReason = "stop"
        row.attempts = 2
        row.usage = TokenUsage(input: 10, output: 2)
        row.usage.cacheRead = 3
        row.usage.cacheWrite = 4
        row.usage.reasoning = 1
        row.usageSource = .upstream
        row.costNanodollars = -5
        row.priceID = "p"
        row.timeToFirstTokenMilliseconds = 7
        row.durationMilliseconds = 8
        row.overheadMicroseconds = 9
        row.requestBytes = 100
        row.responseBytes = Int.max
        return row
    }

    static let bare: LedgerRow = {
        var row = LedgerRow()
        row.id = "bare"
        return row
    }()

    private static let records: [JournalRecord] = [
        .opened(row("a")), .opened(bare), .settled(row("a")), .settled(bare), .opened(row("c")),
    ]

    private static func bytes(_ records: [JournalRecord]) -> [UInt8] {
        var bytes: [UInt8] = []
        for record in records {
            switch record {
            case .opened(let row): JournalRecord.append(opened: row, to: &bytes)
            case .settled(let row): JournalRecord.append(settled: row, to: &bytes)
            }
        }
        return bytes
    }

    private static func events(_ bytes: [UInt8]) -> [JournalReader.Event] {
        var reader = JournalReader()
        var events: [JournalReader.Event] = []
        while let event = reader.next(bytes.span) { events.append(event) }
        return events
    }

    private static func records(_ events: [JournalReader.Event]) -> [JournalRecord] {
        events.compactMap { if case .record(let record) = $0 { record } else { nil } }
    }

    @Test func `what was written is read`() {
        var bytes: [UInt8] = []
        JournalRecord.appendPadding(to: &bytes)
        bytes += Self.bytes(Self.records)
        #expect(Self.events(bytes) == Self.records.map { .record($0) })
    }

    @Test func `a segment that is cut anywhere gives its whole records and tells of the rest`() {
        var ends = [0]
        for count in Self.records.indices {
            ends.append(Self.bytes(Array(Self.records[...count])).count)
        }
        let whole = Self.bytes(Self.records)
        for count in 0...whole.count {
            let events = Self.events(Array(whole[..<count]))
            let complete = ends.lastIndex { $0 <= count } ?? 0
            #expect(Self.records(events) == Array(Self.records[..<complete]), "cut at \(count)")
            let rest = count - ends[complete]
            #expect((events.last == .torn(bytes: rest)) == (rest > 0), "cut at \(count)")
        }
    }

    @Test func `a changed byte costs one record and is told`() {
        let whole = Self.bytes(Self.records)
        for index in whole.indices {
            for change in [UInt8(0xff), 0x01, 0x80] {
                var damaged = whole
                damaged[index] ^= change
                let events = Self.events(damaged)
                let found = Self.records(events)
                #expect(found.count == Self.records.count - 1, "byte \(index)")
                #expect(found.allSatisfy { Self.records.contains($0) }, "byte \(index)")
                #expect(events.count == Self.records.count, "byte \(index)")
            }
        }
    }

    @Test func `random bytes make no record and no trap`() {
        var random = SeededGenerator(seed: 7)
        for _ in 0..<300 {
            let pieces = (0..<20).flatMap { _ -> [UInt8] in
                Bool.random(using: &random)
                    ? JournalRecord.magic + [UInt8(ascii: "s"), 1, 0, 0, 0, 9]
                    : (0..<9).map { _ in UInt8.random(in: 0...255, using: &random) }
            }
            #expect(Self.records(Self.events(pieces)).isEmpty)
        }
    }

    @Test func `heads of records within one another are given up, not checked for minutes`() {
        let head = JournalRecord.magic + [UInt8(ascii: "s"), JournalRecord.version, 0, 0, 0xf0, 0]
        let heads = Array(repeatElement(head, count: 30_000).joined())
        let events = Self.events(Self.bytes([Self.records[0]]) + heads)
        #expect(Self.records(events) == [Self.records[0]])
        #expect(events.last == .damage(bytes: heads.count))
    }

    @Test func `a payload that checks but makes no row is damage`() {
        let row = Self.row("a")
        var payload = [UInt8](atMost: JournalPayload.capacity(row)) { output in
            JournalPayload.append(row, to: &output)
        }
        #expect(JournalPayload.row(payload.span) == Self.row("a"))
        for count in 0..<payload.count {
            #expect(JournalPayload.row(payload.span.extracting(0..<count)) == nil)
        }
        payload.append(0)
        #expect(JournalPayload.row(payload.span) == nil)
    }

    @Test func `a settled row gives its members in any order`() {
        var rows = SettledRows()
        for row in [Self.row("a"), Self.bare, Self.row("c")] { rows.append(row) }
        var reader = SettledRowReader()
        var ids: [String] = []
        while !reader.isAtEnd(rows.bytes.span) {
            let members = (0..<SettledRowReader.members).map { reader.value($0, rows.bytes.span) }
            for member in members.indices.reversed() {
                #expect(reader.value(member, rows.bytes.span) == members[member])
            }
            if case .text(let id) = members[0] {
                ids.append(String(decoding: rows.bytes[id], as: UTF8.self))
            }
            reader.advance(rows.bytes.span)
        }
        #expect(ids == ["a", "bare", "c"])
    }

    @Test func `long texts are cut at a character`() {
        var row = Self.row("a")
        row.user = "x" + String(repeating: "ü", count: 4000)
        row.clipTexts()
        #expect(row.user?.utf8.count == Limits.ledgerTextBytes - 1)
        #expect(row.user?.last == "ü")
        #expect(Self.events(Self.bytes([.opened(row)])) == [.record(.opened(row))])
    }
}
