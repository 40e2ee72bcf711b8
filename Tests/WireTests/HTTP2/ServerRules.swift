import Primitives
import TestSupport
import Testing
import Wire

/// What RFC 9113 wants a server to do with some bytes.
struct ServerRule: Sendable, CustomTestStringConvertible {
    enum Outcome: Sendable {
        /// GOAWAY with this code, and the end.
        case connectionError(UInt32)
        /// RST_STREAM with this code; the connection goes on.
        case streamError(UInt32, stream: UInt32 = 1)
        /// A whole answer with 200.
        case answer(stream: UInt32 = 1)
        /// A whole answer with another status.
        case refusal(status: Int)
        /// Frames of data of these lengths, and no more, on stream 1.
        case data([Int])
        /// A PING's answer, as after every case that leaves the connection usable.
        case alive
        /// SETTINGS are acknowledged as often as they came.
        case acknowledgements(Int)
        /// There is nothing left to do: the connection is closed without blame.
        case over
    }

    let section: String
    let rule: String
    /// Between two steps everything that is to be sent is sent.
    let steps: [[UInt8]]
    let outcome: Outcome
    /// Requests are answered as soon as they are complete.
    let isAnswered: Bool
    let greeting: [UInt8]

    var testDescription: String { "RFC \(section): \(rule)" }

    init(
        _ section: String, _ rule: String, _ steps: [[UInt8]], _ outcome: Outcome,
        isAnswered: Bool = true, greeting: [UInt8] = Self.greeting
    ) {
        self.section = section
        self.rule = rule
        self.steps = steps
        self.outcome = outcome
        self.isAnswered = isAnswered
        self.greeting = greeting
    }

    /// Preface and SETTINGS without a table, so that a test can read the answers' heads.
    static let greeting =
        RawFrame.preface + RawFrame.settings([(0x1, 0)]) + RawFrame.settingsAcknowledgement
}

/// A server's session that answers every complete request with ten bytes.
final class ServerUnderTest {
    static let body = [UInt8]("0123456789".utf8)

    var session: HTTP2Session
    var now = Instant(nanoseconds: 1_000_000_000)
    var isAnswering = true
    private(set) var frames: [SeenFrame] = []
    private(set) var requests: [RequestHead] = []
    private(set) var bodies: [Handle: [UInt8]] = [:]
    private var answered: Set<Handle> = []
    /// Everything that was sent, in bytes.
    private(set) var sentBytes = 0

    init(greeting: [UInt8] = ServerRule.greeting, limits: HTTP2Limits = HTTP2Limits()) {
        session = HTTP2Session(serverWith: limits, now: now)
        feed(greeting)
        takeOutput()
    }

    /// Receives bytes, at most `step` at once, sending in between.
    func feed(_ bytes: [UInt8], step: Int = .max) {
        var at = 0
        while at < bytes.count {
            let piece = Array(bytes[at..<min(bytes.count, at.addingClamped(step))])
            at += piece.count
            session.receive(piece.span, now: now)
            note(piece)
            if step < bytes.count { takeOutput() }
        }
    }

    func takeOutput() {
        while true {
            var bytes: [UInt8] = []
            session.takeOutput(into: &bytes, limit: 1 << 16, now: now)
            sentBytes += bytes.count
            frames += SeenFrame.all(in: bytes)
            note([])
            if bytes.isEmpty { return }
        }
    }

    private func note(_ bytes: [UInt8]) {
        while let event = session.nextEvent() {
            switch event {
            case .head(let stream):
                do {
                    requests.append(try session.requestHead(of: stream))
                } catch { answer(stream, error.status) }
            case .refused(let stream, let failure): answer(stream, failure.status)
            case .body(let stream, let range): bodies[stream, default: []] += bytes[range]
            case .end(let stream): if isAnswering { answer(stream, 200) }
            case .closed, .roomChanged: break
            }
        }
    }

    private func answer(_ stream: Handle, _ status: Int) {
        guard answered.insert(stream).inserted else { return }
        session.respond(
            stream, status: status, fields: HeaderFields(), length: Self.body.count,
            isLast: false)
        session.append(Self.body.span, to: stream, isLast: true)
    }
}

extension Int {
    fileprivate func addingClamped(_ other: Int) -> Int {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}

@Suite struct ServerRuleTests {
    static let rules =
        ConnectionRules.all + StreamRules.all + FrameRules.all + MessageRules.all
        + CompressionRules.all

    @Test(arguments: rules, [Int.max, 1])
    func `a server keeps the rule, however its bytes are cut`(_ rule: ServerRule, _ step: Int) {
        let server = ServerUnderTest(greeting: [])
        server.isAnswering = rule.isAnswered
        server.feed(rule.greeting, step: step)
        server.takeOutput()
        for bytes in rule.steps {
            server.feed(bytes, step: step)
            server.takeOutput()
        }
        let errors = server.frames.filter { $0.kind == RawFrame.goAwayKind }
        switch rule.outcome {
        case .connectionError(let code):
            #expect(errors.map(\.errorCode) == [code])
            let isOver = server.session.isOver
            #expect(isOver)
        case .over:
            let isOver = server.session.isOver
            #expect(isOver)
            #expect(errors.isEmpty)
        default:
            #expect(errors.isEmpty)
            checkStreams(rule.outcome, server.frames)
            checkLife(server, step)
        }
    }

    private func checkStreams(_ outcome: ServerRule.Outcome, _ frames: [SeenFrame]) {
        let resets = frames.filter { $0.kind == RawFrame.resetKind }
        let heads = frames.filter { $0.kind == RawFrame.headersKind }
        switch outcome {
        case .streamError(let code, let stream):
            #expect(resets.map(\.errorCode) == [code])
            #expect(resets.map(\.stream) == [stream])
            #expect(heads.filter { $0.stream == stream }.isEmpty)
        case .answer(let stream):
            #expect(resets.isEmpty)
            #expect(heads.filter { $0.stream == stream }.map(\.status) == [200])
            #expect(frames.contains { $0.stream == stream && $0.kind <= 1 && $0.isLast })
        case .refusal(let status): #expect(heads.map(\.status) == [status])
        case .data(let lengths):
            let data = frames.filter { $0.kind == RawFrame.dataKind && $0.stream == 1 }
            #expect(data.map(\.payload.count) == lengths)
        case .acknowledgements(let count):
            let acknowledgements = frames.filter {
                $0.kind == RawFrame.settingsKind && $0.flags == RawFrame.acknowledgement
            }
            #expect(acknowledgements.count == count)
        case .alive: #expect(resets.isEmpty)
        case .connectionError, .over: break
        }
    }

    private func checkLife(_ server: ServerUnderTest, _ step: Int) {
        server.feed(RawFrame.ping(0x5a), step: step)
        server.takeOutput()
        let pong = RawFrame.ping(0x5a, flags: RawFrame.acknowledgement)
        #expect(server.frames.suffix(1) == SeenFrame.all(in: pong)[...])
        let isOver = server.session.isOver
        #expect(!isOver)
    }
}

/// Error codes of RFC 9113 section 7.
enum Code {
    static let protocolError: UInt32 = 0x1
    static let flowControlError: UInt32 = 0x3
    static let streamClosed: UInt32 = 0x5
    static let frameSizeError: UInt32 = 0x6
    static let refusedStream: UInt32 = 0x7
    static let compressionError: UInt32 = 0x9
    static let enhanceYourCalm: UInt32 = 0xb
}
