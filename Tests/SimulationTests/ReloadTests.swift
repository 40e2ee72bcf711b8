import Primitives
import TestSupport
import Testing
import Wire

@testable import Gateway
@testable import Runtime
@testable import Simulator

/// Reloads while requests are under way: none fails, and nothing of former plans stays.
@Suite struct ReloadTests {
    /// A configuration whose one backend has a name of its own.
    private static func configuration(_ backend: String, more: String = "") -> String {
        """
        backends:
          \(backend): {kind: vllm, url: "http://backend/v1"}
        routes:
          - {model: "llama", targets: [{backend: \(backend)}]}
        tenants:
          - {name: t, keys: [{value: sk-test}], models: ["*"]}
        \(more)
        """
    }

    @Test(arguments: [BackendHTTP.http1, .http2])
    func `pools of removed backends go, idle ones and unused ones`(_ http: BackendHTTP) throws {
        var simulation = try Simulation(
            seed: 1, backendHTTP: http, configuration: Self.configuration("b0"))
        let client = simulation.connect(.http11)
        for round in 1...20 {
            // In every other round the backend has had a connection.
            if round % 2 == 0 {
                client.ask(model: "llama", stream: round % 4 == 0)
                simulation.settle(turns: 30)
            }
            try simulation.reload(Self.configuration("b\(round)"))
            simulation.settle(turns: 5)
            let (pools, open) = (simulation.poolCount, simulation.metrics.upstreamConnections.value)
            #expect(pools == 1 && open == 0)
        }
        #expect(client.answers.map(\.status) == Array(repeating: 200, count: 10))
    }

    @Test(arguments: [HTTPVersion.http11, .http2], [BackendHTTP.http1, .http2])
    func `a request keeps the backend that it began with`(
        _ version: HTTPVersion, _ http: BackendHTTP
    ) throws {
        var simulation = try Simulation(
            seed: 2, backendHTTP: http, configuration: Self.configuration("old"))
        simulation.areBackendsSilent = true
        let client = simulation.connect(version)
        client.ask(model: "llama", stream: true)
        simulation.settle(turns: 20)
        try simulation.reload(Self.configuration("middle"))
        simulation.settle(turns: 5)
        try simulation.reload(Self.configuration("new"))
        simulation.settle(turns: 5)
        // What lies between goes with the oldest.
        let before = simulation.poolCount
        #expect(before == 3)
        let other = simulation.connect(version)
        other.ask(model: "llama", stream: false)
        simulation.settle(turns: 20)
        simulation.areBackendsSilent = false
        simulation.settle(turns: 50)
        #expect(client.answers.map(\.status) == [200])
        #expect(client.answers.first?.body.contains("[DONE]") == true)
        #expect(other.answers.map(\.status) == [200])
        #expect(simulation.rows().map(\.backend).sorted() == ["new", "old"])
        let after = simulation.poolCount
        #expect(after == 1)
    }

    @Test func `the longest head is what the new configuration says`() throws {
        var simulation = try Simulation(seed: 3, configuration: Self.configuration("b"))
        try simulation.reload(Self.configuration("b", more: "limits: {header_bytes: 100}"))
        simulation.settle(turns: 2)
        let client = simulation.connect(.http11)
        client.ask(model: "llama", stream: false)
        simulation.settle(turns: 10)
        #expect(client.answers.map(\.status) == [431])
    }
}
