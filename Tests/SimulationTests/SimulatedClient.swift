import Primitives
import Wire

@testable import Runtime

/// A client of the simulated gateway, in either version of HTTP.
final class SimulatedClient {
    /// One complete answer.
    struct Answer: Equatable {
        let status: Int
        let body: String
    }

    let version: HTTPVersion
    let connection: Int32
    private let world: SimulatedWorld
    private var received: [UInt8] = []
    private var session: HTTP2Session
    private var bodies: [Handle: [UInt8]] = [:]
    private var statuses: [Handle: Int] = [:]
    private var finished: [Answer] = []
    private var order: [Handle] = []
    /// The `date` of each head on HTTP/2.
    private var streamDates: [String] = []
    /// Streams that ended before their answers did.
    private(set) var brokenStreams = 0

    init(_ world: SimulatedWorld, _ version: HTTPVersion) {
        self.world = world
        self.version = version
        connection = world.connectClient()
        session = HTTP2Session(clientWith: HTTP2Limits(), now: world.now)
    }

    /// Sends a chat request.
    func ask(model: String, stream: Bool, key: String = "sk-test", text: String = "Hello, world") {
        guard version == .http2 else {
            return world.send(
                chatRequest(model: model, stream: stream, key: key, text: text), on: connection)
        }
        var fields = HeaderFields()
        fields.append("authorization", text: "Bearer \(key)")
        fields.append("content-type", "application/json")
        let asked = session.request(
            path: Array("/v1/chat/completions".utf8), authority: Array("gateway".utf8),
            isTLS: false, fields: fields,
            body: chatBody(model: model, stream: stream, text: text),
            owner: HTTP2StreamOwner(word: 1))
        if let asked { order.append(asked) }
        pump()
    }

    /// Breaks off all that was asked for, and keeps the connection.
    func cancelAll() {
        for stream in order { session.reset(stream, .cancel) }
        pump()
    }

    /// Stops or goes on reading the answers, each in its stream.
    func setReading(_ isReading: Bool) {
        for stream in order { session.setReading(isReading, stream: stream) }
    }

    /// Takes what has come, and sends what the protocol wants to say.
    func pump() {
        let bytes = world.receive(on: connection)
        guard version == .http2 else {
            received += bytes
            return
        }
        session.receive(bytes.span, now: world.now)
        note(bytes)
        var output: [UInt8] = []
        session.takeOutput(into: &output, limit: 1 << 20, now: world.now)
        note([])
        if !output.isEmpty { world.send(output, on: connection) }
    }

    /// The complete answers so far.
    var answers: [Answer] {
        version == .http2
            ? finished
            : ClientView(received).answers.map { Answer(status: $0.status, body: $0.body) }
    }

    /// The `date` of each answer's head so far.
    var dates: [String] {
        guard version != .http2 else { return streamDates }
        return String(decoding: received, as: UTF8.self).split(separator: "\r\n").filter {
            $0.hasPrefix("date: ")
        }.map { String($0.dropFirst(6)) }
    }

    /// Whether what came is not HTTP.
    var isMalformed: Bool {
        version == .http2 ? session.isOver && !wasToldGoodbye : ClientView(received).isMalformed
    }

    /// The gateway has ended the session properly.
    private var wasToldGoodbye: Bool { !session.takesRequests }

    private func note(_ bytes: [UInt8]) {
        while let event = session.nextEvent() {
            switch event {
            case .head(let stream):
                guard let head = try? session.responseHead(of: stream) else { continue }
                statuses[stream] = head.status
                let date = head.fields.value(of: "date") ?? []
                streamDates.append(String(decoding: date, as: UTF8.self))
            case .body(let stream, let range): bodies[stream, default: []] += bytes[range]
            case .end(let stream):
                finished.append(
                    Answer(
                        status: statuses[stream] ?? 0,
                        body: String(decoding: bodies[stream] ?? [], as: UTF8.self)))
                statuses[stream] = nil
            case .closed(let stream, let code):
                if code != .none || statuses[stream] != nil { brokenStreams += 1 }
                order.removeAll { $0 == stream }
            case .refused, .roomChanged: break
            }
        }
    }
}
