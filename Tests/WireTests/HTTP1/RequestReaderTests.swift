import Primitives
import TestSupport
import Testing
import Wire

/// RFC 9112, by section.
@Suite struct RequestReaderTests {
    struct Good: Sendable {
        let section: String
        let text: String
        let bodies: [String]
    }

    static let good = [
        Good(section: "2.1", text: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", bodies: [""]),
        Good(section: "2.2", text: "\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", bodies: [""]),
        Good(
            section: "6.2", text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            bodies: ["hello"]),
        Good(
            section: "7.1",
            text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\nTrailer: t\r\n\r\n",
            bodies: ["hello world"]),
        Good(
            section: "9.3.2",
            text: "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
                + "GET /b HTTP/1.1\r\nHost: a\r\n\r\n",
            bodies: ["hi", ""]),
        Good(section: "3.2.2", text: "GET http://b/x?y HTTP/1.1\r\nHost: a\r\n\r\n", bodies: [""]),
        Good(section: "2.3", text: "GET / HTTP/1.0\r\n\r\n", bodies: [""]),
    ]

    static let bad: [(section: String, status: Int, text: String)] = [
        ("2.2 bare LF", 400, "GET / HTTP/1.1\nHost: a\n\n"),
        ("2.2 bare CR", 400, "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
        ("3 two spaces", 400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("3 no version", 400, "GET /\r\nHost: a\r\n\r\n"),
        ("2.3 version 2", 505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        ("2.3 garbage", 400, "\u{16}\u{3}\u{1} hello\r\n\r\n"),
        ("3.2 no Host", 400, "GET / HTTP/1.1\r\n\r\n"),
        ("3.2 two Hosts", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        ("3.2 bad Host", 400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        ("3.2 user in Host", 400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
        ("5.1 space before colon", 400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        ("5.1 empty name", 400, "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
        ("5.2 obs-fold", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"),
        ("5.5 NUL", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n"),
        (
            "6.1 both lengths", 400,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
        ),
        (
            "6.2 two lengths", 400,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n"
        ),
        ("6.2 list", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n"),
        ("6.2 sign", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n"),
        ("6.2 negative", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\n"),
        (
            "6.2 overflow", 413,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"
        ),
        (
            "6.1 unknown coding", 501,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"
        ),
        (
            "6.1 chunked not alone", 400,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
        ),
        (
            "6.1 hidden chunked", 400,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"
        ),
        ("6.1 in 1.0", 400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (
            "7.1 bad size", 400,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n"
        ),
        (
            "7.1 size overflow", 400,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n"
        ),
        (
            "7.1 no CRLF behind data", 400,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n"
        ),
        (
            "7.1 bare LF", 400,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n"
        ),
        ("9110 10.1.1", 417, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n"),
    ]

    @Test(arguments: 0...5) func `a body of known length can be read elsewhere`(here: Int) {
        var reader = HTTP1RequestReader(limits: HTTP1Limits())
        let head = Array("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n".utf8)
        let bytes = head + Array("hello".utf8.prefix(here))
        var position = 0
        let first = reader.next(bytes.span, position: &position)
        #expect(first == .head)
        if here > 0 {
            let body = reader.next(bytes.span, position: &position)
            #expect(body == .body(head.count..<bytes.count))
        }
        for remaining in (0...5 - here).reversed() where remaining < 5 - here {
            let end = reader.next([UInt8]().span, position: &position)
            #expect(end == .needsMore)
            reader.skipBody(1)
            let left = reader.remainingBody
            #expect(left == remaining)
        }
        let end = reader.next(bytes.span, position: &position)
        #expect(end == .end)
        #expect(position == bytes.count)
    }

    @Test(arguments: ["Transfer-Encoding: chunked\r\n", ""])
    func `any other body is read by the reader alone`(field: String) {
        var reader = HTTP1RequestReader(limits: HTTP1Limits())
        let head = Array("POST / HTTP/1.1\r\nHost: a\r\n\(field)\r\n".utf8)
        var position = 0
        _ = reader.next(head.span, position: &position)
        let remaining = reader.remainingBody
        #expect(remaining == 0)
    }

    @Test(arguments: good.indices)
    func `a good request is read the same, however it is cut`(_ index: Int) {
        let message = Self.good[index]
        for pieces in cuts(Array(message.text.utf8)) {
            let (bodies, failure) = read(pieces)
            #expect(bodies == message.bodies, "section \(message.section)")
            #expect(failure == nil)
        }
    }

    @Test(arguments: bad.indices)
    func `a bad request is refused with its status, however it is cut`(_ index: Int) {
        let message = Self.bad[index]
        for pieces in cuts(Array(message.text.utf8)) {
            let (_, failure) = read(pieces)
            #expect(failure?.status == message.status, "section \(message.section)")
        }
    }

    @Test func `heads and targets that are too long are refused before they end`() {
        let target = "GET /" + String(repeating: "a", count: 20_000)
        #expect(read([Array(target.utf8)]).1?.status == 414)
        let head = "GET / HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "b", count: 70_000)
        #expect(read([Array(head.utf8)]).1?.status == 431)
        let many =
            "GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "X: y\r\n", count: 200) + "\r\n"
        #expect(read([Array(many.utf8)]).1?.status == 431)
    }

    @Test func `an absolute target names the authority`() {
        var reader = HTTP1RequestReader(limits: HTTP1Limits())
        var position = 0
        let text = Array("GET http://b:80/x?y HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
        let event = reader.next(text.span, position: &position)
        let head = reader.head
        #expect(event == .head)
        #expect(head.authority == Array("b:80".utf8))
        #expect(head.target == Array("/x?y".utf8))
    }

    private func read(_ pieces: [[UInt8]]) -> ([String], HTTPFailure?) {
        var reader = HTTP1RequestReader(limits: HTTP1Limits())
        var carried: [UInt8] = []
        var bodies: [String] = []
        var body: [UInt8] = []
        for piece in pieces {
            carried += piece
            var position = 0
            reading: while true {
                switch reader.next(carried.span, position: &position) {
                case .needsMore: break reading
                case .head: body = []
                case .body(let range): body += carried[range]
                case .end:
                    bodies.append(String(decoding: body, as: UTF8.self))
                    reader.reset()
                case .failed(let failure): return (bodies, failure)
                }
            }
            carried.removeFirst(position)
        }
        return (bodies, nil)
    }
}

@Suite struct ResponseReaderTests {
    static let good: [(text: String, body: String, endsByClosing: Bool)] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi", false),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "", false),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "x", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "ab", false),
        ("HTTP/1.1 204 No Content\r\n\r\n", "", false),
        ("HTTP/1.0 200 OK\r\n\r\nuntil the end", "until the end", true),
    ]

    @Test(arguments: good.indices)
    func `a response is read the same, however it is cut`(_ index: Int) {
        let message = Self.good[index]
        for pieces in cuts(Array(message.text.utf8)) {
            var reader = HTTP1ResponseReader(limits: HTTP1Limits())
            reader.begin(isHeadRequest: false)
            var carried: [UInt8] = []
            var body: [UInt8] = []
            var hasEnded = false
            for piece in pieces {
                carried += piece
                var position = 0
                reading: while true {
                    switch reader.next(carried.span, position: &position) {
                    case .needsMore: break reading
                    case .head: break
                    case .body(let range): body += carried[range]
                    case .end: hasEnded = true
                    case .failed(let failure):
                        Issue.record("\(failure)")
                        return
                    }
                    if hasEnded { break }
                }
                carried.removeFirst(position)
            }
            #expect(String(decoding: body, as: UTF8.self) == message.body)
            #expect(hasEnded != message.endsByClosing)
            guard message.endsByClosing else { continue }
            let ending = reader.connectionEnded()
            #expect(ending == .end)
        }
    }

    @Test(arguments: [
        "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n", "HTTP/1.1 101 Switching\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    ])
    func `nonsense from an upstream is a failure`(_ text: String) {
        var reader = HTTP1ResponseReader(limits: HTTP1Limits())
        var position = 0
        let event = reader.next(Array(text.utf8).span, position: &position)
        guard case .failed = event else {
            Issue.record("\(event)")
            return
        }
    }

    @Test func `an answer that is cut short is not complete`() {
        var reader = HTTP1ResponseReader(limits: HTTP1Limits())
        var position = 0
        let text = Array("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".utf8)
        let event = reader.next(text.span, position: &position)
        #expect(event == .head)
        guard case .body = reader.next(text.span, position: &position) else {
            Issue.record("no body")
            return
        }
        guard case .failed = reader.connectionEnded() else {
            Issue.record("a cut answer was taken for whole")
            return
        }
    }
}
