import Primitives
import TestSupport
import Testing
import Wire

@testable import Gateway
@testable import Runtime
@testable import Simulator

/// How a worker ends: nothing new, and an honest end for what is under way.
@Suite struct DrainTests {
    /// The first bytes of a backend's stream.
    static let beginning: [UInt8] = {
        let event =
            #"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"llama","#
            + #""choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"# + "\n\n"
        var bytes: [UInt8] = []
        var fields = HeaderFields()
        fields.append("content-type", "text/event-stream")
        HTTP1Writer.responseHead(
            status: 200, fields: fields, framing: .chunked, keepAlive: true, version: .http11,
            into: &bytes)
        HTTP1Writer.chunk(Array(event.utf8).span, into: &bytes)
        return bytes
    }()

    private func text(_ simulation: borrowing Simulation, _ client: Int32) -> String {
        String(decoding: simulation.world.receive(on: client), as: UTF8.self)
    }

    /// A client whose request has been answered, and whose connection is kept.
    private func keptClient(_ simulation: inout Simulation) -> Int32 {
        let client = simulation.world.connectClient()
        simulation.world.send(chatRequest(model: "llama", stream: false), on: client)
        simulation.settle(turns: 30)
        #expect(text(simulation, client).hasPrefix("HTTP/1.1 200"))
        return client
    }

    @Test func `what is under way finishes, and idle connections are closed at once`() throws {
        var simulation = try Simulation(seed: 12)
        let idle = keptClient(&simulation)
        let busy = simulation.world.connectClient()
        simulation.areBackendsSilent = true
        simulation.world.send(chatRequest(model: "llama", stream: false), on: busy)
        simulation.settle(turns: 20)
        simulation.drain()
        simulation.settle(turns: 5)
        #expect(simulation.world.isClosed(idle))
        #expect(!simulation.world.isClosed(busy))
        simulation.areBackendsSilent = false
        simulation.settle(turns: 50)
        #expect(text(simulation, busy).contains("connection: close"))
        #expect(simulation.world.isClosed(busy))
        let (isDone, brokenOff) = (simulation.isDone, simulation.brokenOffCount)
        #expect(isDone && brokenOff == 0)
        #expect(simulation.rows().map(\.status) == [200, 200])
    }

    @Test func `a connection that was made just before may still send its request`() throws {
        var simulation = try Simulation(seed: 13)
        let prompt = simulation.world.connectClient()
        let silent = simulation.world.connectClient()
        simulation.drain()
        simulation.settle(turns: 2)
        simulation.world.send(chatRequest(model: "llama", stream: true), on: prompt)
        simulation.settle(turns: 50)
        let answer = text(simulation, prompt)
        #expect(answer.contains("connection: close") && answer.contains("[DONE]"))
        #expect(simulation.world.isClosed(prompt))
        #expect(!simulation.world.isClosed(silent))
        simulation.wait(milliseconds: Limits.drainGreetingMilliseconds + 10)
        #expect(simulation.world.isClosed(silent))
        let isDone = simulation.isDone
        #expect(isDone)
    }

    @Test func `a request that has just come on a kept connection is served`() throws {
        var simulation = try Simulation(seed: 14)
        let client = keptClient(&simulation)
        simulation.drain()
        simulation.world.send(chatRequest(model: "llama", stream: false), on: client)
        simulation.settle(turns: 50)
        #expect(text(simulation, client).contains("connection: close"))
        #expect(simulation.world.isClosed(client))
        #expect(simulation.rows().map(\.status) == [200, 200])
    }

    @Test func `until listeners close, connections are taken and kept ones say goodbye`() throws {
        var simulation = try Simulation(seed: 15)
        let kept = keptClient(&simulation)
        let idle = keptClient(&simulation)
        simulation.drain(closeAfter: 5_000)
        simulation.settle(turns: 5)
        simulation.world.send(chatRequest(model: "llama", stream: false), on: kept)
        let late = simulation.world.connectClient()
        simulation.world.send(chatRequest(model: "llama", stream: false), on: late)
        simulation.settle(turns: 50)
        for client in [kept, late] {
            let answer = text(simulation, client)
            #expect(answer.hasPrefix("HTTP/1.1 200") && answer.contains("connection: close"))
            #expect(simulation.world.isClosed(client))
        }
        #expect(!simulation.world.isClosed(idle))
        let isDone = simulation.isDone
        #expect(!isDone)
        simulation.wait(milliseconds: 5_010)
        #expect(simulation.world.isClosed(idle))
        let isDoneNow = simulation.isDone
        #expect(isDoneNow)
    }

    @Test(arguments: [HTTPVersion.http11, .http2])
    func `at the deadline every request gets an honest end`(_ version: HTTPVersion) throws {
        var simulation = try Simulation(seed: 16)
        simulation.areBackendsSilent = true
        let streaming = simulation.connect(version)
        streaming.ask(model: "llama", stream: true)
        simulation.settle(turns: 20)
        let connection = try #require(simulation.backends.keys.first)
        simulation.world.send(Self.beginning, on: connection)
        let waiting = simulation.connect(version)
        waiting.ask(model: "llama", stream: false)
        simulation.settle(turns: 20)
        simulation.drain(deadlineAfter: 20_000)
        simulation.settle(turns: 5)
        let early = (streaming.answers.count, waiting.answers.count)
        #expect(early == (0, 0))
        simulation.wait(milliseconds: 20_010)
        let stream = try #require(streaming.answers.first)
        #expect(stream.status == 200)
        #expect(stream.body.contains("Hi") && stream.body.contains(#""code":"draining""#))
        #expect(!stream.body.contains("[DONE]"))
        let whole = try #require(waiting.answers.first)
        #expect(whole.status == 503)
        #expect(whole.body.contains(#""code":"draining""#))
        let rows = simulation.rows()
        #expect(rows.map(\.status) == [503, 503])
        #expect(rows.map(\.errorCode) == ["draining", "draining"])
        #expect(rows.map(\.usageSource) == [.estimated, .none])
        // Clients that stay are not waited for.
        simulation.wait(milliseconds: Limits.drainFlushMilliseconds + 10)
        let (isDone, brokenOff, isQuiet) = (
            simulation.isDone, simulation.brokenOffCount, simulation.isQuiet
        )
        #expect(isDone && isQuiet && brokenOff == 2)
        // Nobody works on for an answer that nobody gets.
        for connection in simulation.backends.keys {
            #expect(simulation.world.isClosed(connection))
        }
    }

