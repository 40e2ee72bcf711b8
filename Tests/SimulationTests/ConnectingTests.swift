import Primitives
import Testing
import Wire

@testable import Gateway
@testable import Runtime

/// How connections to backends come about.
@Suite struct ConnectingTests {
    /// Names have one address in the simulated world: here they get two.
    private func addAddress(_ simulation: borrowing Simulation) {
        simulation.world.mail = simulation.world.mail.map { mail in
            guard case .resolved(let ticket, .found(let addresses)) = mail else { return mail }
            return .resolved(ticket: ticket, .found(addresses + addresses))
        }
    }

    @Test func `a slow handshake has what is left of the connect timeout`() throws {
        let secure = Simulation.configuration.replacing("http://one/v1", with: "https://one/v1")
        var simulation = try Simulation(seed: 1, configuration: secure)
        simulation.areBackendsSilent = true
        let client = simulation.connect(.http11)
        client.ask(model: "narrow", stream: false)
        for _ in 0..<10 {
            simulation.settle(turns: 1)
            addAddress(simulation)
        }
        let connection = try #require(simulation.backends.keys.first)
        // One of two addresses has half of the five seconds to answer; this one has answered.
        simulation.wait(milliseconds: 3_000)
        #expect(!simulation.world.isClosed(connection))
        #expect(client.answers.isEmpty)
        simulation.wait(milliseconds: 2_100)
        #expect(simulation.world.isClosed(connection))
        #expect(client.answers.map(\.status) == [504])
    }
}
