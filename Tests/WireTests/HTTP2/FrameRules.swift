import TestSupport

private typealias Frame = RawFrame
private let get = HeaderBlock.request()
private let open = Frame.headers(
    1, HeaderBlock.request(method: "POST"), flags: Frame.endHeaders)
private let whole = Frame.headers(1, get)

/// What each kind of frame must look like (RFC 9113 section 6).
enum FrameRules {
    static let all =
        data + headers + priorities + settings + pings + windows + continuations

    private static let data: [ServerRule] = [
        ServerRule(
            "9113 6.1", "several DATA frames make a body",
            [open + Frame.data(1, [1], flags: 0) + Frame.data(1, [2])], .answer()),
        ServerRule(
            "9113 6.1", "DATA may be padded",
            [open + Frame.data(1, [3, 1, 2, 0, 0, 0], flags: 9)], .answer()),
        ServerRule(
            "9113 6.1", "DATA on stream 0", [Frame.data(0, [1])],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.1", "padding as long as the frame",
            [open + Frame.data(1, [4, 1, 2, 0], flags: 9)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.1", "DATA that is padded and empty", [open + Frame.data(1, [], flags: 9)],
            .connectionError(Code.protocolError)),
    ]

    private static let headers: [ServerRule] = [
        ServerRule("9113 6.2", "HEADERS begin a stream", [whole], .answer()),
        ServerRule(
            "9113 6.2", "HEADERS may be padded",
            [Frame.headers(1, [2] + get + [0, 0], flags: 0xd)], .answer()),
        ServerRule(
            "9113 6.2", "HEADERS may have a priority",
            [Frame.headers(1, Frame.word(0) + [255] + get, flags: 0x25)], .answer()),
        ServerRule(
            "9113 6.2", "HEADERS on stream 0", [Frame.headers(0, get)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.2", "HEADERS with padding as long as the frame",
            [Frame.headers(1, [UInt8(get.count + 1)] + get, flags: 0xd)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.2", "HEADERS too short for their priority",
            [Frame.headers(1, [0, 0, 0, 0], flags: 0x25)],
            .connectionError(Code.frameSizeError)),
        ServerRule(
            "9113 6.6", "a client sends no PUSH_PROMISE",
            [open + Frame.make(5, flags: 4, stream: 1, Frame.word(2) + get)],
            .connectionError(Code.protocolError)),
    ]

    private static let priorities: [ServerRule] = [
        ServerRule(
            "9113 6.3", "PRIORITY with the least weight",
            [Frame.priority(1, dependsOn: 0, weight: 0)],
            .alive),
        ServerRule(
            "9113 6.3", "PRIORITY with the greatest weight",
            [Frame.priority(1, dependsOn: 0, weight: 255)], .alive),
        ServerRule(
            "9113 6.3", "PRIORITY that depends on another stream, exclusively",
            [Frame.priority(1, dependsOn: 3, isExclusive: true) + whole], .answer()),
        ServerRule(
            "9113 6.3", "PRIORITY for a later stream leaves an earlier one idle",
            [Frame.priority(5, dependsOn: 0) + whole], .answer()),
        ServerRule(
            "9113 6.3", "PRIORITY on stream 0", [Frame.priority(0, dependsOn: 1)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.3", "PRIORITY of another length",
            [Frame.make(Frame.priorityKind, stream: 1, [0, 0, 0, 0])],
            .connectionError(Code.frameSizeError)),
        ServerRule(
            "9113 6.4", "RST_STREAM breaks a stream off", [open, Frame.reset(1)], .alive),
        ServerRule(
            "9113 6.4", "RST_STREAM on stream 0", [Frame.reset(0)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.4", "RST_STREAM on an idle stream", [Frame.reset(5)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.4", "RST_STREAM of another length",
            [open + Frame.make(Frame.resetKind, stream: 1, [0, 0, 0])],
            .connectionError(Code.frameSizeError)),
    ]

    private static let settings: [ServerRule] = [
        ServerRule(
            "9113 6.5", "SETTINGS are acknowledged", [Frame.settings([(3, 100)])],
            .acknowledgements(2)),
        ServerRule(
            "9113 6.5", "an acknowledgement with a payload",
            [Frame.make(Frame.settingsKind, flags: 1, [0])],
            .connectionError(Code.frameSizeError)),
        ServerRule(
            "9113 6.5", "SETTINGS on a stream", [Frame.make(Frame.settingsKind, stream: 1)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.5", "SETTINGS that are cut", [Frame.make(Frame.settingsKind, [0, 3, 0])],
            .connectionError(Code.frameSizeError)),
        ServerRule(
            "9113 6.5.2", "ENABLE_PUSH is 0 or 1", [Frame.settings([(2, 2)])],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.5.2", "INITIAL_WINDOW_SIZE has 31 bits", [Frame.settings([(4, 1 << 31)])],
            .connectionError(Code.flowControlError)),
        ServerRule(
            "9113 6.5.2", "MAX_FRAME_SIZE is at least 16,384", [Frame.settings([(5, 16_383)])],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.5.2", "MAX_FRAME_SIZE is at most 16,777,215",
            [Frame.settings([(5, 16_777_216)])], .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.5.2", "an unknown setting is ignored", [Frame.settings([(0xff, 1)])],
            .acknowledgements(2)),
        ServerRule(
            "9113 6.5.3", "of two values the later one counts",
            [Frame.settings([(4, 100), (4, 1)]) + whole], .data([1])),
    ]

    private static let pings: [ServerRule] = [
        ServerRule("9113 6.7", "PING is answered", [Frame.ping()], .alive),
        ServerRule(
            "9113 6.7", "a PING's answer that nobody asked for is ignored",
            [Frame.ping(flags: 1)], .alive),
        ServerRule(
            "9113 6.7", "PING on a stream",
            [Frame.make(Frame.pingKind, stream: 1, [1, 2, 3, 4, 5, 6, 7, 8])],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.7", "PING of another length", [Frame.make(Frame.pingKind, [1, 2, 3, 4, 5, 6])],
            .connectionError(Code.frameSizeError)),
        ServerRule(
            "9113 6.8", "GOAWAY ends a connection without streams", [Frame.goAway()], .over),
        ServerRule(
            "9113 6.8", "GOAWAY on a stream",
            [Frame.make(Frame.goAwayKind, stream: 1, Frame.word(0) + Frame.word(0))],
            .connectionError(Code.protocolError)),
    ]

    private static let windows: [ServerRule] = [
        ServerRule(
            "9113 6.9", "WINDOW_UPDATE opens the connection's window",
            [Frame.windowUpdate(0, 1) + whole], .answer()),
        ServerRule(
            "9113 6.9", "WINDOW_UPDATE of nothing", [Frame.windowUpdate(0, 0)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.9", "WINDOW_UPDATE of nothing on a stream", [open + Frame.windowUpdate(1, 0)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.9", "WINDOW_UPDATE of another length",
            [Frame.make(Frame.windowUpdateKind, [0, 0, 1])],
            .connectionError(Code.frameSizeError)),
        ServerRule(
            "9113 6.9.1", "no more is sent than the window allows",
            [Frame.settings([(4, 1)]) + whole], .data([1])),
        ServerRule(
            "9113 6.9.1", "the connection's window has 31 bits",
            [Frame.windowUpdate(0, 0x7fff_ffff) + Frame.windowUpdate(0, 0x7fff_ffff)],
            .connectionError(Code.flowControlError)),
        ServerRule(
            "9113 6.9.1", "a stream's window has 31 bits",
            [open + Frame.windowUpdate(1, 0x7fff_ffff)], .streamError(Code.flowControlError)),
        ServerRule(
            "9113 6.9.2", "a changed first window counts for open streams",
            [Frame.settings([(4, 0)]) + whole, Frame.settings([(4, 1)])], .data([1])),
        ServerRule(
            "9113 6.9.2", "a window can be less than nothing",
            [
                Frame.settings([(4, 3)]) + whole, Frame.settings([(4, 2)]),
                Frame.windowUpdate(1, 2),
            ], .data([3, 1])),
        ServerRule(
            "9113 6.9.2", "a first window that makes another too large",
            [open + Frame.windowUpdate(1, 0x7fff_0000) + Frame.settings([(4, 0x7fff_ffff)])],
            .streamError(Code.flowControlError)),
    ]

    private static let continuations: [ServerRule] = [
        ServerRule(
            "9113 6.10", "CONTINUATION completes a header block",
            [
                Frame.headers(1, Array(get.prefix(9)), flags: 1)
                    + Frame.continuation(1, Array(get.dropFirst(9)))
            ], .answer()),
        ServerRule(
            "9113 6.10", "so do several",
            [
                Frame.headers(1, Array(get.prefix(3)), flags: 1)
                    + Frame.continuation(1, Array(get.dropFirst(3).prefix(5)), isLast: false)
                    + Frame.continuation(1, Array(get.dropFirst(8)))
            ], .answer()),
        ServerRule(
            "9113 6.10", "nothing but CONTINUATION may follow",
            [Frame.headers(1, get, flags: 1) + Frame.data(1, [1])],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.10", "CONTINUATION on stream 0",
            [Frame.headers(1, get, flags: 1) + Frame.continuation(0, [])],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.10", "CONTINUATION after a complete head",
            [open + Frame.continuation(1, get)], .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.10", "CONTINUATION after the last one",
            [
                Frame.headers(1, get, flags: 0) + Frame.continuation(1, [])
                    + Frame.continuation(1, get)
            ], .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.10", "CONTINUATION after DATA",
            [open + Frame.data(1, [1], flags: 0) + Frame.continuation(1, get)],
            .connectionError(Code.protocolError)),
        ServerRule(
            "9113 6.10", "a header block in too many pieces",
            [
                Frame.headers(1, get, flags: 1)
                    + (0..<9).flatMap { _ in Frame.continuation(1, [], isLast: false) }
            ],
            .connectionError(Code.enhanceYourCalm)),
    ]
}
