import Primitives
import Testing
import Wire

@testable import Gateway
@testable import Runtime
@testable import Simulator

/// What only backends that speak HTTP/2 can do, and do to us.
@Suite struct BackendStreamTests {
    private func peers(_ simulation: borrowing Simulation) -> [HTTP2Peer] {
        simulation.backends.sorted { $0.key < $1.key }.compactMap { $0.value as? HTTP2Peer }
    }

    @Test(arguments: [HTTPVersion.http11, .http2])
    func `many requests share one connection`(_ version: HTTPVersion) throws {
        var simulation = try Simulation(seed: 1, backendHTTP: .http2)
        let clients = (0..<20).map { _ in simulation.connect(version) }
        for client in clients { client.ask(model: "llama", stream: true) }
        simulation.settle()
        for client in clients { #expect(client.answers.map(\.status) == [200]) }
        #expect(peers(simulation).count == 1)
        #expect(simulation.rows().count == 20)
    }

    @Test func `a connection that is full gets a sister`() throws {
        var simulation = try Simulation(seed: 2, backendHTTP: .http2)
        simulation.backendStreams = 5
        simulation.areBackendsSilent = true
        let client = simulation.connect(.http2)
        simulation.settle(turns: 10)
        for _ in 0..<12 { client.ask(model: "llama", stream: false) }
        simulation.settle(turns: 50)
        simulation.areBackendsSilent = false
        simulation.settle(turns: 300)
        #expect(client.answers.map(\.status) == Array(repeating: 200, count: 12))
        // The first one is used before its SETTINGS have said how many streams it takes.
        #expect(peers(simulation).count >= 1)
        // Now it is known.
        simulation.areBackendsSilent = true
        for _ in 0..<12 { client.ask(model: "llama", stream: false) }
        simulation.settle(turns: 50)
        #expect(peers(simulation).count == 3)
        simulation.areBackendsSilent = false
        simulation.settle(turns: 300)
        #expect(client.answers.count == 24)
        #expect(simulation.rows().allSatisfy { $0.status == 200 })
    }

    @Test func `one connection at most is one connection, and the others wait`() throws {
        var simulation = try Simulation(seed: 3, backendHTTP: .http2)
        simulation.backendStreams = 2
        let client = simulation.connect(.http2)
        client.ask(model: "narrow", stream: false)
        simulation.settle(turns: 50)
        for _ in 0..<10 { client.ask(model: "narrow", stream: true) }
        simulation.settle(turns: 500)
        #expect(client.answers.count == 11)
        #expect(peers(simulation).count == 1)
    }

    @Test func `a refused stream is sent again, a few times`() throws {
        for refusals in 1...3 {
            var simulation = try Simulation(seed: 4, backendHTTP: .http2)
            let client = simulation.connect(.http11)
            client.ask(model: "llama", stream: false)
            simulation.settle(turns: 50)
            peers(simulation)[0].refusals = refusals
            client.ask(model: "llama", stream: false)
            simulation.settle(turns: 100)
            let isServed = refusals <= Limits.resends
            #expect(client.answers.map(\.status) == [200, isServed ? 200 : 502])
            #expect(simulation.rows().map(\.attempts) == [1, 1])
        }
    }

    @Test func `after a goodbye another connection is made`() throws {
        var simulation = try Simulation(seed: 5, backendHTTP: .http2)
        let client = simulation.connect(.http2)
        client.ask(model: "llama", stream: false)
        simulation.settle(turns: 50)
        peers(simulation)[0].sayGoodbye()
        // The goodbye and the request cross: the request was not processed.
        client.ask(model: "llama", stream: false)
        simulation.settle(turns: 200)
        #expect(client.answers.map(\.status) == [200, 200])
        #expect(peers(simulation).count == 2)
        #expect(simulation.world.openConnections == 2)
    }

    @Test func `a client that leaves breaks off its stream only`() throws {
        var simulation = try Simulation(seed: 6, backendHTTP: .http2)
        let staying = simulation.connect(.http2)
        let leaving = simulation.connect(.http2)
        staying.ask(model: "llama", stream: false)
        simulation.settle(turns: 50)
        simulation.areBackendsSilent = true
        staying.ask(model: "llama", stream: true)
        leaving.ask(model: "llama", stream: true)
        simulation.settle(turns: 20)
        leaving.cancelAll()
        simulation.settle(turns: 20)
        simulation.areBackendsSilent = false
        simulation.settle(turns: 100)
        #expect(staying.answers.map(\.status) == [200, 200])
        #expect(peers(simulation).count == 1)
        #expect(simulation.rows().map(\.status).sorted() == [200, 200, 499])
    }

    @Test func `a slow reader stops its own stream and not its neighbours`() throws {
        var options = SimulatorOptions()
        options.chunkCount = 15_000
        var simulation = try Simulation(seed: 7, options: options, backendHTTP: .http2)
        let slow = simulation.connect(.http2)
        slow.ask(model: "llama", stream: true)
        slow.setReading(false)
        simulation.settle(turns: 400)
        #expect(slow.answers.isEmpty)
        let fast = simulation.connect(.http2)
        fast.ask(model: "llama", stream: true)
        simulation.settle(turns: 2000)
        #expect(fast.answers.map(\.status) == [200])
        #expect(slow.answers.isEmpty)
        slow.setReading(true)
        simulation.settle(turns: 2000)
        #expect(slow.answers.map(\.status) == [200])
        #expect(slow.answers.first?.body.hasSuffix("data: [DONE]\n\n") == true)
    }

    @Test func `an idle connection is closed, a silent one is asked and then given up`() throws {
        var simulation = try Simulation(seed: 8, backendHTTP: .http2)
        let client = simulation.connect(.http11)
        client.ask(model: "llama", stream: false)
        simulation.settle(turns: 50)
        #expect(simulation.world.openConnections == 2)
        simulation.areBackendsSilent = true
        client.ask(model: "llama", stream: false)
        simulation.settle(turns: 20)
        simulation.letTimePass(steps: 200)
        // Long before `timeouts.first_byte`: nobody answers a PING any more.
        #expect(client.answers.map(\.status) == [200, 504])
        #expect(simulation.rows().last?.durationMilliseconds ?? 0 < 100_000)
        simulation.letTimePass(steps: 50)
        #expect(simulation.world.openConnections == 0)
    }
}
