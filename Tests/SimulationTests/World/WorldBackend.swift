import Foundation
import Primitives
import Wire

@testable import Runtime
@testable import Simulator

/// What a backend does with one request of a world: decided by the world's generator.
struct ScriptedReply {
    /// How it ends after its pieces.
    enum Ending { case complete, cut, reset }

    var status = 200
    var contentType = "application/json"
    var retryAfter: Int?
    var isStreamed = false
    /// The body, cut anywhere.
    var pieces: [[UInt8]] = []
    /// The pause before each piece, in milliseconds.
    var pauses: [Int] = []
    var ending = Ending.complete
    /// Whether a client that got all of it has got a whole answer.
    var isHonest = true
    /// The tokens that it reports, if it comes so far.
    var usage: Usage?

    struct Usage: Equatable {
        let input: Int
        let output: Int
    }
}

/// What a backend saw and said of one request.
struct BackendRecord {
    let host: String
    let request: SimulatedRequest
    let reply: ScriptedReply
    let askedAt: WallTime
}

/// Writes replies of every kind: good, slow, refusing, lying, broken.
struct ReplyScript {
    /// The share of replies in which something is wrong.
    let troubleRate: Double

    func reply(
        to request: SimulatedRequest, mark: String, random: inout SeededGenerator
    ) -> ScriptedReply {
        let isBedrock = request.path.span.starts(with: "/model/")
        let isStreamed =
            isBedrock
            ? String(decoding: request.path, as: UTF8.self).hasSuffix("converse-stream")
            : String(decoding: request.body, as: UTF8.self).contains(#""stream":true"#)
        let isTroubled = Double.random(in: 0..<1, using: &random) < troubleRate
        let trouble = isTroubled ? Int.random(in: 0..<9, using: &random) : -1
        if (0..<3).contains(trouble) { return refusal(isBedrock, &random) }
        let usage = ScriptedReply.Usage(
            input: Int.random(in: 1...400, using: &random),
            output: Int.random(in: 1...400, using: &random))
        var reply = ScriptedReply()
        reply.usage = trouble == 3 ? nil : usage
        reply.isStreamed = isStreamed
        var body: [UInt8]
        if isBedrock {
            body = isStreamed ? converseStream(mark, reply.usage) : converse(mark, reply.usage)
            if isStreamed { reply.contentType = "application/vnd.amazon.eventstream" }
        } else {
            body = isStreamed ? chunks(mark, reply.usage) : completion(mark, reply.usage)
            if isStreamed { reply.contentType = "text/event-stream" }
        }
        apply(trouble, isBedrock, to: &body, &reply, &random)
        cut(body, into: &reply, &random)
        return reply
    }

    private func apply(
        _ trouble: Int, _ isBedrock: Bool, to body: inout [UInt8], _ reply: inout ScriptedReply,
        _ random: inout SeededGenerator
    ) {
        let middle = Int.random(in: 0..<body.count, using: &random)
        switch trouble {
        case 4, 5:
            body = Array(body.prefix(middle))
            reply.ending = trouble == 4 ? .reset : .cut
            reply.isHonest = false
        case 6:
            // Ends as HTTP, in the middle of what it says; or just behind Bedrock's messageStop: then
            // only the usage is missing.
            body = Array(body.prefix(middle))
            reply.isHonest =
                isBedrock && reply.isStreamed
                && body.dropLast(4).suffix(24).elementsEqual(#""stopReason":"end_turn"}"#.utf8)
        case 7 where reply.isStreamed:
            body = isBedrock ? exceptionStream(after: body) : lyingStream(after: body)
            reply.isHonest = false
        case 8:
            body = (0..<200).map { _ in UInt8.random(in: 0...255, using: &random) }
            reply.isHonest = false
            reply.usage = nil
        default: break
        }
    }

    private func refusal(_ isBedrock: Bool, _ random: inout SeededGenerator) -> ScriptedReply {
        var reply = ScriptedReply()
        reply.status = [400, 429, 500, 503].randomElement(using: &random) ?? 500
        reply.retryAfter = reply.status == 429 ? 1 : nil
        reply.isHonest = false
        let body =
            isBedrock
            ? #"{"message":"the model says no"}"#
            : #"{"object":"error","message":"the model says no","type":"X","code":400}"#
        cut(Array(body.utf8), into: &reply, &random)
        return reply
    }

    private func cut(
        _ body: [UInt8], into reply: inout ScriptedReply, _ random: inout SeededGenerator
    ) {
        var rest = body[...]
        let longest = [body.count + 1, 400, 60, 7].randomElement(using: &random) ?? 400
        let isSlow = Bool.random(using: &random)
        while !rest.isEmpty, reply.pieces.count < 200 {
            let count = Int.random(in: 1...max(1, longest), using: &random)
            reply.pieces.append(Array(rest.prefix(count)))
            reply.pauses.append(isSlow ? Int.random(in: 0...40, using: &random) : 0)
            rest = rest.dropFirst(count)
        }
        if !rest.isEmpty {
            reply.pieces.append(Array(rest))
            reply.pauses.append(0)
        }
    }

    // MARK: - Dialects

    private func completion(_ mark: String, _ usage: ScriptedReply.Usage?) -> [UInt8] {
        let counts =
            usage.map {
                #","usage":{"prompt_tokens":\#($0.input),"completion_tokens":\#($0.output),"#
                    + #""total_tokens":\#($0.input + $0.output)}"#
            } ?? ""
        return Array(
            (#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"#
                + #""message":{"role":"assistant","content":"\#(mark) grüßt 🐕"},"#
                + #""finish_reason":"stop"}]\#(counts)}"#).utf8)
    }

    private func chunk(_ choices: String, _ rest: String = "") -> String {
        #"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","#
            + #""choices":[\#(choices)]\#(rest)}"# + "\n\n"
    }

    private func chunks(_ mark: String, _ usage: ScriptedReply.Usage?) -> [UInt8] {
        var text = ""
        // Some say far more than was set aside for them.
        let tale = Array(repeating: "und geht und geht ", count: (usage?.output ?? 0) % 150)
        for word in ["\(mark) ", "grüßt ", "🐕🐈 "] + tale {
            text += chunk(#"{"index":0,"delta":{"content":"\#(word)"},"finish_reason":null}"#)
        }
        text += chunk(#"{"index":0,"delta":{},"finish_reason":"stop"}"#)
        if let usage {
            text += chunk(
                "",
                #","usage":{"prompt_tokens":\#(usage.input),"completion_tokens":\#(usage.output),"#
                    + #""total_tokens":\#(usage.input + usage.output)}"#)
        }
        return Array((text + "data: [DONE]\n\n").utf8)
    }

    /// vLLM says `[DONE]` even after its engine has died.
    private func lyingStream(after body: [UInt8]) -> [UInt8] {
        let events = String(decoding: body, as: UTF8.self).components(separatedBy: "\n\n")
        let error = #"data: {"error":{"message":"engine died","type":"X","code":500}}"#
        return Array(
            (events.prefix(2) + [error, "data: [DONE]", ""]).joined(separator: "\n\n").utf8)
    }

    private func counts(_ usage: ScriptedReply.Usage?) -> String {
        guard let usage else { return "" }
        return #""usage":{"inputTokens":\#(usage.input),"outputTokens":\#(usage.output),"#
            + #""totalTokens":\#(usage.input + usage.output)},"#
    }

    private func converse(_ mark: String, _ usage: ScriptedReply.Usage?) -> [UInt8] {
        Array(
            (#"{\#(counts(usage))"output":{"message":{"role":"assistant","content":"#
                + #"[{"text":"\#(mark) grüßt"}]}},"stopReason":"end_turn","#
                + #""metrics":{"latencyMs":1}}"#).utf8)
    }

    private func converseStream(_ mark: String, _ usage: ScriptedReply.Usage?) -> [UInt8] {
        var bytes: [UInt8] = []
        let event = { (name: String, payload: String) in
            EventStreamEncoder.event(name, payload: Array(payload.utf8), to: &bytes)
        }
        event("messageStart", #"{"role":"assistant"}"#)
        for word in ["\(mark) ", "grüßt ", "🐕🐈"] {
            event(
                "contentBlockDelta", #"{"contentBlockIndex":0,"delta":{"text":"\#(word)"},"p":"a"}"#
            )
        }
        event("contentBlockStop", #"{"contentBlockIndex":0}"#)
        event("messageStop", #"{"stopReason":"end_turn"}"#)
        event("metadata", #"{\#(counts(usage))"metrics":{"latencyMs":1}}"#)
        return bytes
    }

    private func exceptionStream(after body: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        EventStreamEncoder.event(
            "messageStart", payload: Array(#"{"role":"assistant"}"#.utf8), to: &bytes)
        EventStreamEncoder.exception(
            "modelStreamErrorException", payload: Array(#"{"message":"it broke"}"#.utf8),
            to: &bytes)
        return bytes
    }
}

/// A backend's end of one connection, in the version that its first bytes show.
final class WorldBackend {
    private enum Dialect {
        case unknown
        case http1(RequestAccumulator)
        case http2
    }

    private struct Playing {
        let stream: Handle?
        let reply: ScriptedReply
        var next = 0
        var due: Instant
    }

    let connection: Int32
    private let world: SimulatedWorld
    private var dialect = Dialect.unknown
    private var first: [UInt8] = []
    private var session: HTTP2Session
    private var heads: [Handle: RequestHead] = [:]
    private var bodies: [Handle: [UInt8]] = [:]
    private var playing: [Playing] = []
    private var isOver = false

    init(_ world: SimulatedWorld, _ connection: Int32, streams: Int) {
        self.world = world
        self.connection = connection
        var limits = HTTP2Limits()
        limits.concurrentStreams = streams
        session = HTTP2Session(serverWith: limits, now: world.now)
    }

    /// When it will say something next.
    var nextDue: Instant? {
        isOver || world.isClosed(connection) ? nil : playing.map(\.due).min()
    }

    /// Takes what has come and says what is due. `decide` gives the reply to a request; nil: silence.
    func step(_ decide: (SimulatedRequest) -> ScriptedReply?) {
        guard !isOver, !world.isClosed(connection) else { return }
        var bytes = world.receive(on: connection)
        if case .unknown = dialect {
            first += bytes
            switch HTTP2Preface.match(first.span) {
            case .partial: return
            case .whole: dialect = .http2
            case .none: dialect = .http1(RequestAccumulator())
            }
            bytes = first
            first = []
        }
        switch dialect {
        case .unknown: break
        case .http1(let accumulator):
            for request in accumulator.receive(bytes) { begin(decide(request), nil) }
        case .http2: receive(bytes, decide)
        }
        play()
        flush()
    }

    private func receive(_ bytes: [UInt8], _ decide: (SimulatedRequest) -> ScriptedReply?) {
        session.receive(bytes.span, now: world.now)
        while let event = session.nextEvent() {
            switch event {
            case .head(let stream): heads[stream] = try? session.requestHead(of: stream)
            case .body(let stream, let range): bodies[stream, default: []] += bytes[range]
            case .end(let stream):
                guard let head = heads[stream] else { continue }
                begin(decide(SimulatedRequest(head: head, body: bodies[stream] ?? [])), stream)
            case .closed(let stream, _): playing.removeAll { $0.stream == stream }
            case .refused, .roomChanged: break
            }
        }
    }

    private func begin(_ reply: ScriptedReply?, _ stream: Handle?) {
        guard let reply else { return }
        var fields = HeaderFields()
        fields.append("content-type", text: reply.contentType)
        if let seconds = reply.retryAfter { fields.append("retry-after", decimal: seconds) }
        if let stream {
            session.respond(
                stream, status: reply.status, fields: fields, length: nil, isLast: false)
        } else {
            var head: [UInt8] = []
            HTTP1Writer.responseHead(
                status: reply.status, fields: fields, framing: .chunked, keepAlive: true,
                version: .http11, into: &head)
            world.send(head, on: connection)
        }
        playing.append(
            Playing(
                stream: stream, reply: reply,
                due: world.now.advanced(byMilliseconds: reply.pauses.first ?? 0)))
    }

    private func play() {
        for index in playing.indices.reversed() where playing[index].due <= world.now {
            while playing[index].due <= world.now,
                playing[index].next < playing[index].reply.pieces.count
            {
                let reply = playing[index].reply
                write(reply.pieces[playing[index].next], playing[index].stream)
                playing[index].next += 1
                let pause =
                    playing[index].next < reply.pauses.count ? reply.pauses[playing[index].next] : 0
                playing[index].due = playing[index].due.advanced(byMilliseconds: pause)
            }
            guard playing[index].next >= playing[index].reply.pieces.count else { continue }
            let done = playing.remove(at: index)
            finish(done.reply.ending, done.stream)
        }
    }

    private func write(_ piece: [UInt8], _ stream: Handle?) {
        if let stream {
            if session.contains(stream) { session.append(piece.span, to: stream, isLast: false) }
        } else {
            var chunk: [UInt8] = []
            HTTP1Writer.chunk(piece.span, into: &chunk)
            world.send(chunk, on: connection)
        }
    }

    private func finish(_ ending: ScriptedReply.Ending, _ stream: Handle?) {
        switch (ending, stream) {
        case (.complete, nil):
            var last: [UInt8] = []
            HTTP1Writer.lastChunk(into: &last)
            world.send(last, on: connection)
        case (.complete, let stream?):
            if session.contains(stream) { session.append([UInt8]().span, to: stream, isLast: true) }
        case (.cut, nil):
            world.end(connection)
            isOver = true
        case (.reset, nil):
            world.reset(connection)
            isOver = true
        case (.cut, let stream?), (.reset, let stream?): session.reset(stream, .internalError)
        }
    }

    private func flush() {
        guard case .http2 = dialect else { return }
        var output: [UInt8] = []
        session.takeOutput(into: &output, limit: 1 << 20, now: world.now)
        world.send(output, on: connection)
    }
}
