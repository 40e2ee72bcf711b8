import Primitives
import TestSupport
import Testing
import Translation

@testable import Gateway
@testable import Runtime
@testable import Simulator

/// What is billed for answers that nobody could read.
@Suite struct UnseenWorkTests {
    private static let configuration = """
        backends:
          vllm: {kind: vllm, url: "http://backend/v1", timeouts: {first_byte: 5s}}
        routes:
          - {model: m, targets: [{backend: vllm}]}
        """

    private func request(_ member: String = #""max_tokens":100000"#) -> [UInt8] {
        let body = #"{"model":"m",\#(member),"messages":[{"role":"user","content":"Hi"}]}"#
        return Array(
            ("POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)").utf8)
    }

    /// A backend that has read a request, and the client that sent it.
    private func asked(
        _ simulation: inout Simulation, _ request: [UInt8]
    ) throws -> (client: Int32, backend: Int32) {
        simulation.areBackendsSilent = true
        let client = simulation.world.connectClient()
        simulation.world.send(request, on: client)
        simulation.settle(turns: 20)
        let backend = try #require(simulation.backends.keys.first)
        #expect(!simulation.world.receive(on: backend).isEmpty)
        return (client, backend)
    }

    @Test func `a whole answer that nobody saw costs what answers usually do`() throws {
        var simulation = try Simulation(seed: 1, configuration: Self.configuration)
        let (client, _) = try asked(&simulation, request())
        simulation.world.reset(client)
        simulation.settle(turns: 20)
        let row = try #require(simulation.rows().first)
        #expect(row.status == 499)
        #expect(row.usageSource == .estimated)
        #expect(row.usage.input > 0)
        // Not all that `max_tokens` allows.
        #expect(row.usage.output == 256)
    }

    @Test func `nor does it cost more than was set aside for it`() throws {
        var simulation = try Simulation(seed: 1, configuration: Self.configuration)
        let (client, _) = try asked(&simulation, request(#""max_tokens":7"#))
        simulation.world.reset(client)
        simulation.settle(turns: 20)
        #expect(simulation.rows().first?.usage.output == 7)
    }

    @Test func `an answer that is no JSON costs what there is of it`() throws {
        var simulation = try Simulation(seed: 1, configuration: Self.configuration)
        let (client, backend) = try asked(&simulation, request())
        let page = "<html>" + String(repeating: "x", count: 394)
        simulation.world.send(
            Array("HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n\(page)".utf8), on: backend)
        simulation.settle(turns: 20)
        #expect(ClientView(simulation.world.receive(on: client)).answers.map(\.status) == [502])
        let row = try #require(simulation.rows().first)
        #expect(row.errorCode == "upstream_malformed")
        #expect(row.usageSource == .estimated)
        #expect(row.usage.output == 400 / Limits.bytesPerTokenGuess)
    }

    @Test(arguments: [true, false])
    func `text after the last count is estimated when a stream breaks off`(
        _ isCounted: Bool
    ) throws {
        var simulation = try Simulation(seed: 1, configuration: Self.configuration)
        let (client, backend) = try asked(&simulation, request(#""stream":true"#))
        let counts = #""usage":{"prompt_tokens":50,"completion_tokens":2}"#
        let text = String(repeating: "x", count: 400)
        let first = #"data: {"choices":[{"delta":{"role":"assistant"}}],\#(counts)}"#
        let word =
            #"data: {"choices":[{"delta":{"content":"\#(text)"}}]\#(isCounted ? ",\(counts)" : "")}"#
        let events = "\(first)\n\n\(word)\n\n"
        let length = String(events.utf8.count, radix: 16)
        simulation.world.send(
            Array(
                ("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                    + "Transfer-Encoding: chunked\r\n\r\n\(length)\r\n\(events)\r\n").utf8),
            on: backend)
        simulation.settle(turns: 20)
        simulation.world.reset(client)
        simulation.settle(turns: 20)
        let row = try #require(simulation.rows().first)
        #expect(row.status == 499)
        #expect(row.usage.input == 50)
        #expect(row.usageSource == (isCounted ? .upstream : .estimated))
        // A token for every four bytes; of the delta's syntax some is counted as well.
        #expect(isCounted ? row.usage.output == 2 : (102...106).contains(row.usage.output))
    }

    @Test func `a backend that never answers costs nothing`() throws {
        var simulation = try Simulation(seed: 1, configuration: Self.configuration)
        let (client, _) = try asked(&simulation, request())
        simulation.letTimePass(steps: 2)
        #expect(ClientView(simulation.world.receive(on: client)).answers.map(\.status) == [504])
        let row = try #require(simulation.rows().first)
        #expect(row.usageSource == .none)
        #expect(row.usage == TokenUsage())
    }

    @Test func `a client that leaves before any backend was asked pays nothing`() throws {
        let narrow = Self.configuration.replacing(
            "timeouts: {first_byte: 5s}", with: "connections: {max: 1}")
        var simulation = try Simulation(seed: 1, configuration: narrow)
        _ = try asked(&simulation, request())
        let second = simulation.world.connectClient()
        simulation.world.send(request(), on: second)
        simulation.settle(turns: 20)
        simulation.world.reset(second)
        simulation.settle(turns: 20)
        let row = try #require(simulation.rows().first)
        #expect(row.status == 499)
        #expect(row.usageSource == .none)
        #expect(row.usage == TokenUsage())
    }
}
