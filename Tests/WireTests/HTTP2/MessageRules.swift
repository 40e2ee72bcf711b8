import TestSupport

private typealias Frame = RawFrame
private typealias Block = HeaderBlock
private let refused = ServerRule.Outcome.streamError(Code.protocolError)

private func open(_ fields: [Block.Field] = []) -> [UInt8] {
    Frame.headers(1, Block.request(method: "POST", fields), flags: Frame.endHeaders)
}

private func trailers(_ fields: [Block.Field], flags: UInt8 = 5) -> [UInt8] {
    Frame.headers(1, Block.literals(fields), flags: flags)
}

/// A request without a body and with one field more.
private func ask(_ name: String, _ value: String) -> [[UInt8]] {
    [Frame.headers(1, Block.request([(name, value)]))]
}

/// A request without a body that consists of these fields.
private func ask(only fields: [Block.Field]) -> [[UInt8]] {
    [Frame.headers(1, Block.literals(fields))]
}

private let complete: [Block.Field] = [
    (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "gateway"),
]

/// What a request must look like (RFC 9113 section 8).
enum MessageRules {
    static let all = exchanges + fields + connectionFields + pseudoFields + lengths + connects

    private static let exchanges: [ServerRule] = [
        ServerRule("9113 8.1", "GET is answered", ask(only: complete), .answer()),
        ServerRule(
            "9113 8.1", "POST with a body is answered", [open() + Frame.data(1, [1])],
            .answer()),
        ServerRule(
            "9113 8.1", "trailers end a request",
            [open() + Frame.data(1, [1], flags: 0) + trailers([("x-a", "b")])], .answer()),
        ServerRule(
            "9113 8.1", "trailers without an end",
            [open() + Frame.data(1, [1], flags: 0) + trailers([("x-a", "b")], flags: 4)],
            refused),
        ServerRule(
            "9113 8.1", "trailers hold no pseudo-header field",
            [open() + Frame.data(1, [1], flags: 0) + trailers([(":method", "GET")])], refused),
        ServerRule(
            "9113 8.1", "HEAD is answered by a head",
            [Frame.headers(1, Block.request(method: "HEAD"))], .data([])),
        ServerRule(
            "9113 8.1", "a malformed head stays refused when trailers follow",
            [open([("UP", "x")]) + trailers([("x-a", "b")])], refused),
        ServerRule(
            "9113 8.3.1", "a head that says two things stays refused when trailers follow",
            [open([("host", "other")]) + trailers([("x-a", "b")])], refused),
        ServerRule(
            "9113 10.5.1", "a header list that is too long is refused with 431",
            [longHead(fields: 5)], .refusal(status: 431)),
        ServerRule(
            "9113 10.5.1", "a header list without an end is broken off",
            [manyFields(9_000)], .streamError(Code.enhanceYourCalm)),
    ]

    private static let fields: [ServerRule] = [
        ServerRule("9113 8.2.1", "upper case in a name", ask("X-Test", "ok"), refused),
        ServerRule("9113 8.2.1", "an empty name", ask("", "ok"), refused),
        ServerRule("9113 8.2.1", "a space in a name", ask("x y", "ok"), refused),
        ServerRule("9113 8.2.1", "a colon in a name", ask("x:y", "ok"), refused),
        ServerRule("9113 8.2.1", "a byte above ASCII in a name", ask("x-é", "ok"), refused),
        ServerRule("9113 8.2.1", "a line end in a value", ask("x", "a\r\nb: c"), refused),
        ServerRule("9113 8.2.1", "a line feed in a value", ask("x", "a\nb"), refused),
        ServerRule("9113 8.2.1", "NUL in a value", ask("x", "a\0b"), refused),
        ServerRule("9113 8.2.1", "white space before a value", ask("x", " a"), refused),
        ServerRule("9113 8.2.1", "white space after a value", ask("x", "a\t"), refused),
        ServerRule("9113 8.2.1", "an empty value is fine", ask("x", ""), .answer()),
        ServerRule("9113 8.2.1", "others above ASCII are fine", ask("x", "é"), .answer()),
    ]

    private static let connectionFields: [ServerRule] = [
        ServerRule("9113 8.2.2", "no connection", ask("connection", "keep-alive"), refused),
        ServerRule("9113 8.2.2", "no keep-alive", ask("keep-alive", "timeout=5"), refused),
        ServerRule("9113 8.2.2", "no proxy-connection", ask("proxy-connection", "close"), refused),
        ServerRule(
            "9113 8.2.2", "no transfer-encoding", ask("transfer-encoding", "chunked"), refused),
        ServerRule("9113 8.2.2", "no upgrade", ask("upgrade", "websocket"), refused),
        ServerRule("9113 8.2.2", "te says trailers", ask("te", "trailers"), .answer()),
        ServerRule("9113 8.2.2", "te says nothing else", ask("te", "trailers, deflate"), refused),
    ]

