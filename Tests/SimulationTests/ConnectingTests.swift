import Primitives
import Testing
import Wire

@testable import Gateway
@testable import Runtime

/// How connections to backends come about.
@Suite struct ConnectingTests {
    /// Lets look-ups come to something else than they do in the simulated world.
    private func changeAddresses(
        _ simulation: borrowing Simulation, _ change: ([SocketAddress]) -> ResolvedAddresses
    ) {
        simulation.world.mail = simulation.world.mail.map { mail in
            guard case .resolved(let ticket, .found(let addresses)) = mail else { return mail }
            return .resolved(ticket: ticket, change(addresses))
        }
    }

    @Test func `while name servers do not answer, known addresses are used for a day`() throws {
        var simulation = try Simulation(seed: 1)
        let hour = 3_600_000
        var statuses: [Int] = []
        for (pause, answer) in [
            (0, nil), (hour, ResolvedAddresses.unavailable("later")), (hour, nil),
            (hour, .failed("no name")), (hour, nil), (30 * hour, .unavailable("later")),
        ] {
            simulation.wait(milliseconds: pause)
            let client = simulation.connect(.http11)
            client.ask(model: "llama", stream: false)
            for _ in 0..<20 {
                simulation.settle(turns: 1)
                changeAddresses(simulation) { answer ?? .found($0) }
            }
            statuses += client.answers.map(\.status)
        }
        #expect(statuses == [200, 200, 200, 502, 200, 502])
    }

    @Test func `name servers that have not answered once are not waited for again`() throws {
        var simulation = try Simulation(seed: 1)
        for turn in 0..<3 {
            simulation.wait(milliseconds: 3_600_000)
            let client = simulation.connect(.http11)
            client.ask(model: "llama", stream: false)
            for _ in 0..<20 {
                simulation.settle(turns: 1)
                if turn == 1 { changeAddresses(simulation) { _ in .unavailable("later") } }
                if turn == 2 { simulation.world.mail = [] }
            }
            #expect(client.answers.map(\.status) == [200], "turn \(turn)")
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
            // One address is two here.
            changeAddresses(simulation) { .found($0 + $0) }
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
