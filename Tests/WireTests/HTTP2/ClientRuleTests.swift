import Primitives
import TestSupport
import Testing
import Wire

private typealias Frame = RawFrame
private typealias Block = HeaderBlock

/// What RFC 9113 wants a client to do with a server's bytes, after it has asked on stream 1.
struct ClientRule: Sendable, CustomTestStringConvertible {
    enum Outcome: Sendable {
        /// GOAWAY with this code, and the end.
        case connectionError(UInt32)
        /// The answer is lost: RST_STREAM with this code.
        case streamError(UInt32)
        /// An answer with this status and this many bytes, complete.
        case answer(Int, bytes: Int)
        /// The stream ends with this code, and no answer is complete.
        case broken(UInt32)
        /// Nothing happens; the stream waits on.
        case waiting
    }

    let section: String
    let rule: String
    let bytes: [UInt8]
    let outcome: Outcome
    var testDescription: String { "RFC \(section): \(rule)" }

    init(_ section: String, _ rule: String, _ bytes: [UInt8], _ outcome: Outcome) {
        self.section = section
        self.rule = rule
        self.bytes = bytes
        self.outcome = outcome
    }
}

private func head(
    _ fields: [Block.Field], flags: UInt8 = Frame.endHeaders, stream: UInt32 = 1
) -> [UInt8] {
    Frame.headers(stream, Block.literals(fields), flags: flags)
}

private let ok = head([(":status", "200")])
private let lost = ClientRule.Outcome.streamError(Code.protocolError)
private let wrong = ClientRule.Outcome.connectionError(Code.protocolError)

enum ClientRules {
    static let all = messages + frames

    private static let messages: [ClientRule] = [
        ClientRule(
            "9113 8.1", "an answer with a body", ok + Frame.data(1, [1, 2]),
            .answer(200, bytes: 2)),
        ClientRule(
            "9113 8.1", "an answer without one", head([(":status", "204")], flags: 5),
            .answer(204, bytes: 0)),
        ClientRule(
            "9113 8.1", "interim answers come before it",
            head([(":status", "103"), ("link", "x")]) + head([(":status", "100")]) + ok
                + Frame.data(1, []), .answer(200, bytes: 0)),
        ClientRule(
            "9113 8.1", "trailers come after it",
            ok + Frame.data(1, [1], flags: 0) + head([("x", "y")], flags: 5),
            .answer(200, bytes: 1)),
        ClientRule(
            "9113 8.1", "an interim answer ends nothing", head([(":status", "100")], flags: 5), lost
        ),
        ClientRule("9113 8.6", "HTTP/2 switches no protocols", head([(":status", "101")]), lost),
        ClientRule("9113 8.3.2", "no status", head([("x", "y")]), lost),
        ClientRule("9113 8.3.2", "two", head([(":status", "200"), (":status", "200")]), lost),
        ClientRule("9113 8.3.2", "a status that is no number", head([(":status", "2x0")]), lost),
        ClientRule("9113 8.3.2", "a status of four digits", head([(":status", "2000")]), lost),
        ClientRule(
            "9113 8.3", "a pseudo-header field of requests",
            head([(":status", "200"), (":path", "/")]), lost),
        ClientRule(
            "9113 8.3", "a status after a field", head([("x", "y"), (":status", "200")]), lost),
        ClientRule(
            "9113 8.2.1", "upper case in a name", head([(":status", "200"), ("X", "y")]), lost),
        ClientRule(
            "9113 8.2.1", "a line end in a value", head([(":status", "200"), ("x", "a\r\nb")]), lost
        ),
        ClientRule(
            "9113 8.2.2", "connection", head([(":status", "200"), ("connection", "close")]), lost),
        ClientRule(
            "9113 8.2.2", "transfer-encoding",
            head([(":status", "200"), ("transfer-encoding", "chunked")]), lost),
        ClientRule(
            "9113 8.1.1", "less than content-length says",
            head([(":status", "200"), ("content-length", "3")]) + Frame.data(1, [1]), lost),
        ClientRule(
            "9113 8.1.1", "more than content-length says",
            head([(":status", "200"), ("content-length", "1")]) + Frame.data(1, [1, 2]), lost),
        ClientRule(
            "9113 8.1.1", "a content-length that is kept",
            head([(":status", "200"), ("content-length", "1")]) + Frame.data(1, [1]),
            .answer(200, bytes: 1)),
        ClientRule("9113 8.1", "DATA before the head", Frame.data(1, [1]), wrong),
        ClientRule(
            "9113 8.1", "trailers without an end",
            ok + Frame.data(1, [1], flags: 0) + head([("x", "y")]), lost),
        ClientRule(
            "9113 10.5.1", "a header list that is too long",
            Frame.headers(
                1, Block.literals([(":status", "200")]) + [UInt8](repeating: 0x90, count: 900),
                flags: Frame.endHeaders), lost),
        ClientRule(
            "9113 10.5.1", "a header list without an end",
            Frame.headers(
                1, Block.literals([(":status", "200")]) + [UInt8](repeating: 0x90, count: 9_000),
                flags: Frame.endHeaders), .streamError(Code.enhanceYourCalm)),
        ClientRule(
            "9113 10.5.1", "a header block in too many pieces",
            Frame.headers(1, Block.literals([(":status", "200")]), flags: 0)
                + (0..<9).flatMap { _ in Frame.continuation(1, [], isLast: false) },
            .connectionError(Code.enhanceYourCalm)),
    ]