    private static let pseudoFields: [ServerRule] = [
        ServerRule(
            "9113 8.3", "an unknown pseudo-header field", ask(only: complete + [(":test", "ok")]),
            refused),
        ServerRule(
            "9113 8.3", "a pseudo-header field of answers",
            ask(only: complete + [(":status", "200")]), refused),
        ServerRule(
            "9113 8.3", "a pseudo-header field after others",
            ask(only: complete.dropLast() + [("x", "y"), (":authority", "gateway")]), refused),
        ServerRule(
            "9113 8.3.1", "an empty path", [Frame.headers(1, Block.request(path: ""))], refused),
        ServerRule(
            "9113 8.3.1", "a path without slash", [Frame.headers(1, Block.request(path: "v1"))],
            refused),
        ServerRule(
            "9113 8.3.1", "a path with a space", [Frame.headers(1, Block.request(path: "/a b"))],
            refused),
        ServerRule(
            "9113 8.3.1", "an asterisk is for OPTIONS",
            [Frame.headers(1, Block.request(path: "*"))], refused),
        ServerRule(
            "9113 8.3.1", "OPTIONS has it",
            [Frame.headers(1, Block.request(method: "OPTIONS", path: "*"))], .answer()),
        ServerRule(
            "9113 8.3.1", "no method", [Frame.headers(1, Block.request(method: nil))], refused),
        ServerRule(
            "9113 8.3.1", "no scheme", [Frame.headers(1, Block.request(scheme: nil))], refused),
        ServerRule(
            "9113 8.3.1", "no path", [Frame.headers(1, Block.request(path: nil))], refused),
        ServerRule(
            "9113 8.3.1", "two methods", ask(only: [(":method", "GET")] + complete), refused),
        ServerRule(
            "9113 8.3.1", "two schemes", ask(only: [(":scheme", "http")] + complete), refused),
        ServerRule("9113 8.3.1", "two paths", ask(only: [(":path", "/")] + complete), refused),
        ServerRule(
            "9113 8.3.1", "two authorities", ask(only: [(":authority", "a")] + complete), refused),
        ServerRule(
            "9113 8.3.1", "host may repeat the authority", ask("host", "GATEWAY"), .answer()),
        ServerRule("9113 8.3.1", "host may not contradict it", ask("host", "other"), refused),
        ServerRule(
            "9113 8.3.1", "two hosts",
            [Frame.headers(1, Block.request([("host", "gateway"), ("host", "gateway")]))], refused),
        ServerRule(
            "9113 8.3.1", "host may stand alone",
            [Frame.headers(1, Block.request(authority: nil, [("host", "gateway")]))], .answer()),
        ServerRule(
            "9113 8.3.1", "a host alone is a proper one",
            [Frame.headers(1, Block.request(authority: nil, [("host", "a b")]))], refused),
        ServerRule(
            "9113 8.3.1", "the authority holds no user",
            [Frame.headers(1, Block.request(authority: "me@gateway"))], refused),
    ]

    private static let lengths: [ServerRule] = [
        ServerRule(
            "9113 8.1.1", "content-length is the body's",
            [
                open([("content-length", "3")]) + Frame.data(1, [1], flags: 0)
                    + Frame.data(1, [2, 3])
            ], .answer()),
        ServerRule(
            "9113 8.1.1", "content-length is not the body's",
            [open([("content-length", "1")]) + Frame.data(1, [1, 2, 3, 4])], refused),
        ServerRule(
            "9113 8.1.1", "content-length is not the sum of all DATA",
            [
                open([("content-length", "1")]) + Frame.data(1, [1], flags: 0)
                    + Frame.data(1, [2])
            ], refused),
        ServerRule(
            "9113 8.1.1", "less comes than content-length says",
            [open([("content-length", "5")]) + Frame.data(1, [1])], refused),
        ServerRule(
            "9113 8.1.1", "content-length and nothing else", ask("content-length", "5"), refused),
        ServerRule(
            "9113 8.1.1", "content-length is a number", ask("content-length", "+0"), refused),
        ServerRule(
            "9113 8.1.1", "content-length is said once",
            [open([("content-length", "1"), ("content-length", "1")]) + Frame.data(1, [1])],
            refused),
    ]

    private static let connects: [ServerRule] = [
        ServerRule(
            "9113 8.5", "CONNECT has an authority only",
            ask(only: [(":method", "CONNECT"), (":authority", "gateway:443")]), .answer()),
        ServerRule(
            "9113 8.5", "CONNECT has no path",
            [Frame.headers(1, Block.request(method: "CONNECT"))], refused),
        ServerRule(
            "8441 3", "an extended CONNECT that we have not announced",
            ask(only: [(":method", "CONNECT"), (":protocol", "websocket")] + complete.dropFirst()),
            refused),
    ]

