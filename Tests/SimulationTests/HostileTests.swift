import Foundation
import Primitives
import TestSupport
import Testing
import Wire

@testable import Gateway
@testable import Runtime
@testable import Simulator

/// Clients that want to hold us up: what they get is bounded in time and in memory.
@Suite struct HostileTests {
    private static let head =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer sk-test\r\n"
        + "Content-Type: application/json\r\n"

    private func text(_ simulation: borrowing Simulation, _ connection: Int32) -> String {
        String(decoding: simulation.world.receive(on: connection), as: UTF8.self)
    }

    // MARK: - Time

    @Test(arguments: ["GET / HTTP/1.1\r\nHost: g\r\nX-", "", "PRI * HTTP/2.0\r\n\r\nSM\r\n"])
    func `a head that dribbles in has thirty seconds`(_ begin: String) throws {
        var simulation = try Simulation(seed: 1)
        let client = simulation.world.connectClient()
        simulation.world.send(Array(begin.utf8), on: client)
        for second in 1...40 {
            simulation.settle(turns: 2)
            let isClosed = simulation.world.isClosed(client)
            #expect(isClosed == (second > 30), "second \(second)")
            simulation.world.now = simulation.world.now.advanced(byMilliseconds: 1000)
            // An HTTP/2 preface must go on as it began.
            if begin.hasPrefix("GET") { simulation.world.send([0x61], on: client) }
        }
        #expect(simulation.clientCount == 0)
    }

    @Test func `a body that stops is answered and closed after a minute`() throws {
        var simulation = try Simulation(seed: 1)
        let client = simulation.world.connectClient()
        simulation.world.send(Array((Self.head + "Content-Length: 9\r\n\r\n{").utf8), on: client)
        simulation.settle(turns: 4)
        simulation.world.now = simulation.world.now.advanced(byMilliseconds: 61_000)
        simulation.settle(turns: 4)
        let answer = text(simulation, client)
        #expect(answer.hasPrefix("HTTP/1.1 408 "))
        simulation.letTimePass(steps: 3)
        #expect(simulation.world.isClosed(client))
        #expect(simulation.metrics.bufferedBytes.value == 0)
    }

    @Test func `a body that came slowly leaves its backend the whole time`() throws {
        var simulation = try Simulation(seed: 1)
        let client = simulation.world.connectClient()
        let request = chatRequest(model: "llama", stream: false)
        let body = request.count - 40
        simulation.world.send(Array(request[..<body]), on: client)
        // Longer than `timeouts.total`, 30 minutes.
        for byte in request[body...] {
            simulation.settle(turns: 2)
            simulation.world.now = simulation.world.now.advanced(byMilliseconds: 50_000)
            simulation.world.send([byte], on: client)
        }
        simulation.settle()
        #expect(text(simulation, client).hasPrefix("HTTP/1.1 200 "))
    }

    @Test(arguments: [HTTPVersion.http11, .http2])
    func `a client that waited for long has two minutes to take its answer`(
        _ version: HTTPVersion
    ) throws {
        var simulation = try Simulation(seed: 1)
        simulation.areBackendsSilent = true
        let client = simulation.connect(version)
        client.ask(model: "patient", stream: true)
        simulation.settle(turns: 20)
        let backend = try #require(simulation.backends.keys.first)
        // Clocks are looked at when a minute and then two more have gone by.
        simulation.wait(milliseconds: 61_000)
        simulation.wait(milliseconds: 119_000)
        simulation.world.setWindow(0, on: client.connection)
        simulation.world.send(DrainTests.beginning, on: backend)
        simulation.settle(turns: 20)
        simulation.wait(milliseconds: Limits.http2LookMilliseconds + 1_000)
        #expect(!simulation.world.isClosed(client.connection))
        simulation.wait(milliseconds: Limits.clientStallMilliseconds)
        simulation.wait(milliseconds: Limits.http2LookMilliseconds)
        #expect(simulation.world.isClosed(client.connection))
    }

    @Test func `header blocks of HTTP2 that never end are given up`() throws {
        var simulation = try Simulation(seed: 1)
        let client = simulation.world.connectClient()
        let block = HeaderBlock.request(method: "POST", path: "/v1/chat/completions")
        simulation.world.send(
            RawFrame.preface + RawFrame.settings()
                + RawFrame.headers(1, Array(block.prefix(10)), flags: 0), on: client)
        for _ in 0..<45 {
            simulation.settle(turns: 2)
            simulation.world.now = simulation.world.now.advanced(byMilliseconds: 1000)
        }
        #expect(simulation.world.isClosed(client))
    }

    // MARK: - Memory

