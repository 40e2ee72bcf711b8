import Primitives
import TestSupport
import Testing
import Wire

@testable import Runtime

private typealias Frame = RawFrame

/// Which version of HTTP a connection speaks, and what is refused in each of them.
@Suite struct VersionTests {
    static let greeting = Frame.preface + Frame.settings([(0x1, 0)])

    /// A chat request on a stream.
    static func chat(_ stream: UInt32, stream isStreamed: Bool = false) -> [UInt8] {
        let messages = #"[{"role":"user","content":"Hello"}]"#
        let body = #"{"model":"llama","stream":\#(isStreamed),"messages":\#(messages)}"#
        let block = HeaderBlock.request(
            method: "POST", path: "/v1/chat/completions",
            [("authorization", "Bearer sk-test"), ("content-type", "application/json")])
        return Frame.headers(stream, block, flags: Frame.endHeaders)
            + Frame.data(stream, Array(body.utf8))
    }

    private func frames(_ simulation: borrowing Simulation, _ client: Int32) -> [SeenFrame] {
        SeenFrame.all(in: simulation.world.receive(on: client))
    }

    private func status(_ frames: [SeenFrame], _ stream: UInt32) -> Int? {
        frames.first { $0.kind == Frame.headersKind && $0.stream == stream }?.status
    }

    private func body(_ frames: [SeenFrame], _ stream: UInt32) -> String {
        let bytes = frames.filter { $0.kind == Frame.dataKind && $0.stream == stream }
            .flatMap(\.payload)
        return String(decoding: bytes, as: UTF8.self)
    }

    private func expectEnvelope(_ body: String, _ code: String) {
        for member in [#""message":"#, #""type":"#, #""param":"#, #""code":"\#(code)""#] {
            #expect(body.contains(member), "\(body)")
        }
    }

    // MARK: - How a connection begins

    @Test func `a preface may be cut anywhere, RFC 9113 3.4`() throws {
        let bytes = Self.greeting + Self.chat(1)
        for cut in 1..<Self.greeting.count {
            var simulation = try Simulation(seed: 1)
            let client = simulation.world.connectClient()
            simulation.world.send(Array(bytes[..<cut]), on: client)
            simulation.settle(turns: 3)
            simulation.world.send(Array(bytes[cut...]), on: client)
            simulation.settle(turns: 40)
            let seen = frames(simulation, client)
            #expect(status(seen, 1) == 200, "cut at \(cut)")
            #expect(simulation.rows().count == 1)
        }
    }

    @Test(arguments: [1, 2, 3, 4])
    func `a client of HTTP/1 may begin with the preface's letters`(_ cut: Int) throws {
        var simulation = try Simulation(seed: 2)
        let client = simulation.world.connectClient()
        let bytes = chatRequest(model: "llama", stream: false)
        simulation.world.send(Array(bytes[..<cut]), on: client)
        simulation.settle(turns: 3)
        simulation.world.send(Array(bytes[cut...]), on: client)
        simulation.settle(turns: 40)
        let view = ClientView(simulation.world.receive(on: client))
        #expect(view.answers.map(\.status) == [200])
    }