    private static let frames: [ClientRule] = [
        ClientRule(
            "9113 8.4", "we have switched push off",
            Frame.make(5, flags: 4, stream: 1, Frame.word(2) + Block.request()), wrong),
        ClientRule(
            "9113 5.1.1", "servers open no streams", head([(":status", "200")], stream: 2), wrong),
        ClientRule(
            "9113 5.1", "HEADERS on an idle stream", head([(":status", "200")], stream: 3), wrong),
        ClientRule("9113 5.1", "DATA on an idle stream", Frame.data(3, [1]), wrong),
        ClientRule("9113 5.1", "RST_STREAM on an idle stream", Frame.reset(3), wrong),
        ClientRule("9113 5.1", "WINDOW_UPDATE on an idle stream", Frame.windowUpdate(3, 1), wrong),
        ClientRule("9113 6.1", "DATA on stream 0", Frame.data(0, [1]), wrong),
        ClientRule(
            "9113 6.1", "padding as long as its frame",
            ok + Frame.data(1, [9, 1], flags: 9), wrong),
        ClientRule(
            "9113 6.5", "SETTINGS that are cut", Frame.make(4, [0]),
            .connectionError(Code.frameSizeError)),
        ClientRule("9113 6.5.2", "a server enables no push", Frame.settings([(2, 1)]), wrong),
        ClientRule(
            "9113 6.5.2", "a first window of 32 bits", Frame.settings([(4, 1 << 31)]),
            .connectionError(Code.flowControlError)),
        ClientRule("9113 6.5.2", "frames that are too small", Frame.settings([(5, 1)]), wrong),
        ClientRule(
            "9113 6.5.2", "an unknown setting is ignored", Frame.settings([(0xaaaa, 1)]), .waiting),
        ClientRule(
            "9113 6.7", "PING of another length", Frame.make(6, [1]),
            .connectionError(Code.frameSizeError)),
        ClientRule(
            "9113 6.8", "GOAWAY after our stream lets it go on", Frame.goAway(last: 1), .waiting),
        ClientRule(
            "9113 6.8", "GOAWAY before our stream means that it was not begun",
            Frame.goAway(last: 0),
            .broken(Code.refusedStream)),
        ClientRule(
            "9113 6.4", "the server refuses the stream", Frame.reset(1, 7),
            .broken(Code.refusedStream)),
        ClientRule("9113 6.4", "an answer that is cut", ok + Frame.reset(1, 2), .broken(2)),
        ClientRule(
            "9113 4.1", "a frame of an unknown kind is ignored", Frame.make(0x99, stream: 1, [1]),
            .waiting),
        ClientRule(
            "9113 4.2", "a frame that is too large", Frame.make(0, stream: 1, [], length: 16_385),
            .connectionError(Code.frameSizeError)),
        ClientRule("9113 6.10", "CONTINUATION of nothing", Frame.continuation(1, []), wrong),
        ClientRule(
            "7541 6.1", "index 0", Frame.headers(1, [0x80], flags: 4),
            .connectionError(Code.compressionError)),
        ClientRule(
            "9113 6.9.1", "more than the window",
            ok
                + (0...64).flatMap { _ in
                    Frame.data(1, [UInt8](repeating: 0, count: 16_384), flags: 0)
                },
            .streamError(Code.flowControlError)),
    ]
}

