import Primitives
import TestSupport
import Testing
import Wire

@testable import Gateway
@testable import Runtime
@testable import Simulator

/// Large bodies are read straight to where they are kept: nothing is lost, doubled or mixed up,
/// however the bytes come.
@Suite struct LargeBodyTests {
    private static let size = 400_000

    /// A text in which no two places look alike.
    private static func text(_ size: Int = size) -> String {
        var text = ""
        var line = 0
        while text.utf8.count < size {
            text += "\(line * 7919) "
            line += 1
        }
        return text
    }

    @Test(arguments: 1...20) func `a body arrives as it was sent`(seed: UInt64) throws {
        var simulation = try Simulation(seed: seed)
        simulation.world.faults.shortTransfers = [nil, 100_000, 20_000][Int(seed % 3)]
        simulation.world.faults.stallRate = 0.2
        var random = SeededGenerator(seed: seed)
        let text = Self.text()
        let large = chatRequest(model: "llama", stream: false, text: text)
        // The next request lies right behind.
        let bytes = large + chatRequest(model: "llama", stream: false, text: "small") + large
        let client = simulation.world.connectClient()
        var position = 0
        while position < bytes.count {
            let end = min(bytes.count, position + Int.random(in: 1...200_000, using: &random))
            simulation.world.send(Array(bytes[position..<end]), on: client)
            simulation.settle(turns: Int.random(in: 0...3, using: &random))
            position = end
        }
        simulation.settle(turns: 600)
        let bodies = simulation.backendRequests.map(\.body)
        let expected = [text, "small", text].map {
            chatBody(model: "llama", stream: false, text: $0)
        }
        #expect(bodies == expected)
        let view = ClientView(simulation.world.receive(on: client))
        #expect(view.answers.map(\.status) == [200, 200, 200])
        #expect(simulation.metrics.bufferedBytes.value == 0)
    }

    @Test(arguments: [false, true])
    func `a client that leaves in the middle leaves nothing behind`(breaks: Bool) throws {
        var simulation = try Simulation(seed: 1)
        let bytes = chatRequest(model: "llama", stream: false, text: Self.text())
        let client = simulation.world.connectClient()
        simulation.world.send(Array(bytes.prefix(300_000)), on: client)
        simulation.settle(turns: 20)
        #expect(simulation.metrics.bufferedBytes.value > 250_000)
        breaks ? simulation.world.reset(client) : simulation.world.end(client)
        simulation.settle(turns: 20)
        let clients = simulation.clientCount
        #expect(clients == 0)
        let isQuiet = simulation.isQuiet
        #expect(isQuiet)
        #expect(simulation.metrics.bufferedBytes.value == 0)
    }

    @Test func `without room for it a body is refused in the middle`() throws {
        var simulation = try Simulation(seed: 1, more: "limits: {buffered_bytes: 300KiB}")
        let bytes = chatRequest(model: "llama", stream: false, text: Self.text())
        let client = simulation.world.connectClient()
        simulation.world.send(bytes, on: client)
        simulation.settle(turns: 40)
        let answer = String(decoding: simulation.world.receive(on: client), as: UTF8.self)
        #expect(answer.hasPrefix("HTTP/1.1 503 "))
        #expect(answer.contains("limits.buffered_bytes"))
        #expect(simulation.metrics.bufferedBytes.value == 0)
        simulation.letTimePass(steps: 3)
        #expect(simulation.world.isClosed(client))
    }

    @Test func `a large body that stops has a minute for its next piece`() throws {
        var simulation = try Simulation(seed: 1)
        let bytes = chatRequest(model: "llama", stream: false, text: Self.text())
        let client = simulation.world.connectClient()
        for second in 0..<100 {
            let start = second * 3_000
            simulation.world.send(Array(bytes[start..<start + 3_000]), on: client)
            simulation.wait(milliseconds: 1_000)
        }
        #expect(!simulation.world.isClosed(client))
        simulation.wait(milliseconds: 61_000)
        let answer = String(decoding: simulation.world.receive(on: client), as: UTF8.self)
        #expect(answer.hasPrefix("HTTP/1.1 408 "))
    }
}
