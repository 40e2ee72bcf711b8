import Primitives
import Wire

@testable import Runtime

/// One request of a world's client.
struct WorldAsk {
    let mark: String
    let model: String
    let isStreamed: Bool
    let key: String
    let maximumTokens: Int?
    let user: String?

    var body: [UInt8] {
        var text = #"{"model":"\#(model)","stream":\#(isStreamed),"#
        if let maximumTokens { text += #""max_tokens":\#(maximumTokens),"# }
        if let user { text += #""user":"\#(user)","# }
        text += #""messages":[{"role":"user","content":"this is \#(mark), hello"}]}"#
        return Array(text.utf8)
    }
}

/// A client of a world: it asks, reads at its own pace, and may leave.
final class WorldClient {
    /// What it does besides asking and reading.
    enum Habit: CaseIterable { case none, slow, leaving, halfClosing, cancelling }

    /// One answer, as far as it came.
    struct Answer {
        var status = 0
        var body: [UInt8] = []
        var isComplete = false
    }

    let version: HTTPVersion
    let connection: Int32
    let habit: Habit
    private(set) var asked: [WorldAsk] = []
    private(set) var hasLeft = false
    private let world: SimulatedWorld
    private var waiting: [WorldAsk]
    private var session: HTTP2Session
    private var streams: [Handle: String] = [:]
    private var finished: [String: Answer] = [:]
    /// The values of HTTP/2 answers' fields.
    private var heads: [UInt8] = []
    private var received: [UInt8] = []
    private var openStreams: [Handle] = []

    init(_ world: SimulatedWorld, _ version: HTTPVersion, _ habit: Habit, _ asks: [WorldAsk]) {
        self.world = world
        self.version = version
        self.habit = habit
        waiting = asks
        connection = world.connectClient()
        session = HTTP2Session(clientWith: HTTP2Limits(), now: world.now)
        if habit == .slow { world.setWindow(300, on: connection) }
    }

    /// Goes on for a moment.
    func step(_ random: inout SeededGenerator) {
        guard !hasLeft else { return }
        if !waiting.isEmpty, Int.random(in: 0..<4, using: &random) == 0 {
            ask(waiting.removeFirst())
        }
        if habit == .slow, Int.random(in: 0..<3, using: &random) != 0 { return }
        read()
        guard Int.random(in: 0..<40, using: &random) == 0 else { return }
        switch habit {
        case .leaving where !asked.isEmpty: leave()
        case .halfClosing where waiting.isEmpty && version != .http2: world.end(connection)
        case .cancelling:
            for stream in openStreams { session.reset(stream, .cancel) }
        case .none, .slow, .leaving, .halfClosing: break
        }
    }

    /// From now on it asks for nothing new and reads as fast as it can.
    func calmDown() {
        waiting = []
        world.setWindow(.max, on: connection)
    }

    private func leave() {
        hasLeft = true
        world.reset(connection)
    }

    private func ask(_ ask: WorldAsk) {
        asked.append(ask)
        let body = ask.body
        guard version == .http2 else {
            let head =
                "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nx-request-id: \(ask.mark)\r\n"
                + "authorization: Bearer \(ask.key)\r\ncontent-type: application/json\r\n"
                + "content-length: \(body.count)\r\n\r\n"
            return world.send(Array(head.utf8) + body, on: connection)
        }
        var fields = HeaderFields()
        fields.append("authorization", text: "Bearer \(ask.key)")
        fields.append("content-type", "application/json")
        fields.append("x-request-id", text: ask.mark)
        let stream = session.request(
            path: Array("/v1/chat/completions".utf8), authority: [0x67], isTLS: false,
            fields: fields, body: body, owner: HTTP2StreamOwner(word: 1))
        guard let stream else {
            asked.removeLast()
            return
        }
        streams[stream] = ask.mark
        openStreams.append(stream)
        finished[ask.mark] = Answer()
    }

    func read() {
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
        world.send(output, on: connection)
    }

    private func note(_ bytes: [UInt8]) {
        while let event = session.nextEvent() {
            switch event {
            case .head(let stream):
                guard let mark = streams[stream] else { continue }
                guard let head = try? session.responseHead(of: stream) else { continue }
                finished[mark]?.status = head.status
                for index in 0..<head.fields.count {
                    heads.append(span: head.fields.value(at: index))
                }
            case .body(let stream, let range):
                guard let mark = streams[stream] else { continue }
                finished[mark]?.body += bytes[range]
            case .end(let stream):
                guard let mark = streams[stream] else { continue }
                finished[mark]?.isComplete = true
            case .closed(let stream, _):
                streams[stream] = nil
                openStreams.removeAll { $0 == stream }
            case .refused, .roomChanged: break
            }
        }
    }

    /// All answers by the marks of their requests; nil: what came is not HTTP.
    func answers() -> [String: Answer]? {
        guard version != .http2 else { return finished }
        let view = ClientView(received)
        guard !view.isMalformed, view.answers.count <= asked.count else { return nil }
        var answers: [String: Answer] = [:]
        for (ask, answer) in zip(asked, view.answers) {
            answers[ask.mark] = Answer(
                status: answer.status, body: Array(answer.body.utf8), isComplete: true)
        }
        return answers
    }

    /// Everything that was sent to it.
    var seen: [UInt8] { version == .http2 ? heads + finished.values.flatMap(\.body) : received }
}
