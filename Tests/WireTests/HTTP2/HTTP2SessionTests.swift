import Primitives
import Testing
import Wire

/// A client's and a server's session with a wire between them.
private final class Pair {
    var client: HTTP2Session
    var server: HTTP2Session
    var now = Instant(nanoseconds: 1_000_000_000)
    let step: Int
    /// What the server was told, bodies put together.
    var requests: [Handle] = []
    var requestBodies: [Handle: [UInt8]] = [:]
    var endedRequests: [Handle] = []
    var closedRequests: [Handle: HTTP2ErrorCode] = [:]
    /// What the client was told.
    var statuses: [Handle: Int] = [:]
    var answerBodies: [Handle: [UInt8]] = [:]
    var endedAnswers: [Handle] = []
    var closedAnswers: [Handle: HTTP2ErrorCode] = [:]

    init(step: Int = .max, limits: HTTP2Limits = HTTP2Limits()) {
        self.step = step
        client = HTTP2Session(clientWith: HTTP2Limits(), now: now)
        server = HTTP2Session(serverWith: limits, now: now)
    }

    /// Carries bytes both ways, at most `rounds` times, until nothing is left to carry.
    func settle(rounds: Int = 200) {
        for _ in 0..<rounds {
            var up: [UInt8] = []
            client.takeOutput(into: &up, limit: 1 << 16, now: now)
            noteClient([])
            for piece in pieces(up) {
                server.receive(piece.span, now: now)
                noteServer(piece)
            }
            var down: [UInt8] = []
            server.takeOutput(into: &down, limit: 1 << 16, now: now)
            noteServer([])
            for piece in pieces(down) {
                client.receive(piece.span, now: now)
                noteClient(piece)
            }
            if up.isEmpty, down.isEmpty { return }
        }
    }

    func ask(_ body: [UInt8] = [1, 2, 3]) -> Handle? {
        client.request(
            path: [UInt8]("/v1/x".utf8), authority: [UInt8]("a".utf8), isTLS: false,
            fields: HeaderFields(), body: body, owner: HTTP2StreamOwner(word: 7, number: 1))
    }

    private func pieces(_ bytes: [UInt8]) -> [[UInt8]] {
        stride(from: 0, to: bytes.count, by: min(step, max(1, bytes.count))).map {
            Array(bytes[$0..<min($0 + min(step, bytes.count), bytes.count)])
        }
    }

    private func noteServer(_ bytes: [UInt8]) {
        while let event = server.nextEvent() {
            switch event {
            case .head(let stream): requests.append(stream)
            case .body(let stream, let range): requestBodies[stream, default: []] += bytes[range]
            case .end(let stream): endedRequests.append(stream)
            case .closed(let stream, let code): closedRequests[stream] = code
            case .refused, .roomChanged: break
            }
        }
    }

    /// Notes what bytes that were given to the client held.
    func note(_ bytes: [UInt8]) { noteClient(bytes) }

    private func noteClient(_ bytes: [UInt8]) {
        while let event = client.nextEvent() {
            switch event {
            case .head(let stream):
                statuses[stream] = (try? client.responseHead(of: stream))?.status
            case .body(let stream, let range): answerBodies[stream, default: []] += bytes[range]
            case .end(let stream): endedAnswers.append(stream)
            case .closed(let stream, let code): closedAnswers[stream] = code
            case .refused, .roomChanged: break
            }
        }
    }
}

@Suite struct HTTP2SessionTests {
    @Test(arguments: [false, true])
    func `trailers follow the body and end the stream`(_ hasBody: Bool) throws {
        let pair = Pair()
        let stream = try #require(pair.ask())
        pair.settle()
        let asked = try #require(pair.requests.first)
        pair.server.respond(
            asked, status: 200, fields: HeaderFields(), length: nil, isLast: false)
        pair.settle()
        var trailers = HeaderFields()
        trailers.append("x-end", "because")
        pair.server.setTrailers(trailers, of: asked)
        pair.server.append((hasBody ? [1, 2, 3] : []).span, to: asked, isLast: true)
        var output: [UInt8] = []
        pair.server.takeOutput(into: &output, limit: 1 << 16, now: pair.now)
        // RFC 9113 section 8.1: DATA without END_STREAM, then HEADERS with it.
        var frames: [(type: UInt8, endsStream: Bool)] = []
        var at = 0
        while at + 9 <= output.count {
            let length = Int(output[at]) << 16 | Int(output[at + 1]) << 8 | Int(output[at + 2])
            frames.append((output[at + 3], output[at + 4] & 1 == 1))
            at += 9 + length
        }
        #expect(frames.last?.type == 1)
        #expect(frames.last?.endsStream == true)
        #expect(frames.dropLast().allSatisfy { !$0.endsStream })
        pair.client.receive(output.span, now: pair.now)
        pair.note(output)
        pair.settle()
        #expect(pair.answerBodies[stream] ?? [] == (hasBody ? [1, 2, 3] : []))
        #expect(pair.endedAnswers == [stream])
        #expect(pair.closedAnswers == [stream: .none])
    }

