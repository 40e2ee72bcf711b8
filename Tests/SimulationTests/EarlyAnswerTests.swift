import Testing
import Wire

@testable import Gateway
@testable import Runtime

/// Backends that answer before they have taken the whole request.
@Suite struct EarlyAnswerTests {
    private static let refusal = Array(
        ("HTTP/1.1 413 Content Too Large\r\ncontent-type: application/json\r\n"
            + "content-length: 56\r\nconnection: close\r\n\r\n"
            + #"{"error":{"message":"no more than 1 MB","code":"large"}}"#).utf8)

    @Test func `what a backend said before it hung up reaches the client`() throws {
        var simulation = try Simulation(seed: 1)
        simulation.areBackendsSilent = true
        let client = simulation.connect(.http11)
        client.ask(
            model: "llama", stream: false, text: String(repeating: "a", count: 500_000))
        for _ in 0..<100 where simulation.backends.isEmpty { simulation.settle(turns: 1) }
        let connection = try #require(simulation.backends.keys.first)
        simulation.world.setWindow(1_000, on: connection)
        simulation.settle(turns: 10)
        simulation.world.send(Self.refusal, on: connection)
        simulation.world.hangUp(connection)
        simulation.settle(turns: 10)
        #expect(client.answers.map(\.status) == [413])
        #expect(client.answers.first?.body.contains("no more than 1 MB") == true)
        #expect(simulation.world.isClosed(connection))
    }

    @Test func `what a backend said instead of waiting for a request reaches the client`() throws {
        var simulation = try Simulation(seed: 1)
        simulation.areBackendsSilent = true
        let client = simulation.connect(.http11)
        client.ask(model: "llama", stream: false)
        for _ in 0..<100 where simulation.backends.isEmpty { simulation.settle(turns: 1) }
        let connection = try #require(simulation.backends.keys.first)
        simulation.world.send(Self.refusal, on: connection)
        simulation.world.hangUp(connection)
        simulation.settle(turns: 10)
        #expect(client.answers.map(\.status) == [413])
        #expect(simulation.world.isClosed(connection))
    }
}