    /// A head of fields with 15,000 bytes each, a frame for each.
    private static func longHead(fields: Int) -> [UInt8] {
        let field = Block.literals([("x-long", String(repeating: "x", count: 15_000))])
        return Frame.headers(1, Block.request(), flags: Frame.endStream)
            + (1...fields).flatMap { Frame.continuation(1, field, isLast: $0 == fields) }
    }

    /// A head whose fields are tiny on the wire: one of the table, named again and again.
    private static func manyFields(_ count: Int) -> [UInt8] {
        // RFC 7541 section 6.1: index 16 is "accept-encoding: gzip, deflate", 58 bytes and more.
        Frame.headers(1, Block.request() + [UInt8](repeating: 0x90, count: count))
    }
}

/// How header blocks are compressed (RFC 7541).
enum CompressionRules {
    static let all: [ServerRule] = taken + refused

    /// `GET / http` from the static table, and an authority that does not enter the other one.
    private static let indexed: [UInt8] = [0x82, 0x84, 0x86, 0x01, 1, 0x67]

    private static func ask(_ block: [UInt8]) -> [[UInt8]] {
        [Frame.headers(1, indexed + block)]
    }

    private static func failing(_ block: [UInt8]) -> [[UInt8]] { [Frame.headers(1, block)] }

    private static let taken: [ServerRule] = [
        ServerRule("7541 6.1", "indexed fields", ask([]), .answer()),
        ServerRule("7541 6.2.1", "a literal with a known name", ask([0x7a, 1, 0x61]), .answer()),
        ServerRule(
            "7541 6.2.1", "a literal in Huffman's code", ask([0x7a, 0x81, 0x1f]), .answer()),
        ServerRule(
            "7541 6.2.1", "a literal with a new name", ask([0x40, 1, 0x78, 1, 0x61]), .answer()),
        ServerRule(
            "7541 6.2.1", "one with both in Huffman's code",
            ask([0x40, 0x81, 0xf3, 0x81, 0x1f]), .answer()),
        ServerRule(
            "7541 6.2.1", "what was indexed can be named",
            ask([0x40, 1, 0x78, 1, 0x61, 0xbe]), .answer()),
        ServerRule("7541 6.2.2", "a literal without index", ask([0x0f, 0x2b, 1, 0x61]), .answer()),
        ServerRule(
            "7541 6.2.2", "one with a new name", ask([0x00, 1, 0x78, 1, 0x61]), .answer()),
        ServerRule("7541 6.2.3", "a literal never indexed", ask([0x1f, 0x2b, 1, 0x61]), .answer()),
        ServerRule(
            "7541 6.2.3", "one with a new name", ask([0x10, 1, 0x78, 0x81, 0x1f]), .answer()),
        ServerRule(
            "7541 6.3", "a smaller table", failing([0x20] + indexed), .answer()),
        ServerRule(
            "7541 6.3", "two sizes of the table", failing([0x20, 0x3f, 0x61] + indexed), .answer()),
    ]

    private static let wrong = ServerRule.Outcome.connectionError(Code.compressionError)

    private static let refused: [ServerRule] = [
        ServerRule("7541 2.3.3", "an index beyond the table", ask([0xc6]), wrong),
        ServerRule(
            "7541 2.3.3", "a name's index beyond the table", ask([0x7f, 0x07, 1, 0x61]), wrong),
        ServerRule("7541 4.2", "a table's size at the end of a block", ask([0x20]), wrong),
        ServerRule(
            "7541 5.1", "a number without end", ask([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), wrong),
        ServerRule(
            "7541 5.2", "Huffman's code padded with more than 7 bits",
            ask([0x00, 1, 0x78, 0x82, 0x1f, 0xff]), wrong),
        ServerRule(
            "7541 5.2", "Huffman's code padded with zeros", ask([0x00, 1, 0x78, 0x81, 0x18]),
            wrong),
        ServerRule(
            "7541 5.2", "Huffman's code with the end of string",
            ask([0x00, 1, 0x78, 0x85, 0x1f, 0xff, 0xff, 0xff, 0xff]), wrong),
        ServerRule(
            "7541 5.2", "a string longer than its block", ask([0x00, 1, 0x78, 9, 0x61]), wrong),
        ServerRule("7541 6.1", "index 0", ask([0x80]), wrong),
        ServerRule(
            "7541 6.3", "a table larger than we allow", failing([0x3f, 0xe2, 0x1f] + indexed),
            wrong),
    ]
}