    @Test(arguments: [Int.max, 1, 7])
    func `a request and its answer pass, however they are cut`(_ step: Int) throws {
        let pair = Pair(step: step)
        pair.settle()
        let question = [UInt8](repeating: 0x61, count: step == 1 ? 5_000 : 200_000)
        let stream = try #require(pair.ask(question))
        pair.settle()
        let asked = try #require(pair.requests.first)
        #expect(pair.requestBodies[asked] == question)
        #expect(pair.endedRequests == [asked])
        let head = try pair.server.requestHead(of: asked)
        #expect(head.method == .post)
        #expect(head.target == [UInt8]("/v1/x".utf8))
        #expect(head.authority == [UInt8]("a".utf8))
        #expect(head.framing == .length(question.count))
        var fields = HeaderFields()
        fields.append("x-a", "b")
        pair.server.respond(asked, status: 201, fields: fields, length: nil, isLast: false)
        pair.settle()
        #expect(pair.statuses == [stream: 201])
        let answer = [UInt8](repeating: 0x62, count: step == 1 ? 5_000 : 3_000_000)
        pair.server.append(answer.span, to: asked, isLast: true)
        pair.settle()
        #expect(pair.answerBodies[stream] == answer)
        #expect(pair.endedAnswers == [stream])
        #expect(pair.closedAnswers == [stream: .none])
        #expect(pair.closedRequests == [asked: .none])
        let (clientCount, serverCount) = (pair.client.streamCount, pair.server.streamCount)
        #expect(clientCount == 0 && serverCount == 0)
    }

    @Test func `a stream that is held stops at its window, and its neighbours go on`() throws {
        let pair = Pair()
        pair.settle()
        let slow = try #require(pair.ask())
        let fast = try #require(pair.ask())
        pair.settle()
        pair.client.setReading(false, stream: slow)
        let answer = [UInt8](repeating: 1, count: 3 << 20)
        for stream in pair.requests {
            pair.server.respond(
                stream, status: 200, fields: HeaderFields(), length: nil, isLast: false)
            pair.server.append(answer.span, to: stream, isLast: true)
        }
        pair.settle()
        #expect(pair.answerBodies[fast] == answer)
        let taken = pair.answerBodies[slow]?.count ?? 0
        #expect(taken > 0 && taken <= Limits.http2StreamWindowBytes)
        let backlog = pair.server.backlog(of: pair.requests[0])
        #expect(backlog == answer.count - taken)
        pair.client.setReading(true, stream: slow)
        pair.settle()
        #expect(pair.answerBodies[slow] == answer)
    }

    @Test func `a stream that is broken off is told to the other side`() throws {
        let pair = Pair()
        pair.settle()
        let stream = try #require(pair.ask())
        pair.settle()
        pair.client.reset(stream, .cancel)
        pair.settle()
        #expect(pair.closedRequests == [pair.requests[0]: .cancel])
        #expect(pair.closedAnswers == [stream: .cancel])
    }

    @Test func `a request that is broken off at once is never told`() throws {
        let pair = Pair()
        pair.settle()
        for _ in 0..<50 {
            let stream = try #require(pair.ask())
            var output: [UInt8] = []
            pair.client.takeOutput(into: &output, limit: 1 << 16, now: pair.now)
            pair.client.reset(stream, .cancel)
            pair.client.takeOutput(into: &output, limit: 1 << 16, now: pair.now)
            pair.server.receive(output.span, now: pair.now)
            let event = pair.server.nextEvent()
            #expect(event == nil)
        }
        let count = pair.server.streamCount
        #expect(count == 0)
    }

    @Test func `a server that says goodbye finishes what is open and takes no more`() throws {
        let pair = Pair()
        pair.settle()
        let stream = try #require(pair.ask())
        pair.settle()
        pair.server.announceShutdown()
        pair.settle()
        #expect(pair.ask() == nil)
        pair.server.shutDown()
        pair.settle()
        let isOver = pair.server.isOver
        #expect(!isOver)
        pair.server.respond(
            pair.requests[0], status: 200, fields: HeaderFields(), length: 0, isLast: true)
        pair.settle()
        #expect(pair.statuses == [stream: 200])
        let areOver = (pair.server.isOver, pair.client.isOver)
        #expect(areOver == (true, true))
    }

    @Test func `only as many requests go out as the peer takes`() throws {
        var limits = HTTP2Limits()
        limits.concurrentStreams = 3
        let pair = Pair(limits: limits)
        pair.settle()
        for _ in 0..<3 { #expect(pair.ask() != nil) }
        #expect(pair.ask() == nil)
        pair.settle()
        pair.server.respond(
            pair.requests[0], status: 200, fields: HeaderFields(), length: 0, isLast: true)
        pair.settle()
        #expect(pair.ask() != nil)
    }

    @Test func `an answer before the request's end breaks the request off without blame`() throws {
        let pair = Pair()
        pair.settle()
        // More than the window: the request cannot end by itself.
        let stream = try #require(pair.ask([UInt8](repeating: 0, count: 4 << 20)))
        pair.settle(rounds: 1)
        let asked = try #require(pair.requests.first)
        pair.server.setReading(false, stream: asked)
        pair.server.respond(
            asked, status: 413, fields: HeaderFields(), length: 0, isLast: true)
        pair.settle()
        #expect(pair.statuses == [stream: 413])
        #expect(pair.closedAnswers == [stream: .none])
    }
}
