import TestSupport

private typealias Frame = RawFrame
private let get = HeaderBlock.request()
private let post = HeaderBlock.request(method: "POST")
private let open = Frame.headers(1, post, flags: Frame.endHeaders)
private let whole = Frame.headers(1, get)

/// What may come in which state of a stream (RFC 9113 section 5.1).
enum StreamRules {
    static let all = idle + halfClosed + closed + identifiers

    private static let idle: [ServerRule] = [
        ServerRule(
            "9113 5.1", "DATA on an idle stream", [Frame.data(1, [1])],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 5.1", "RST_STREAM on an idle stream", [Frame.reset(1)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 5.1", "WINDOW_UPDATE on an idle stream", [Frame.windowUpdate(1, 100)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 5.1", "CONTINUATION on an idle stream", [Frame.continuation(1, get)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 5.1", "PRIORITY on an idle stream is taken",
            [Frame.priority(1, dependsOn: 0) + whole], .answer()),
    ]

    private static let halfClosed: [ServerRule] = [
        ServerRule(
            "9113 5.1", "DATA after the end of a request", [whole + Frame.data(1, [1])],
            .connectionError(Code.streamClosed), isAnswered: false),
        ServerRule(
            "9113 5.1", "HEADERS after the end of a request", [whole + whole],
            .connectionError(Code.streamClosed), isAnswered: false),
        ServerRule(
            "9113 5.1", "CONTINUATION after the end of a request",
            [whole + Frame.continuation(1, get)], .connectionError(Code.protocolError),
            isAnswered: false),
        ServerRule(
            "9113 5.1", "WINDOW_UPDATE after the end of a request is taken",
            [whole + Frame.windowUpdate(1, 10)], .answer()),
        ServerRule(
            "9113 5.1", "PRIORITY after the end of a request is taken",
            [whole + Frame.priority(1, dependsOn: 0)], .answer()),
        ServerRule(
            "9113 5.1", "RST_STREAM after the end of a request is taken",
            [whole + Frame.reset(1)], .alive, isAnswered: false),
    ]

    private static let closed: [ServerRule] = [
        ServerRule(
            "9113 5.1", "DATA after the client's RST_STREAM",
            [open + Frame.reset(1), Frame.data(1, [1])], .connectionError(Code.streamClosed)),
        ServerRule(
            "9113 5.1", "HEADERS after the client's RST_STREAM",
            [open + Frame.reset(1), Frame.headers(1, get)], .connectionError(Code.streamClosed)),
        ServerRule(
            "9113 5.1", "CONTINUATION after the client's RST_STREAM",
            [open + Frame.reset(1), Frame.continuation(1, get)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 5.1", "DATA after the answer", [whole, Frame.data(1, [1])],
            .connectionError(Code.streamClosed)),
        ServerRule(
            "9113 5.1", "HEADERS after the answer", [whole, whole],
            .connectionError(Code.streamClosed)),
        ServerRule(
            "9113 5.1", "CONTINUATION after the answer", [whole, Frame.continuation(1, get)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 5.1", "PRIORITY after the answer is taken",
            [whole, Frame.priority(1, dependsOn: 0)], .answer()),
        ServerRule(
            "9113 5.1", "WINDOW_UPDATE after the answer is taken",
            [whole, Frame.windowUpdate(1, 1)], .answer()),
        ServerRule(
            "9113 5.1", "RST_STREAM after the answer is taken", [whole, Frame.reset(1)],
            .answer()),
        ServerRule(
            "9113 5.1", "DATA and trailers on a stream that we broke off are ignored",
            [
                Frame.headers(1, HeaderBlock.request(path: "bad"), flags: Frame.endHeaders),
                Frame.data(1, [1], flags: 0) + Frame.data(1, [2], flags: 0)
                    + Frame.headers(1, HeaderBlock.literals([("x", "y")])),
            ], .streamError(Code.protocolError)),
    ]

    private static let identifiers: [ServerRule] = [
        ServerRule(
            "9113 5.1.1", "a client's streams have odd numbers", [Frame.headers(2, get)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 5.1.1", "a new stream's number is higher than all before",
            [Frame.headers(5, get), Frame.headers(3, get)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 5.1.1", "stream 0 carries no request", [Frame.headers(0, get)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 5.1.1", "numbers may be left out", [Frame.headers(99, get)],
            .answer(stream: 99)),
        ServerRule(
            "9113 5.1.2", "more streams than announced, before SETTINGS are acknowledged",
            [
                (0...1000).map { Frame.headers(UInt32($0 * 2 + 1), get) }.flatMap { $0 }
            ], .streamError(Code.refusedStream, stream: 2001), isAnswered: false,
            greeting: Frame.preface + Frame.settings()),
        ServerRule(
            "9113 5.1.2", "more streams than announced",
            [
                (0...1000).map { Frame.headers(UInt32($0 * 2 + 1), get) }.flatMap { $0 }
            ], .connectionError(Code.protocolError), isAnswered: false),
    ]
}
