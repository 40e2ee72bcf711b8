import Foundation
import Primitives
import Translation
import Wire

@testable import Gateway
@testable import Runtime

/// What must hold when a world has come to its end (design D2).
struct WorldCheck {
    private let clients: [WorldClient]
    private let records: [String: [BackendRecord]]
    private let rows: [LedgerRow]
    private let plan: Plan
    private let metrics: Metrics
    private let world: SimulatedWorld
    private let leftovers: [String]
    private let isKilled: Bool
    private let hadSickJournal: Bool

    init(_ world: World) {
        clients = world.clients
        records = world.records
        isKilled = world.world.isKilled
        hadSickJournal = world.hadSickJournal
        rows = isKilled ? Self.replayed(world.world) : world.rows
        plan = world.plan
        metrics = world.metrics
        self.world = world.world
        guard !isKilled else {
            leftovers = []
            return
        }
        leftovers = [
            ("flights", world.worker.flights.count), ("clients", world.worker.clients.count),
            ("requests in flight", world.metrics.requestsInFlight.value),
            ("client connections counted", world.metrics.clientConnections.value),
            ("sessions without a connection", Self.lostSessions(world.worker)),
            ("upstream connections miscounted", Self.miscounted(world.worker, world.metrics)),
            (
                "descriptors that nobody owns",
                world.world.openConnections - world.world.waitingClients
                    - world.worker.clients.count - world.worker.upstreams.count
            ),
        ].filter { $0.1 != 0 }.map { "\($0.1) \($0.0) at the end" }
    }

    /// What does not hold, in words.
    func problems() -> [String] {
        // What was killed while it could not write its journal has no record of that time.
        if isKilled, hadSickJournal { return secretProblems() }
        let problems = leftovers + rowProblems() + answerProblems() + secretProblems()
        return isKilled ? problems : problems + meterProblems()
    }

    /// The rows that a new process finds in what a killed one has journalled.
    private static func replayed(_ world: SimulatedWorld) -> [LedgerRow] {
        var settled: [LedgerRow] = []
        var opened: [LedgerRow] = []
        for segment in world.retiredJournals + [world.journal ?? []] {
            var reader = JournalReader()
            while let event = reader.next(segment.span) {
                switch event {
                case .record(.opened(let row)): opened.append(row)
                case .record(.settled(let row)): settled.append(row)
                case .damage, .torn: break
                }
            }
        }
        var known = Set(settled.map(\.id))
        for row in opened where known.insert(row.id).inserted { settled.append(row) }
        return settled
    }

    private static func lostSessions(_ worker: borrowing Worker<SimulatedKernel>) -> Int {
        var owned = 0
        for handle in worker.upstreams.handles {
            if case .multiplexed = worker.upstreams[handle].state { owned += 1 }
        }
        return worker.sessions.count - owned
    }

    private static func miscounted(
        _ worker: borrowing Worker<SimulatedKernel>, _ metrics: Metrics
    ) -> Int {
        var open = 0
        var beingMade = 0
        for pool in worker.pools.handles {
            open += worker.pools[pool].open
            beingMade += worker.pools[pool].beingMade
        }
        let counted = metrics.upstreamConnections.value
        return abs(open - worker.upstreams.count) + abs(counted - open) + beingMade
    }

    // MARK: - One row for each admitted request

    private func rowProblems() -> [String] {
        var problems: [String] = []
        let byMark = Dictionary(grouping: rows, by: \.requestID)
        if Set(rows.map(\.id)).count != rows.count { problems.append("two rows have one id") }
        for (mark, rows) in byMark where rows.count > 1 {
            problems.append("\(mark) has \(rows.count) rows")
        }
        for (mark, records) in records {
            guard let row = byMark[mark]?.first else {
                problems.append("\(mark) reached a backend and has no row")
                continue
            }
            problems += timeProblems(mark, row, records) + usageProblems(mark, row, records)
        }
        return problems + costProblems()
    }

    /// After its first backend was asked a request takes its total timeout at most, and the longest
    /// step of the clock.
    private func timeProblems(
        _ mark: String, _ row: LedgerRow, _ records: [BackendRecord]
    ) -> [String] {
        let end = row.startedAtMilliseconds + Int64(row.durationMilliseconds)
        let taken = end - (records.first?.askedAt.milliseconds ?? end)
        return taken <= 100_000 + 21_000 ? [] : ["\(mark) took \(taken) ms"]
    }