    @Test func `a request whose body has not come by the deadline is refused unbilled`() throws {
        var simulation = try Simulation(seed: 17)
        let client = simulation.world.connectClient()
        simulation.world.send(chatRequest(model: "llama", stream: false).dropLast(5), on: client)
        simulation.settle(turns: 5)
        simulation.drain(deadlineAfter: 1_000)
        simulation.wait(milliseconds: 1_010)
        let answer = text(simulation, client)
        #expect(answer.hasPrefix("HTTP/1.1 503") && answer.contains(#""code":"draining""#))
        #expect(answer.contains("retry-after: 1\r\n"))
        simulation.wait(milliseconds: Limits.drainFlushMilliseconds + 10)
        let isDone = simulation.isDone
        #expect(isDone)
        #expect(simulation.rows().isEmpty)
    }

    @Test func `a client that takes nothing does not hold up the end`() throws {
        var simulation = try Simulation(seed: 18)
        let client = simulation.world.connectClient()
        simulation.world.setWindow(10, on: client)
        simulation.world.send(chatRequest(model: "llama", stream: true), on: client)
        simulation.settle(turns: 30)
        simulation.drain(deadlineAfter: 1_000)
        simulation.wait(milliseconds: 1_010)
        let early = simulation.isDone
        #expect(!early)
        simulation.wait(milliseconds: Limits.drainFlushMilliseconds + 10)
        let isDone = simulation.isDone
        #expect(isDone)
        #expect(simulation.rows().count == 1)
    }

    @Test func `listeners close while as many clients are there as may be`() throws {
        var simulation = try Simulation(
            seed: 22, more: "limits: {connections: 1}", listeners: [3, 4])
        simulation.areBackendsSilent = true
        let client = simulation.world.connectClient()
        simulation.world.send(chatRequest(model: "llama", stream: false), on: client)
        simulation.settle(turns: 20)
        simulation.drain()
        simulation.settle(turns: 5)
        #expect(simulation.world.watchesOfClosed == 0)
        simulation.areBackendsSilent = false
        simulation.settle(turns: 50)
        #expect(text(simulation, client).hasPrefix("HTTP/1.1 200"))
        let isDone = simulation.isDone
        #expect(isDone)
    }

    @Test(arguments: [0, 5_000])
    func `a second word ends it at once`(_ closeAfter: Int) throws {
        var simulation = try Simulation(seed: 19)
        simulation.areBackendsSilent = true
        let client = simulation.connect(.http11)
        client.ask(model: "llama", stream: false)
        simulation.settle(turns: 10)
        simulation.drain(closeAfter: closeAfter)
        simulation.settle(turns: 10)
        #expect(client.answers.isEmpty)
        simulation.drain(deadlineAfter: 0)
        simulation.settle(turns: 10)
        #expect(client.answers.map(\.status) == [503])
        let (isDone, brokenOff) = (simulation.isDone, simulation.brokenOffCount)
        #expect(isDone && brokenOff == 1)
    }

    @Test func `streams that come before the last word are served, RFC 9113 6.8`() throws {
        var simulation = try Simulation(seed: 20)
        let kept = simulation.connect(.http2)
        kept.ask(model: "llama", stream: false)
        simulation.settle(turns: 30)
        simulation.drain(closeAfter: 100)
        simulation.turn()
        // Both have not heard of the end yet.
        let late = simulation.connect(.http2)
        late.ask(model: "llama", stream: true)
        simulation.settle(turns: 30)
        #expect(late.answers.map(\.status) == [200])
        for _ in 0..<4 { simulation.wait(milliseconds: Limits.http2FarewellMilliseconds) }
        let (isDone, brokenOff) = (simulation.isDone, simulation.brokenOffCount)
        #expect(isDone && brokenOff == 0)
        #expect(late.brokenStreams == 0 && kept.brokenStreams == 0)
    }

    @Test func `a stream that began before the drain frees its connection at its end`() throws {
        var simulation = try Simulation(seed: 21)
        simulation.areBackendsSilent = true
        let client = simulation.world.connectClient()
        simulation.world.send(chatRequest(model: "llama", stream: true), on: client)
        simulation.settle(turns: 20)
        let connection = try #require(simulation.backends.keys.first)
        simulation.world.send(Self.beginning, on: connection)
        simulation.settle(turns: 10)
        simulation.drain()
        simulation.settle(turns: 5)
        var end: [UInt8] = []
        let event =
            #"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"llama","#
            + #""choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#
            + "\n\ndata: [DONE]\n\n"
        HTTP1Writer.chunk(Array(event.utf8).span, into: &end)
        HTTP1Writer.lastChunk(into: &end)
        simulation.world.send(end, on: connection)
        simulation.settle(turns: 20)
        #expect(text(simulation, client).contains("[DONE]"))
        simulation.wait(milliseconds: Limits.drainGreetingMilliseconds + 10)
        #expect(simulation.world.isClosed(client))
        let (isDone, brokenOff) = (simulation.isDone, simulation.brokenOffCount)
        #expect(isDone && brokenOff == 0)
    }
}