    @Test func `a client that reads no answers gets no more of them`() throws {
        var simulation = try Simulation(seed: 1)
        let client = simulation.world.connectClient()
        simulation.world.setWindow(1_000, on: client)
        let count = 6_000
        let request = "GET / HTTP/1.1\r\nHost: g\r\n\r\n"
        simulation.world.send(Array(String(repeating: request, count: count).utf8), on: client)
        simulation.settle(turns: 30)
        var answered: Int { simulation.world.log.count { $0 == 0x0a } }
        #expect(answered * 300 < Limits.clientBacklogBytes + Limits.readBytes)
        #expect(simulation.world.unread(on: client) > 0)
        // It reads after all.
        simulation.world.setWindow(.max, on: client)
        var received: [UInt8] = []
        for _ in 0..<100 {
            simulation.settle(turns: 1)
            received += simulation.world.receive(on: client)
        }
        #expect(answered == count)
        let answers = String(decoding: received, as: UTF8.self)
            .components(separatedBy: "HTTP/1.1 404 ")
        #expect(answers.count == count + 1)
    }

    @Test(arguments: [HTTPVersion.http11, .http2])
    func `bodies beyond what may be held are refused until there is room`(
        _ version: HTTPVersion
    ) throws {
        var simulation = try Simulation(seed: 1, more: "limits: {buffered_bytes: 60KiB}")
        simulation.areBackendsSilent = true
        let long = String(repeating: "a", count: 40_000)
        let first = simulation.connect(version)
        first.ask(model: "llama", stream: false, text: long)
        simulation.settle(turns: 20)
        let held = simulation.metrics.bufferedBytes.value
        #expect(held > 40_000)
        let second = simulation.connect(version)
        second.ask(model: "llama", stream: false, text: long)
        simulation.settle(turns: 20)
        #expect(second.answers.map(\.status) == [503])
        #expect(second.answers.first?.body.contains("\"overloaded\"") == true)
        #expect(simulation.metrics.bufferedBytes.value == held)
        simulation.areBackendsSilent = false
        simulation.settle()
        #expect(first.answers.map(\.status) == [200])
        #expect(simulation.metrics.bufferedBytes.value == 0)
        let third = simulation.connect(version)
        third.ask(model: "llama", stream: false, text: long)
        simulation.settle()
        #expect(third.answers.map(\.status) == [200])
        #expect(simulation.metrics.bufferedBytes.value == 0)
    }

    @Test func `without a descriptor for a backend a client is told to come back`() throws {
        var simulation = try Simulation(seed: 1)
        let client = simulation.connect(.http11)
        simulation.settle()
        simulation.world.faults.exhaustionRate = 1
        client.ask(model: "llama", stream: false)
        simulation.settle()
        #expect(client.answers.map(\.status) == [503])
        #expect(client.answers.first?.body.contains("\"overloaded\"") == true)
        simulation.world.faults.exhaustionRate = 0
        client.ask(model: "llama", stream: false)
        simulation.settle()
        #expect(client.answers.map(\.status) == [503, 200])
    }

    @Test func `the share of a client that leaves in mid-body goes back`() throws {
        var simulation = try Simulation(seed: 1)
        let client = simulation.world.connectClient()
        let body = String(repeating: " ", count: 5_000)
        simulation.world.send(
            Array((Self.head + "Content-Length: 9000\r\n\r\n" + body).utf8), on: client)
        simulation.settle(turns: 4)
        #expect(simulation.metrics.bufferedBytes.value == 5_000)
        simulation.world.reset(client)
        simulation.settle(turns: 4)
        #expect(simulation.metrics.bufferedBytes.value == 0)
    }

    @Test(arguments: [("limits: {connections: 2}", 1_000_000), ("", 4)])
    func `connections beyond what may be open wait for room`(
        _ more: String, _ descriptors: Int
    ) throws {
        var simulation = try Simulation(seed: 1, more: more, descriptors: descriptors)
        let clients = (0..<3).map { _ in simulation.world.connectClient() }
        for client in clients {
            simulation.world.send(chatRequest(model: "llama", stream: false), on: client)
        }
        simulation.settle()
        #expect(simulation.clientCount == 2)
        #expect(text(simulation, clients[1]).hasPrefix("HTTP/1.1 200 "))
        #expect(text(simulation, clients[2]).isEmpty)
        simulation.world.end(clients[0])
        simulation.settle(turns: 4)
        simulation.letTimePass(steps: 4)
        #expect(text(simulation, clients[2]).hasPrefix("HTTP/1.1 200 "))
    }

    // MARK: - Fairness

    @Test func `one read of an HTTP2 client is a small one`() throws {
        var simulation = try Simulation(seed: 1)
        let client = simulation.world.connectClient()
        let frames = (0..<600).flatMap { number in
            RawFrame.headers(
                UInt32(2 * number + 1),
                HeaderBlock.request(path: "/v1/models", [("authorization", "Bearer sk-test")]))
        }
        simulation.world.send(RawFrame.preface + RawFrame.settings() + frames, on: client)
        let sent = simulation.world.unread(on: client)
        // The first turn accepts.
        simulation.turn()
        simulation.turn()
        #expect(simulation.world.unread(on: client) == sent - Limits.multiplexedReadBytes)
        simulation.settle()
        let heads = SeenFrame.all(in: simulation.world.receive(on: client)).filter {
            $0.kind == RawFrame.headersKind
        }
        #expect(heads.count == 600)
    }
}
