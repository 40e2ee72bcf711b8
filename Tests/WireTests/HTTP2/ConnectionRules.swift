import TestSupport

private typealias Frame = RawFrame
private let get = HeaderBlock.request()

/// How a connection begins and what frames look like (RFC 9113 sections 3 and 4).
enum ConnectionRules {
    static let all: [ServerRule] = [
        ServerRule("9113 3.4", "a preface with SETTINGS is taken", [], .acknowledgements(1)),
        ServerRule(
            "9113 3.4", "empty SETTINGS are enough", [], .acknowledgements(1),
            greeting: Frame.preface + Frame.settings()),
        ServerRule(
            "9113 3.4", "another preface ends the connection", [],
            .connectionError(Code.protocolError),
            greeting: [UInt8]("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".utf8)),
        ServerRule(
            "9113 3.4", "the first frame is SETTINGS", [], .connectionError(Code.protocolError),
            greeting: Frame.preface + Frame.headers(1, get)),
        ServerRule(
            "9113 4.1", "a frame of an unknown kind is ignored",
            [Frame.make(0x16, [1, 2, 3]) + Frame.headers(1, get)], .answer()),
        ServerRule(
            "9113 4.1", "an undefined flag is ignored",
            [Frame.ping(3, flags: 0x16)], .alive),
        ServerRule(
            "9113 4.1", "the reserved bit is ignored",
            [Frame.make(Frame.pingKind, stream: 1 << 31, [1, 2, 3, 4, 5, 6, 7, 8])], .alive),
        ServerRule(
            "9113 4.2", "a DATA frame may have 16,384 bytes",
            [
                Frame.headers(1, HeaderBlock.request(method: "POST"), flags: Frame.endHeaders)
                    + Frame.data(1, [UInt8](repeating: 1, count: 16_384))
            ], .answer()),
        ServerRule(
            "9113 4.2", "a larger DATA frame is refused",
            [
                Frame.headers(1, HeaderBlock.request(method: "POST"), flags: Frame.endHeaders)
                    + Frame.data(1, [UInt8](repeating: 1, count: 16_385))
            ], .connectionError(Code.frameSizeError)),
        ServerRule(
            "9113 4.2", "a larger HEADERS frame is refused",
            [Frame.make(Frame.headersKind, flags: 5, stream: 1, get, length: 16_385)],
            .connectionError(Code.frameSizeError)),
        ServerRule(
            "9113 4.3", "a header block that cannot be decoded ends the connection",
            [Frame.headers(1, [0x00, 0x85, 0x00, 0x00])],
            .connectionError(Code.compressionError)),
        ServerRule(
            "9113 4.3", "PRIORITY within a header block ends the connection",
            [Frame.headers(1, get, flags: 1) + Frame.priority(1, dependsOn: 0)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 4.3", "another stream's HEADERS within a header block end the connection",
            [Frame.headers(1, get, flags: 1) + Frame.headers(3, get)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 5.3.2", "HEADERS that depend on their own stream are an error",
            [Frame.make(1, flags: 0x25, stream: 1, Frame.word(1) + [15] + get)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 5.3.2", "PRIORITY on its own stream is an error",
            [Frame.priority(3, dependsOn: 3)], .connectionError(Code.protocolError)),
        ServerRule(
            "9113 5.4.1", "after a connection error comes GOAWAY",
            [Frame.make(Frame.pingKind, [1, 2, 3])], .connectionError(Code.frameSizeError)),
        ServerRule(
            "9113 5.5", "an unknown frame between two requests is ignored",
            [Frame.headers(1, get) + Frame.make(0xff, stream: 1) + Frame.headers(3, get)],
            .answer(stream: 3)),
        ServerRule(
            "9113 5.5", "an unknown frame within a header block ends the connection",
            [Frame.headers(1, get, flags: 1) + Frame.make(0xff, stream: 1, [0])],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 7", "GOAWAY with an unknown code is taken", [Frame.goAway(0xff)], .over),
        ServerRule(
            "9113 7", "RST_STREAM with an unknown code is taken",
            [Frame.headers(1, get), Frame.headers(3, get, flags: 4) + Frame.reset(3, 0xff)],
            .alive),
    ]
}
