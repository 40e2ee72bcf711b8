import TestSupport
import Testing
import Wire

@testable import Gateway
@testable import Runtime

/// TLS in the simulated world: who clients are, and new certificates while they are served.
@Suite struct SecureClientTests {
    /// A client that speaks TLS.
    private struct Client: ~Copyable {
        let connection: Int32
        private var tls: TLSSession
        private var received: [UInt8] = []
        /// The gateway has said that it sends no more (close_notify).
        private(set) var wasToldGoodbye = false

        init(_ context: TLSContext, in simulation: borrowing Simulation) throws {
            connection = simulation.world.connectClient()
            tls = try TLSSession(client: context, serverName: "localhost")
        }

        /// Sends what TLS has ready, lets the gateway work, and reads what has come.
        mutating func turn(_ simulation: inout Simulation) throws {
            var flight: [UInt8] = []
            tls.takeCiphertext(into: &flight)
            simulation.world.send(flight, on: connection)
            simulation.settle(turns: 20)
            try tls.receive(simulation.world.receive(on: connection).span)
            if try tls.read(into: &received) == .closed { wasToldGoodbye = true }
        }

        /// Asks, and returns the answers' statuses.
        mutating func ask(_ request: [UInt8], _ simulation: inout Simulation) throws -> [Int] {
            received = []
            try tls.write(request.span)
            for _ in 0..<200 where ClientView(received).answers.isEmpty {
                try turn(&simulation)
            }
            return ClientView(received).answers.map(\.status)
        }
    }

    private static let configuration =
        Simulation.configuration.replacing(
            "keys: [{value: sk-test}]",
            with: "keys: [{value: sk-test}, {client_certificate: CN=team-a}]"
        ) + "\nlisteners: [{address: 127.0.0.1:1, tls: {certificate: c, key: k, client_ca: ca}}]"

    private let server: TestCertificate
    private let authority: TestCertificate
    private let teamA: TestCertificate
    private let question = chatRequest(model: "llama", stream: true, key: nil)

    init() throws {
        server = try TestCertificate("localhost")
        authority = try TestCertificate("Clients' CA")
        teamA = try TestCertificate("team-a", issuer: authority)
    }

    @Test(arguments: [UInt64(1), 2, 3])
    func `a certificate names its tenant, however its bytes come`(_ seed: UInt64) throws {
        let tls = try server.server(clientsOf: authority)
        var simulation = try Simulation(
            seed: seed, configuration: Self.configuration, tls: tls)
        simulation.world.faults.shortTransfers = 50
        simulation.world.faults.stallRate = 0.3
        let context = try teamA.client(of: server)
        for isResumed in [false, true] {
            var client = try Client(context, in: simulation)
            let statuses = try client.ask(question, &simulation)
            #expect(statuses == [200], "SEED=\(seed), resumed: \(isResumed)")
        }
        let rows = simulation.rows()
        #expect(rows.map(\.tenant) == ["t", "t"])
        #expect(rows.map(\.keyID) == Array(repeating: "5334de7d5ba7", count: 2))
        let isQuiet = simulation.isQuiet
        #expect(isQuiet)
    }

    @Test func `new TLS is for new connections`() throws {
        let tls = try server.server(clientsOf: authority)
        var simulation = try Simulation(seed: 1, configuration: Self.configuration, tls: tls)
        let old = try teamA.client(of: server)
        var served = try Client(old, in: simulation)
        let before = try served.ask(question, &simulation)
        #expect(before == [200])
        // In the middle of its handshake.
        var waiting = try Client(old, in: simulation)
        try waiting.turn(&simulation)

        let renewed = try TestCertificate("localhost")
        let otherCA = try TestCertificate("Other CA")
        simulation.world.mail.append(
            .plan(simulation.plan, listenerTLS: [try renewed.server(clientsOf: otherCA)]))
        simulation.settle(turns: 5)
        let after = try served.ask(question, &simulation)
        #expect(after == [200])
        let waited = try waiting.ask(question, &simulation)
        #expect(waited == [200])

        var late = try Client(old, in: simulation)
        #expect(throws: TLSFailure.self) { _ = try late.ask(question, &simulation) }
        let teamOther = try TestCertificate("team-a", issuer: otherCA)
        var new = try Client(teamOther.client(of: renewed), in: simulation)
        let answered = try new.ask(question, &simulation)
        #expect(answered == [200])
        #expect(simulation.rows().count == 4)
    }

    @Test func `who is refused with its body unread is told that the answer is whole`() throws {
        let tls = try server.server(clientsOf: authority)
        var simulation = try Simulation(seed: 1, configuration: Self.configuration, tls: tls)
        var client = try Client(teamA.client(of: server), in: simulation)
        let head =
            "POST /v1/unknown HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
            + "Content-Length: 1000000\r\n\r\n"
        let statuses = try client.ask(Array(head.utf8), &simulation)
        #expect(statuses == [404])
        try client.turn(&simulation)
        let wasToldGoodbye = client.wasToldGoodbye
        #expect(wasToldGoodbye)
    }
}
