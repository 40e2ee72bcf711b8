import Primitives
import Testing
import Wire

@testable import Runtime

/// A client in the simulated world that speaks HTTP/2 by prior knowledge, many requests at once.
final class HTTP2Client {
    /// An answer whose end has come.
    struct Answer {
        let status: Int
        let requestID: String
        let body: String
    }

    private var session: HTTP2Session
    private let world: SimulatedWorld
    private let connection: Int32
    private var heads: [Handle: ResponseHead] = [:]
    private var bodies: [Handle: [UInt8]] = [:]
    /// In the order of their ends.
    private(set) var answers: [Answer] = []

    init(_ world: SimulatedWorld) {
        self.world = world
        connection = world.connectClient()
        session = HTTP2Session(clientWith: HTTP2Limits(), now: world.now)
    }

    func ask(model: String, stream: Bool) {
        let messages = #"[{"role":"user","content":"Hello, world"}]"#
        let body = #"{"model":"\#(model)","stream":\#(stream),"messages":\#(messages)}"#
        var fields = HeaderFields()
        fields.append("authorization", text: "Bearer sk-test")
        fields.append("content-type", text: "application/json")
        let asked = session.request(
            path: Array("/v1/chat/completions".utf8), authority: Array("g".utf8), isTLS: false,
            fields: fields, body: Array(body.utf8), owner: HTTP2StreamOwner(word: 1))
        #expect(asked != nil)
    }

    /// Carries bytes both ways.
    func exchange() {
        let received = world.receive(on: connection)
        session.receive(received.span, now: world.now)
        note(received)
        var sent: [UInt8] = []
        session.takeOutput(into: &sent, limit: 1 << 20, now: world.now)
        world.send(sent, on: connection)
        note([])
    }

    private func note(_ bytes: [UInt8]) {
        while let event = session.nextEvent() {
            switch event {
            case .head(let stream): heads[stream] = try? session.responseHead(of: stream)
            case .body(let stream, let range): bodies[stream, default: []] += bytes[range]
            case .end(let stream):
                guard let head = heads[stream] else { continue }
                let id = head.fields.value(of: "x-request-id") ?? []
                answers.append(
                    Answer(
                        status: head.status, requestID: String(decoding: id, as: UTF8.self),
                        body: String(decoding: bodies[stream] ?? [], as: UTF8.self)))
            case .closed, .refused, .roomChanged: break
            }
        }
    }
}