    /// What a row says of tokens is what a backend said.
    private func usageProblems(
        _ mark: String, _ row: LedgerRow, _ records: [BackendRecord]
    ) -> [String] {
        if row.usageSource == .none, row.usage != TokenUsage() {
            return ["\(mark) has tokens from nowhere"]
        }
        guard row.usageSource == .upstream else { return [] }
        let isTold = records.compactMap(\.reply.usage).contains {
            $0.input == row.usage.input && $0.output == row.usage.output
        }
        return isTold ? [] : ["\(mark): \(row.usage) was told by no backend"]
    }

    /// What a row costs is its tokens at the price of the model that answered.
    private func costProblems() -> [String] {
        rows.compactMap { row in
            guard let price = prices[row.upstreamModel] else { return nil }
            let cost = row.costNanodollars
            let right = Int64(row.usage.input) * price.0 + Int64(row.usage.output) * price.1
            return cost == right
                ? nil : "\(row.requestID) cost \(cost.map(String.init) ?? "?"), not \(right)"
        }
    }

    /// Nano-dollars for a token in and out, as the world's configuration has them.
    private var prices: [String: (Int64, Int64)] {
        [
            "one": (1000, 2000), "two": (500, 1500), "narrow": (3000, 4000),
            "anthropic.claude-3-5-sonnet-20240620-v1:0": (3000, 15000),
        ]
    }

    // MARK: - One honest answer for each request

    private func answerProblems() -> [String] {
        var problems: [String] = []
        let byMark = Dictionary(grouping: rows, by: \.requestID)
        for client in clients {
            guard let answers = client.answers() else {
                problems.append("what a client got is not HTTP")
                continue
            }
            for ask in client.asked {
                let answer = answers[ask.mark]
                problems += self.problems(of: answer, to: ask, byMark[ask.mark]?.first)
                if answer?.isComplete != true, !client.hasLeft, !isKilled,
                    !world.isClosed(client.connection), client.habit != .cancelling
                {
                    problems.append("\(ask.mark) has no answer on an open connection")
                }
            }
        }
        return problems
    }

