import Primitives
import Wire

/// HTTP/2 on either side, from the bytes behind the preface.
enum HTTP2Fuzzing {
    /// What a peer's bytes meant, streams in the order in which they began.
    private struct Story: Equatable {
        var heads = 0
        var bodyBytes = 0
        var ends = 0
        var isOver = false
        /// A stream was broken off: nothing need be told of it, if that comes in the same piece.
        var isBroken = false

        /// After its end, or a GOAWAY, a session tells no more; where that is depends on the cuts.
        static func == (left: Story, right: Story) -> Bool {
            left.isBroken || right.isBroken || left.isOver || right.isOver
                || (left.heads, left.bodyBytes, left.ends)
                    == (right.heads, right.bodyBytes, right.ends)
        }
    }

    private static let preface = [UInt8]("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    private static let now = Instant(nanoseconds: 1_000_000_000)

    /// Small, so that inputs reach them.
    private static let limits: HTTP2Limits = {
        var limits = HTTP2Limits()
        limits.headerListBytes = 2 << 10
        limits.headerFields = 16
        limits.targetBytes = 128
        limits.concurrentStreams = 8
        limits.streamWindowBytes = 4 << 10
        limits.connectionWindowBytes = 64 << 10
        return limits
    }()

    /// A client's frames: read in one piece, read in many, and answered.
    static func server(_ bytes: [UInt8]) {
        var choices = Choices(bytes)
        let whole = serve([preface + bytes], isAnswered: false)
        let cut = serve(choices.pieces(preface + bytes), isAnswered: false)
        precondition(whole == cut, "frames mean something else when cut")
        precondition(whole.bodyBytes <= bytes.count, "more body than bytes")
        _ = serve(choices.pieces(preface + bytes), isAnswered: true)
    }

    private static func serve(_ pieces: [[UInt8]], isAnswered: Bool) -> Story {
        var session = HTTP2Session(serverWith: limits, now: now)
        var story = Story()
        var output: [UInt8] = []
        for piece in pieces {
            session.receive(piece.span, now: now)
            while let event = session.nextEvent() {
                switch event {
                case .head(let stream):
                    story.heads += 1
                    guard let head = try? session.requestHead(of: stream) else { continue }
                    HTTP1Fuzzing.checkFields(head.fields)
                    precondition(head.target.count <= limits.targetBytes, "too long a target")
                case .body(_, let range):
                    precondition(piece.indices.contains(range), "a body outside the bytes")
                    story.bodyBytes += range.count
                case .end(let stream):
                    story.ends += 1
                    if isAnswered { answer(stream, &session) }
                case .refused(let stream, _): if isAnswered { answer(stream, &session) }
                case .closed:
                    // Without an answer only the peer can have done that, with NO_ERROR too, and
                    // behind the end of its request.
                    story.isBroken = true
                case .roomChanged: break
                }
            }
            precondition(session.streamCount <= limits.concurrentStreams + 1, "too many streams")
            if isAnswered { session.takeOutput(into: &output, limit: 1 << 14, now: now) }
        }
        session.takeOutput(into: &output, limit: 1 << 20, now: now)
        noteEnds(&session, &story)
        precondition(output.count <= pieces.count << 14 + 1 << 20, "output without bound")
        story.isOver = session.isOver
        return story
    }

    private static func answer(_ stream: Handle, _ session: inout HTTP2Session) {
        guard session.contains(stream) else { return }
        var fields = HeaderFields()
        fields.append("x-a", "b")
        session.respond(stream, status: 200, fields: fields, length: nil, isLast: false)
        session.append([UInt8](repeating: 0x61, count: 100).span, to: stream, isLast: true)
    }

    /// A backend's frames, to a client that has asked twice.
    static func client(_ bytes: [UInt8]) {
        var choices = Choices(bytes)
        let whole = ask([bytes])
        let cut = ask(choices.pieces(bytes))
        precondition(whole == cut, "frames mean something else when cut")
        precondition(whole.bodyBytes <= bytes.count, "more body than bytes")
    }

    private static func ask(_ pieces: [[UInt8]]) -> Story {
        var session = HTTP2Session(clientWith: limits, now: now)
        var story = Story()
        var output: [UInt8] = []
        for number in 0..<2 {
            _ = session.request(
                path: [UInt8]("/v1/x".utf8), authority: [UInt8]("a".utf8), isTLS: false,
                fields: HeaderFields(), body: [1, 2, 3],
                owner: HTTP2StreamOwner(word: 7, number: number))
        }
        session.takeOutput(into: &output, limit: 1 << 14, now: now)
        for piece in pieces {
            session.receive(piece.span, now: now)
            while let event = session.nextEvent() {
                switch event {
                case .head(let stream):
                    story.heads += 1
                    guard let head = try? session.responseHead(of: stream) else { continue }
                    precondition((100..<1000).contains(head.status), "a status that is none")
                    HTTP1Fuzzing.checkFields(head.fields)
                case .body(_, let range):
                    precondition(piece.indices.contains(range), "a body outside the bytes")
                    story.bodyBytes += range.count
                case .end: story.ends += 1
                case .closed(_, let code): story.isBroken = story.isBroken || code != .none
                case .refused, .roomChanged: break
                }
            }
        }
        session.takeOutput(into: &output, limit: 1 << 20, now: now)
        noteEnds(&session, &story)
        story.isOver = session.isOver
        return story
    }

    /// Streams that we break off have ended once the peer is told so.
    private static func noteEnds(_ session: inout HTTP2Session, _ story: inout Story) {
        while let event = session.nextEvent() {
            if case .closed(_, let code) = event, code != .none { story.isBroken = true }
        }
    }
}

extension Range where Bound == Int {
    /// Whether all of another range lies in this one.
    fileprivate func contains(_ other: Range<Int>) -> Bool {
        other.lowerBound >= lowerBound && other.upperBound <= upperBound
    }
}
