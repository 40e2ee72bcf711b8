import Primitives
import TestSupport
import Testing

@testable import Gateway
@testable import Runtime
@testable import Simulator

/// What a journal says: rows of settled requests, and of those that nobody has settled.
private struct Journalled {
    var settled: [LedgerRow] = []
    var interrupted: [LedgerRow] = []

    init(_ segments: [[UInt8]]) {
        var opened: [LedgerRow] = []
        for segment in segments {
            var reader = JournalReader()
            while let event = reader.next(segment.span) {
                switch event {
                case .record(.opened(let row)): opened.append(row)
                case .record(.settled(let row)): settled.append(row)
                case .damage, .torn: Issue.record("a segment is damaged")
                }
            }
        }
        let known = Set(settled.map(\.id))
        for row in opened where !known.contains(row.id) {
            if !interrupted.contains(where: { $0.id == row.id }) { interrupted.append(row) }
        }
    }
}

extension Simulation {
    fileprivate var journalled: Journalled {
        Journalled(world.retiredJournals + [world.journal ?? []])
    }
}

@Suite struct JournalSimulationTests {
    private static let sick = 28 as Int32

    @Test(arguments: MainJobTests.cases)
    func `killed at any step, every answer that was seen is recorded, and so is what was asked`(
        _ job: MainJobTests.Case
    ) throws {
        var whole = try Simulation(seed: 3)
        whole.world.faults.shortTransfers = 200
        let first = whole.world.connectClient()
        whole.world.send(chatRequest(model: job.model, stream: job.stream), on: first)
        whole.settle(turns: 60)
        let expected = try #require(whole.rows().first)
        var step = 1
        var answered = 0
        while step <= whole.world.operations + 1 {
            var simulation = try Simulation(seed: 3)
            simulation.world.faults.shortTransfers = 200
            simulation.world.faults.killAtOperation = step
            let client = simulation.world.connectClient()
            simulation.world.send(chatRequest(model: job.model, stream: job.stream), on: client)
            simulation.settle(turns: 60)
            let seen = simulation.world.receive(on: client)
            let answers = ClientView(seen).answers
            let journalled = simulation.journalled
            if String(decoding: seen, as: UTF8.self).contains("[DONE]") {
                #expect(journalled.settled.count == 1, "step \(step)")
            }
            let rows = journalled.settled + journalled.interrupted
            #expect(rows.count <= 1, "step \(step)")
            if !answers.isEmpty {
                answered += 1
                #expect(journalled.settled.map(\.usage) == [expected.usage], "step \(step)")
                #expect(journalled.settled.map(\.costNanodollars) == [expected.costNanodollars])
            }
            if !simulation.backendRequests.isEmpty { #expect(rows.count == 1, "step \(step)") }
            for row in journalled.interrupted {
                #expect(row.errorCode == "gateway_interrupted" && row.usageSource == .estimated)
                #expect(row.usage.input > 0 && row.backend == expected.backend)
                #expect(row.upstreamModel == expected.upstreamModel)
            }
            step += 1
        }
        #expect(step > 10 && answered > 0)
    }

    /// Four requests side by side; how many answers came to their end, and how many steps it took.
    private func sideBySide(killedAt step: Int?) throws -> (answers: Int, steps: Int) {
        var simulation = try Simulation(seed: 3)
        simulation.world.faults.killAtOperation = step
        let client = HTTP2Client(simulation.world)
        for job in MainJobTests.cases { client.ask(model: job.model, stream: job.stream) }
        for _ in 0..<40 {
            client.exchange()
            simulation.turn()
            simulation.serveBackends()
        }
        let journalled = simulation.journalled
        for answer in client.answers {
            let rows = journalled.settled.filter { $0.requestID == answer.requestID }
            #expect(rows.map(\.status) == [answer.status], "step \(step ?? 0)")
        }
        let rows = journalled.settled.count + journalled.interrupted.count
        #expect(simulation.backendRequests.count <= rows, "step \(step ?? 0)")
        return (client.answers.count, simulation.world.operations)
    }

    @Test func `killed at any step, HTTP/2 has shown no end that is not recorded`() throws {
        let whole = try sideBySide(killedAt: nil)
        #expect(whole.answers == MainJobTests.cases.count)
        var counts: Set<Int> = []
        for step in 1...(whole.steps + 1) { counts.insert(try sideBySide(killedAt: step).answers) }
        #expect(counts.contains(0) && counts.contains(whole.answers))
    }

    @Test func `no answer is ahead of its record, whatever happens beside it`() throws {
        for seed in UInt64(1)...30 {
            var options = SimulatorOptions()
            options.failureRate = 0.3
            options.seed = seed
            var simulation = try Simulation(seed: seed, options: options)
            simulation.world.faults.shortTransfers = seed % 2 == 0 ? 500 : nil
            simulation.world.faults.killAtOperation = Int(seed) * 7
            var clients: [Int32] = []
            for index in 0..<6 {
                let job = MainJobTests.cases[index % MainJobTests.cases.count]
                let client = simulation.world.connectClient()
                clients.append(client)
                let request = chatRequest(model: job.model, stream: job.stream)
                simulation.world.send(request + (index == 3 ? request : []), on: client)
            }
            simulation.settle(turns: 400)
            let seen = clients.flatMap { ClientView(simulation.world.receive(on: $0)).answers }
            let journalled = simulation.journalled
            #expect(seen.count <= journalled.settled.count, "SEED=\(seed)")
            let ids = journalled.settled.map(\.id)
            #expect(Set(ids).count == ids.count, "SEED=\(seed)")
            let rows = journalled.settled.count + journalled.interrupted.count
            #expect(simulation.backendRequests.count <= rows, "SEED=\(seed)")
        }
    }

    @Test func `with a full disk nothing is sent unrecorded, until there is room again`() throws {
        var simulation = try Simulation(seed: 4)
        simulation.world.faults.journalFailure = Self.sick
        let client = simulation.world.connectClient()
        for _ in 0..<2 {
            simulation.world.send(chatRequest(model: "llama", stream: true), on: client)
            simulation.settle(turns: 10)
        }
        let refused = String(decoding: simulation.world.receive(on: client), as: UTF8.self)
        #expect(refused.contains("retry-after: 1"))
        let answers = ClientView(Array(refused.utf8)).answers
        #expect(answers.map(\.status) == [503, 503])
        #expect(answers.allSatisfy { $0.body.contains("ledger_unavailable") })
        #expect(simulation.backendRequests.isEmpty)
        // The first one was admitted before anybody knew; it cost nothing.
        let rows = simulation.rows()
        #expect(rows.map(\.status) == [503])
        #expect(rows.first?.usageSource == LedgerRow.UsageSource.none)
        #expect(!simulation.metrics.canRecord)

        simulation.world.faults.journalFailure = nil
        simulation.letTimePass(steps: 1)
        #expect(simulation.metrics.canRecord)
        simulation.world.send(chatRequest(model: "llama", stream: true), on: client)
        simulation.settle(turns: 30)
        let served = ClientView(simulation.world.receive(on: client)).answers
        #expect(served.map(\.status) == [200])
        #expect(simulation.journalled.settled.map(\.status) == [503, 200])
        let isQuiet = simulation.isQuiet
        #expect(isQuiet)
    }

    @Test func `a disk that fills up costs no request that is under way`() throws {
        var simulation = try Simulation(seed: 5)
        simulation.areBackendsSilent = true
        let client = simulation.world.connectClient()
        simulation.world.send(chatRequest(model: "patient", stream: false), on: client)
        simulation.settle(turns: 10)
        simulation.world.faults.journalFailure = Self.sick
        let other = simulation.world.connectClient()
        simulation.world.send(chatRequest(model: "patient", stream: false), on: other)
        simulation.settle(turns: 10)
        #expect(ClientView(simulation.world.receive(on: other)).answers.map(\.status) == [503])
        simulation.areBackendsSilent = false
        simulation.settle(turns: 10)
        #expect(ClientView(simulation.world.receive(on: client)).answers.map(\.status) == [200])
        #expect(Set(simulation.rows().map(\.status)) == [200, 503])
        simulation.world.faults.journalFailure = nil
        simulation.letTimePass(steps: 1)
        #expect(Set(simulation.journalled.settled.map(\.status)) == [200, 503])
    }

    @Test func `an operator may go on unrecorded`() throws {
        var simulation = try Simulation(seed: 6, more: "ledger: {on_full: continue}")
        simulation.world.faults.journalFailure = Self.sick
        let client = simulation.world.connectClient()
        for _ in 0..<3 {
            simulation.world.send(chatRequest(model: "llama", stream: false), on: client)
            simulation.settle(turns: 20)
        }
        let answers = ClientView(simulation.world.receive(on: client)).answers
        #expect(answers.map(\.status) == [200, 200, 200])
        #expect(simulation.rows().count == 3)
        #expect(simulation.metrics.journalFailures.value > 0)
    }

    @Test func `a new segment takes over what is under way, and only that`() throws {
        var simulation = try Simulation(seed: 7)
        simulation.areBackendsSilent = true
        let waiting = simulation.world.connectClient()
        simulation.world.send(chatRequest(model: "patient", stream: false), on: waiting)
        simulation.settle(turns: 10)
        simulation.areBackendsSilent = false
        let done = simulation.world.connectClient()
        simulation.world.send(chatRequest(model: "llama", stream: false), on: done)
        simulation.areBackendsSilent = true
        simulation.settle(turns: 10)
        simulation.world.reset(done)
        simulation.settle(turns: 10)
        #expect(simulation.journalled.settled.count == 1)
        simulation.world.now = simulation.world.now.advanced(
            byMilliseconds: Limits.journalSegmentMilliseconds)
        simulation.settle(turns: 2)
        #expect(simulation.world.retiredJournals.count == 1)
        let kept = Journalled([simulation.world.journal ?? []])
        #expect(kept.settled.isEmpty && kept.interrupted.count == 1)
        simulation.areBackendsSilent = false
        simulation.settle(turns: 20)
        let last = Journalled([simulation.world.journal ?? []])
        #expect(last.settled.map(\.id) == kept.interrupted.map(\.id))
        simulation.world.now = simulation.world.now.advanced(
            byMilliseconds: Limits.journalSegmentMilliseconds)
        simulation.settle(turns: 2)
        // Nothing is under way: there is no segment at all.
        #expect(simulation.world.journal == nil)
        #expect(simulation.world.retiredJournals.count == 2)
    }

    /// What a client gets when something happens in the very turn in which its answer is there.
    private func heldAnswer(
        _ seed: UInt64, model: String, stream: Bool, meanwhile: (inout Simulation, Int32) -> Void
    ) throws -> String {
        var simulation = try Simulation(seed: seed)
        let first = simulation.world.connectClient()
        simulation.world.send(chatRequest(model: model, stream: false), on: first)
        simulation.settle(turns: 20)
        let client = simulation.world.connectClient()
        simulation.world.send(chatRequest(model: model, stream: stream), on: client)
        simulation.areBackendsSilent = true
        simulation.settle(turns: 5)
        simulation.areBackendsSilent = false
        simulation.serveBackends()
        meanwhile(&simulation, client)
        simulation.turn()
        #expect(simulation.world.takeNewBackends().isEmpty)
        let text = String(decoding: simulation.world.receive(on: client), as: UTF8.self)
        simulation.settle(turns: 20)
        let isQuiet = simulation.isQuiet
        #expect(isQuiet)
        return text
            + String(decoding: simulation.world.receive(on: client), as: UTF8.self)
            + (simulation.world.isClosed(client) ? "closed" : "open")
    }

    @Test(arguments: [false, true])
    func `a client that ends its side just then gets its answer, and is closed`(
        _ stream: Bool
    ) throws {
        let text = try heldAnswer(8, model: "llama", stream: stream) { simulation, client in
            simulation.world.end(client)
        }
        #expect(text.contains("HTTP/1.1 200"))
        #expect(text.hasSuffix("closed"))
        #expect(!stream || text.contains("[DONE]"))
    }

    @Test func `a drain that begins just then lets the answer out`() throws {
        let text = try heldAnswer(9, model: "llama", stream: false) { simulation, _ in
            let now = simulation.world.now
            simulation.world.mail.append(
                .drain(
                    DrainSchedule(
                        steerAt: now, closeAt: now, deadline: now.advanced(byMilliseconds: 30_000)))
            )
        }
        #expect(text.hasPrefix("HTTP/1.1 200"))
        #expect(text.hasSuffix("closed"))
    }

    @Test func `what a client asks next does not overtake its answer`() throws {
        let text = try heldAnswer(10, model: "llama", stream: false) { simulation, client in
            let next = "GET /v1/models HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer sk-test\r\n\r\n"
            let wrong = "POST /v1/nothing HTTP/1.1\r\nHost: g\r\nContent-Length: 9999999\r\n\r\n"
            simulation.world.send(Array((next + wrong).utf8), on: client)
        }
        let statuses = text.split(separator: "HTTP/1.1 ").map { $0.prefix(3) }
        #expect(statuses == ["200", "200", "404"])
        #expect(text.contains("connection: close"))
        // The rest of the last request is still read and thrown away.
        #expect(text.hasSuffix("open"))
    }
    @Test func `an answer that had to wait for room is not overtaken by a reset either`() throws {
        var simulation = try Simulation(seed: 11)
        let client = simulation.world.connectClient()
        simulation.world.setWindow(10, on: client)
        let wrong = "POST /v1/nothing HTTP/1.1\r\nHost: g\r\nContent-Length: 9999999\r\n\r\n"
        simulation.world.send(Array(wrong.utf8), on: client)
        simulation.settle(turns: 5)
        simulation.world.setWindow(.max, on: client)
        simulation.settle(turns: 5)
        let text = String(decoding: simulation.world.receive(on: client), as: UTF8.self)
        #expect(text.hasPrefix("HTTP/1.1 404"))
        #expect(!simulation.world.isClosed(client))
        simulation.world.now = simulation.world.now.advanced(
            byMilliseconds: Limits.lingerMilliseconds + 10)
        simulation.settle(turns: 2)
        #expect(simulation.world.isClosed(client))
    }
}