    private func problems(
        of answer: WorldClient.Answer?, to ask: WorldAsk, _ row: LedgerRow?
    ) -> [String] {
        guard let answer, answer.isComplete else { return [] }
        let body = String(decoding: answer.body, as: UTF8.self)
        let end = body.suffix(400)
        var problems: [String] = []
        if body.matches(of: /mark-\d+-\d+/).contains(where: { $0.output != ask.mark }) {
            problems.append("\(ask.mark) got another's bytes: \(end)")
        }
        // Each reply says its mark once; a backend's error event has it once more, as its id.
        if body.matches(of: /mark-/).count - body.matches(of: /request id: mark-/).count > 1 {
            problems.append("\(ask.mark) was answered twice: \(end)")
        }
        let isStream = ask.isStreamed && answer.status == 200
        let isHonest = records[ask.mark]?.contains { $0.reply.isHonest } == true
        if answer.status == 200, !isStream, !isHonest {
            problems.append("\(ask.mark) was told 200 by nobody: \(end)")
        }
        if isStream {
            if body.hasSuffix("data: [DONE]\n\n") == body.contains(#"{"error":"#) {
                problems.append("\(ask.mark) ended neither well nor badly: \(end)")
            }
            // A limit may end a stream, too: the client is told `length`, and so is the row.
            let isCut = row?.errorCode == "limit_cut" && body.contains(#""length""#)
            if body.contains("[DONE]"), !isHonest, !isCut {
                problems.append("\(ask.mark) was told [DONE] by nobody: \(end)")
            }
            if let row, body.contains("[DONE]") != (row.status == 200) {
                problems.append("\(ask.mark), whose row says \(row.status), was told: \(end)")
            }
        }
        guard let row else {
            // Wrong keys, limits, slow bodies and a sick journal: refused before a request is
            // admitted; and so is what has not come whole when the gateway ends.
            let isSick = answer.status == 503 && body.contains("ledger_unavailable")
            if ![401, 408, 429].contains(answer.status), !(isSick && hadSickJournal),
                !body.contains(#""draining""#)
            {
                problems.append("\(ask.mark) was answered \(answer.status) and has no row")
            }
            return problems
        }
        if !isStream, row.status != answer.status {
            problems.append("\(ask.mark): told \(answer.status), row says \(row.status)")
        }
        return problems
    }

    // MARK: - All figures agree

    private func meterProblems() -> [String] {
        var problems: [String] = []
        let page = MetricsPage(metrics.render(openMetrics: false))
        for tenant in ["red", "blue"] {
            let mine = rows.filter { $0.tenant == tenant }
            for kind in ["input", "output"] {
                let metered = page.sum(
                    "sluice_tokens_total{tenant=\"\(tenant)\"", "kind=\"\(kind)\"")
                let sum = mine.reduce(Foundation.Decimal(0)) {
                    $0 + Decimal(kind == "input" ? $1.usage.input : $1.usage.output)
                }
                if metered != sum {
                    problems.append("\(tenant) \(kind): \(metered) counted, \(sum) in rows")
                }
            }
            let cost = mine.reduce(Decimal(0)) { $0 + Decimal($1.costNanodollars ?? 0) }
            let metered = page.sum("sluice_cost_usd_total{tenant=\"\(tenant)\"")
            if metered * 1_000_000_000 != cost {
                problems.append("\(tenant): \(metered) dollars counted, \(cost) nano in rows")
            }
        }
        let answered = page.sum("sluice_requests_total{")
        if answered < Decimal(rows.count) {
            problems.append("\(rows.count) rows, \(answered) counted")
        }
        let tries = page.sum("sluice_attempts_total{")
        let told = rows.reduce(Decimal(0)) { $0 + Decimal($1.attempts) }
        if tries != told { problems.append("\(tries) attempts counted, \(told) in rows") }
        return problems + quotaProblems()
    }

    /// reserved = charged + refunded: nothing is set aside any more, and what red's calendar
    /// accounts hold is what its rows say.
    private func quotaProblems() -> [String] {
        let mine = rows.filter { $0.tenant == "red" }
        return plan.quota.readings(now: world.now, wall: world.wall).flatMap { reading in
            let name = "\(reading.tenant) \(reading.limit.name)"
            var problems: [String] = []
            if reading.reserved != 0 {
                problems.append("\(reading.reserved) of \(name) is set aside for nobody")
            }
            guard reading.tenant == "red" else { return problems }
            let right = mine.reduce(Int64(0)) { sum, row in
                switch reading.limit.measure {
                case .requests: sum + 1
                case .usd: sum + (row.costNanodollars ?? 0)
                default: sum + Int64(row.usage.input + row.usage.output)
                }
            }
            if reading.used != right {
                problems.append("\(name) is at \(reading.used), the rows say \(right)")
            }
            return problems
        }
    }

    // MARK: - Nothing crosses to the other side

    private func secretProblems() -> [String] {
        var problems: [String] = []
        let allowed = ["a": "backend-key-a", "b": "backend-key-b"]
        for record in records.values.joined() {
            var text = String(decoding: record.request.body, as: UTF8.self)
            let fields = record.request.head.fields
            for index in 0..<fields.count { text += fields.value(at: index).text + "\n" }
            for secret in World.secrets
            where text.contains(secret) && allowed[record.host] != secret {
                problems.append("\(secret) reached \(record.host)")
            }
        }
        let log = String(decoding: world.log, as: UTF8.self)
        for secret in World.secrets {
            if log.contains(secret) { problems.append("\(secret) is in the log") }
            for client in clients
            where String(decoding: client.seen, as: UTF8.self).contains(secret) {
                problems.append("\(secret) reached a client")
            }
        }
        return problems
    }
}

/// The samples of a page of `/metrics`.
private struct MetricsPage {
    private let samples: [Substring]

    init(_ page: [UInt8]) {
        let counters = Array("sluice_".utf8)
        samples = page.split(separator: UInt8(ascii: "\n"))
            .filter { $0.starts(with: counters) }
            .map { Substring(decoding: $0, as: UTF8.self) }
    }

    /// What the samples that begin with `prefix`, and contain `part`, come to.
    func sum(_ prefix: String, _ part: String = "") -> Foundation.Decimal {
        samples.filter { $0.hasPrefix(prefix) && (part.isEmpty || $0.contains(part)) }
            .reduce(Foundation.Decimal(0)) {
                $0 + (Foundation.Decimal(string: String($1.split(separator: " ").last ?? "")) ?? 0)
            }
    }
}