@Suite struct ClientRuleTests {
    @Test(arguments: ClientRules.all, [Int.max, 1])
    func `a client keeps the rule, however its bytes are cut`(
        _ rule: ClientRule, _ step: Int
    ) throws {
        let now = Instant(nanoseconds: 1_000_000_000)
        var client = HTTP2Session(clientWith: HTTP2Limits(), now: now)
        let asked = client.request(
            path: [UInt8]("/".utf8), authority: [UInt8]("a".utf8), isTLS: false,
            fields: HeaderFields(), body: [1], owner: HTTP2StreamOwner(word: 1))
        let stream = try #require(asked)
        // More than the window comes only if nobody takes it.
        client.setReading(!rule.rule.hasPrefix("more than the window"), stream: stream)
        let bytes = Frame.settings() + Frame.settingsAcknowledgement + rule.bytes
        var output: [UInt8] = []
        var view = ClientView()
        for start in stride(from: 0, to: bytes.count, by: min(step, bytes.count)) {
            let piece = Array(bytes[start..<min(bytes.count, start + min(step, bytes.count))])
            client.receive(piece.span, now: now)
            view.note(&client)
            client.takeOutput(into: &output, limit: 1 << 20, now: now)
            view.note(&client)
        }
        check(rule.outcome, view, output, isOver: client.isOver)
    }

    private struct ClientView {
        var status: Int?
        var bodyBytes = 0
        var hasEnded = false
        var closed: HTTP2ErrorCode?

        mutating func note(_ client: inout HTTP2Session) {
            while let event = client.nextEvent() {
                switch event {
                case .head(let stream): status = (try? client.responseHead(of: stream))?.status
                case .body(_, let range): bodyBytes += range.count
                case .end: hasEnded = true
                case .closed(_, let code): closed = code
                case .refused, .roomChanged: break
                }
            }
        }
    }

    private func check(
        _ outcome: ClientRule.Outcome, _ view: ClientView, _ output: [UInt8], isOver: Bool
    ) {
        let preface = RawFrame.preface.count
        let frames = SeenFrame.all(in: Array(output.dropFirst(preface)))
        let resets = frames.filter { $0.kind == Frame.resetKind }.map(\.errorCode)
        let ends = frames.filter { $0.kind == Frame.goAwayKind }.map(\.errorCode)
        switch outcome {
        case .connectionError(let code):
            #expect(ends == [code])
            #expect(isOver)
            #expect(!view.hasEnded)
        case .streamError(let code):
            #expect(ends.isEmpty)
            #expect(resets == [code])
            #expect(!view.hasEnded)
            #expect(view.closed == HTTP2ErrorCode(number: code))
            #expect(!isOver)
        case .answer(let status, let bytes):
            #expect(view.status == status)
            #expect(view.bodyBytes == bytes)
            #expect(view.hasEnded)
            #expect(view.closed == HTTP2ErrorCode.none)
            #expect(ends.isEmpty && resets.isEmpty)
        case .broken(let code):
            #expect(!view.hasEnded)
            #expect(view.closed == HTTP2ErrorCode(number: code))
        case .waiting:
            #expect(view.status == nil && view.closed == nil)
            #expect(ends.isEmpty && resets.isEmpty)
            #expect(!isOver)
        }
    }
}