    @Test func `something like a preface is HTTP/1 of no known version`() throws {
        for cut in 1..<24 {
            var text = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
            text[cut] = UInt8(ascii: "?")
            var simulation = try Simulation(seed: 3)
            let client = simulation.world.connectClient()
            simulation.world.send(text, on: client)
            simulation.settle(turns: 10)
            simulation.world.end(client)
            simulation.settle(turns: 10)
            let answer = String(decoding: simulation.world.receive(on: client), as: UTF8.self)
            #expect(
                answer.isEmpty || answer.hasPrefix("HTTP/1.1 4") || answer.hasPrefix("HTTP/1.1 505")
            )
            #expect(simulation.world.isClosed(client), "\(cut)")
        }
    }

    @Test func `a preface that is never completed is given up`() throws {
        for text in ["P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            var simulation = try Simulation(seed: 4)
            let client = simulation.world.connectClient()
            simulation.world.send(Array(text.utf8), on: client)
            simulation.settle(turns: 5)
            #expect(!simulation.world.isClosed(client))
            simulation.world.now = simulation.world.now.advanced(
                byMilliseconds: Limits.requestHeadMilliseconds + 100)
            simulation.settle(turns: 5)
            #expect(simulation.world.isClosed(client))
        }
    }

    // MARK: - What is refused

    @Test func `Upgrade to h2c is ignored, RFC 9113 3.1`() throws {
        for settings in ["", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"] {
            var simulation = try Simulation(seed: 5)
            let client = simulation.world.connectClient()
            let options = settings.isEmpty ? "Upgrade" : "Upgrade, HTTP2-Settings"
            let fields = "Connection: \(options)\r\nUpgrade: h2c\r\n\(settings)"
            for _ in 0..<2 {
                simulation.world.send(
                    request(fields, chatRequest(model: "llama", stream: false)),
                    on: client)
                simulation.settle(turns: 40)
            }
            let view = ClientView(simulation.world.receive(on: client))
            #expect(view.answers.map(\.status) == [200, 200])
        }
    }

    /// A chat request of HTTP/1.1 with more fields.
    private func request(_ fields: String, _ chat: [UInt8]) -> [UInt8] {
        let text = String(decoding: chat, as: UTF8.self)
        return Array(text.replacing("Host: gateway\r\n", with: "Host: gateway\r\n" + fields).utf8)
    }

    @Test(arguments: [
        ("GET /v1/chat/completions", 405, "method_not_allowed"),
        ("GET /v1/realtime?model=llama", 404, "unknown_endpoint"),
        ("CONNECT gateway:443", 405, "method_not_allowed"),
    ])
    func `WebSocket and CONNECT are refused on HTTP/1`(
        _ line: String, _ status: Int, _ code: String
    ) throws {
        var simulation = try Simulation(seed: 6)
        let client = simulation.world.connectClient()
        let upgrade =
            line.hasPrefix("GET")
            ? "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" : ""
        let text =
            "\(line) HTTP/1.1\r\nHost: gateway:443\r\nAuthorization: Bearer sk-test\r\n"
            + "\(upgrade)\r\n"
        simulation.world.send(Array(text.utf8), on: client)
        simulation.settle(turns: 10)
        let view = ClientView(simulation.world.receive(on: client))
        #expect(view.answers.map(\.status) == [status])
        expectEnvelope(view.answers.first?.body ?? "", code)
        #expect(simulation.backendRequests.isEmpty)
        // What comes next is HTTP/1.1 again.
        simulation.world.send(chatRequest(model: "llama", stream: false), on: client)
        simulation.settle(turns: 40)
        #expect(ClientView(simulation.world.receive(on: client)).answers.map(\.status) == [200])
    }

    @Test func `WebSocket and CONNECT are refused on HTTP/2, and their neighbours go on`() throws {
        var simulation = try Simulation(seed: 7)
        let client = simulation.world.connectClient()
        let connect = HeaderBlock.literals([(":method", "CONNECT"), (":authority", "gateway:443")])
        let webSocket = HeaderBlock.literals([
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
            (":path", "/v1/realtime"), (":authority", "gateway"), ("sec-websocket-version", "13"),
        ])
        let upgrade = HeaderBlock.request(
            path: "/v1/models", [("connection", "Upgrade"), ("upgrade", "websocket")])
        simulation.world.send(
            Self.greeting + Frame.headers(1, connect, flags: Frame.endHeaders)
                + Frame.headers(3, webSocket, flags: Frame.endHeaders) + Frame.headers(5, upgrade)
                + Self.chat(7), on: client)
        simulation.settle(turns: 40)
        let seen = frames(simulation, client)
        #expect(status(seen, 1) == 405)
        expectEnvelope(body(seen, 1), "method_not_allowed")
        let resets = seen.filter { $0.kind == Frame.resetKind && $0.stream != 1 }
        #expect(resets.map(\.stream).sorted() == [3, 5])
        #expect(resets.map(\.errorCode) == [1, 1])
        #expect(status(seen, 7) == 200)
        // RFC 8441 section 3: without SETTINGS_ENABLE_CONNECT_PROTOCOL nobody should try.
        let settings = seen.first { $0.kind == Frame.settingsKind && $0.flags == 0 }
        let identifiers = settings.map { frame in
            stride(from: 0, to: frame.payload.count, by: 6).map { frame.payload[$0 + 1] }
        }
        #expect(identifiers?.contains(8) == false)
    }

    @Test func `a list of fields that is too long is answered with 431`() throws {
        var simulation = try Simulation(seed: 8)
        let client = simulation.world.connectClient()
        let fields = (0..<200).map { ("x-\($0)", "y") }
        simulation.world.send(
            Self.greeting + Frame.headers(1, HeaderBlock.request(path: "/v1/models", fields))
                + Self.chat(3), on: client)
        simulation.settle(turns: 40)
        let seen = frames(simulation, client)
        #expect(status(seen, 1) == 431)
        #expect(status(seen, 3) == 200)
    }

    @Test func `a client that breaks the protocol loses the requests that are under way`() throws {
        let mistakes = [
            Frame.data(0, [1]), Frame.make(Frame.pingKind, [1]), Frame.headers(2, []),
            Frame.goAway(), (0..<11_000).flatMap { _ in Frame.ping() },
        ]
        for (index, mistake) in mistakes.enumerated() {
            var simulation = try Simulation(seed: 12)
            simulation.areBackendsSilent = true
            let client = simulation.world.connectClient()
            simulation.world.send(
                Self.greeting + Self.chat(1) + Self.chat(3, stream: true), on: client)
            simulation.settle(turns: 20)
            simulation.world.send(mistake, on: client)
            simulation.settle(turns: 40)
            simulation.areBackendsSilent = false
            simulation.settle(turns: 40)
            let isGoAway = mistake == Frame.goAway()
            let statuses = simulation.rows().map(\.status)
            // GOAWAY is no mistake: what has begun is finished (RFC 9113 section 6.8).
            #expect(statuses == (isGoAway ? [200, 200] : [499, 499]), "\(index)")
            let isQuiet = simulation.isQuiet
            #expect(isQuiet)
            simulation.letTimePass(steps: 2)
            #expect(simulation.world.isClosed(client))
        }
    }

    // MARK: - Clients that do not read

    @Test func `a client that asks and does not read is not read either, until it does`() throws {
        var simulation = try Simulation(seed: 9)
        let client = simulation.world.connectClient()
        simulation.world.setWindow(0, on: client)
        simulation.world.send(Self.greeting, on: client)
        simulation.settle(turns: 2)
        let head = HeaderBlock.request(
            method: "HEAD", path: "/v1/models", [("authorization", "Bearer sk-test")])
        let count = 4_000
        for index in 0..<count {
            simulation.world.send(Frame.headers(UInt32(2 * index + 1), head), on: client)
        }
        simulation.settle(turns: 200)
        #expect(simulation.world.unread(on: client) > 0)
        simulation.world.setWindow(.max, on: client)
        simulation.settle(turns: 200)
        #expect(simulation.world.unread(on: client) == 0)
        let heads = frames(simulation, client).filter { $0.kind == Frame.headersKind }
        #expect(heads.count == count)
        #expect(heads.filter(\.isLast).count == count)
    }

    @Test func `a client that sends on and never reads is given up`() throws {
        var simulation = try Simulation(seed: 10)
        let client = simulation.world.connectClient()
        simulation.world.setWindow(0, on: client)
        simulation.world.send(Self.greeting + Self.chat(1), on: client)
        simulation.settle(turns: 40)
        for _ in 0..<40 {
            guard !simulation.world.isClosed(client) else { break }
            simulation.world.now = simulation.world.now.advanced(byMilliseconds: 5_000)
            simulation.world.send(Frame.ping(), on: client)
            simulation.settle(turns: 3)
        }
        #expect(simulation.world.isClosed(client))
        let isQuiet = simulation.isQuiet
        #expect(isQuiet)
        #expect(simulation.rows().count == 1)
    }

    @Test func `a flood on one connection is cut, and its neighbour served`() throws {
        var simulation = try Simulation(seed: 11)
        let bad = simulation.world.connectClient()
        let good = simulation.world.connectClient()
        simulation.world.send(Self.greeting, on: bad)
        simulation.world.send(Self.greeting, on: good)
        let head = HeaderBlock.request(method: "POST", path: "/v1/chat/completions")
        for index in 0..<3_000 {
            let stream = UInt32(2 * index + 1)
            simulation.world.send(Frame.headers(stream, head) + Frame.reset(stream), on: bad)
        }
        simulation.world.send(Self.chat(1), on: good)
        simulation.settle(turns: 60)
        #expect(status(frames(simulation, good), 1) == 200)
        #expect(frames(simulation, bad).last?.errorCode == 0xb)
        #expect(simulation.rows().count == 1)
        simulation.letTimePass(steps: 2)
        #expect(simulation.world.isClosed(bad))
    }
}
