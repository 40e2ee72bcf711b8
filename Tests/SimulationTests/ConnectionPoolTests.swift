import Primitives
import Testing

@testable import Runtime

/// Which connections to backends are kept.
@Suite struct ConnectionPoolTests {
    /// Five clients ask at once: so many connections to the backend are there after their answers.
    private func afterBurst(maximumIdle: Int) throws -> Simulation {
        let text = Simulation.configuration.replacing(
            #"api_key: {value: backend-key}"#,
            with: "api_key: {value: backend-key}, connections: {max_idle: \(maximumIdle)}")
        var simulation = try Simulation(seed: 1, configuration: text)
        ask(five: &simulation)
        return simulation
    }

    private func ask(five simulation: inout Simulation) {
        let clients = (0..<5).map { _ in simulation.connect(.http11) }
        for client in clients { client.ask(model: "llama", stream: false) }
        simulation.settle()
        #expect(clients.map { $0.answers.map(\.status) } == Array(repeating: [200], count: 5))
    }

    private func open(_ simulation: borrowing Simulation) -> Int {
        simulation.backends.keys.count { !simulation.world.isClosed($0) }
    }

    @Test func `what is idle beyond max_idle is there for the next burst, and closed after it`()
        throws
    {
        var simulation = try afterBurst(maximumIdle: 2)
        #expect(open(simulation) == 5)
        simulation.wait(milliseconds: Limits.surplusIdleMilliseconds - 100)
        ask(five: &simulation)
        #expect(simulation.backends.count == 5)
        simulation.wait(milliseconds: Limits.surplusIdleMilliseconds + 100)
        #expect(open(simulation) == 2)
        simulation.wait(milliseconds: 61_000)
        #expect(open(simulation) == 0)
    }

    @Test func `without idle connections each is closed at once`() throws {
        let simulation = try afterBurst(maximumIdle: 0)
        #expect(simulation.backends.count == 5)
        #expect(open(simulation) == 0)
    }
}
