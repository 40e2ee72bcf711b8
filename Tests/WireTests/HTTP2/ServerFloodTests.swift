import Primitives
import TestSupport
import Testing
import Wire

private typealias Frame = RawFrame

/// Frames that cost a server more than their sender.
struct Flood: Sendable, CustomTestStringConvertible {
    let name: String
    /// What comes before, once.
    var opening: [UInt8] = []
    /// The flood's `index`-th piece; streams 1, 3, 5 … are new.
    let piece: @Sendable (Int) -> [UInt8]
    var testDescription: String { name }

    static func stream(_ index: Int) -> UInt32 { UInt32(index * 2 + 1) }

    private static let get = HeaderBlock.request()
    private static let open = Frame.headers(
        1, HeaderBlock.request(method: "POST"), flags: Frame.endHeaders)

    static let all = [
        Flood(name: "rapid reset, CVE-2023-44487") {
            Frame.headers(stream($0), get) + Frame.reset(stream($0))
        },
        Flood(name: "rapid reset without blame, CVE-2023-44487") {
            Frame.headers(stream($0), get) + Frame.reset(stream($0), 0)
        },
        Flood(name: "made you reset by windows, CVE-2025-8671") {
            Frame.headers(stream($0), get, flags: Frame.endHeaders)
                + Frame.windowUpdate(stream($0), 0x7fff_ffff)
        },
        Flood(name: "made you reset by malformed heads, CVE-2025-8671") {
            Frame.headers(stream($0), HeaderBlock.request(path: "x"))
        },
        Flood(name: "names of no length, CVE-2019-9516") {
            Frame.headers(stream($0), HeaderBlock.request([("", "x")]))
        },
        Flood(name: "CONTINUATION, CVE-2024-27316", opening: Frame.headers(1, get, flags: 1)) { _ in
            Frame.continuation(1, [], isLast: false)
        },
        Flood(name: "SETTINGS, CVE-2019-9515") { _ in Frame.settings() },
        Flood(name: "PING, CVE-2019-9512") { _ in Frame.ping() },
        Flood(name: "answers to PING that nobody asked for, CVE-2019-9512") { _ in
            Frame.ping(flags: Frame.acknowledgement)
        },
        Flood(name: "PRIORITY, CVE-2019-9513") {
            Frame.priority(stream($0 % 100), dependsOn: stream(($0 + 1) % 100))
        },
        Flood(name: "empty DATA, CVE-2019-9518", opening: open) { _ in
            Frame.data(1, [], flags: 0)
        },
        Flood(name: "empty DATA in padding, CVE-2019-9518", opening: open) { _ in
            Frame.data(1, [2, 0, 0], flags: Frame.padded)
        },
        Flood(name: "windows, CVE-2019-9511", opening: open) { _ in Frame.windowUpdate(1, 1) },
        Flood(name: "GOAWAY", opening: open) { _ in Frame.goAway() },
        Flood(name: "frames of unknown kinds") { _ in Frame.make(0xbe, [1]) },
    ]
}

@Suite struct ServerFloodTests {
    @Test(arguments: Flood.all)
    func `a flood is cut, and its sender told to calm down`(_ flood: Flood) {
        let server = ServerUnderTest()
        server.feed(flood.opening)
        var pieces = 0
        while !server.session.isOver, pieces < 30_000 {
            server.feed(flood.piece(pieces))
            server.takeOutput()
            pieces += 1
        }
        let isOver = server.session.isOver
        #expect(isOver)
        #expect(server.frames.last?.errorCode == Code.enhanceYourCalm)
        // Nobody was asked to work for a stream that had ended already.
        #expect(flood.name.hasPrefix("rapid") ? server.requests.isEmpty : true)
    }

    /// Not all: CONTINUATION is bounded for each head and not by time.
    @Test(arguments: Flood.all.filter { !$0.name.hasPrefix("CONTINUATION") })
    func `the same frames at the pace of people are welcome`(_ flood: Flood) {
        let server = ServerUnderTest()
        server.feed(flood.opening)
        // nghttp2's own bound on resets goes by the true clock: stay below it.
        for piece in 0..<(flood.name.hasPrefix("rapid") ? 3_500 : 12_000) {
            server.now = server.now.advanced(byMilliseconds: 11)
            server.feed(flood.piece(piece))
            server.takeOutput()
        }
        let isOver = server.session.isOver
        #expect(!isOver)
    }

    @Test(arguments: Flood.all)
    func `a flood by a peer that reads nothing leaves little behind`(_ flood: Flood) {
        let server = ServerUnderTest()
        server.feed(flood.opening)
        for piece in 0..<30_000 {
            if server.session.isCongested || server.session.isOver { break }
            server.feed(flood.piece(piece))
        }
        let before = server.sentBytes
        server.takeOutput()
        #expect(server.sentBytes - before < 256 << 10)
    }

    @Test func `answers that nobody reads stop being made`() {
        let server = ServerUnderTest()
        var asked = 0
        while !server.session.isCongested, asked < 100_000 {
            // HEAD is answered by one frame, which ends its stream: the next one is free to come.
            server.feed(
                Frame.headers(Flood.stream(asked), HeaderBlock.request(method: "HEAD")))
            asked += 1
        }
        #expect(asked < 5_000)
        server.takeOutput()
        let isCongested = server.session.isCongested
        #expect(!isCongested)
        #expect(server.frames.filter { $0.kind == Frame.headersKind }.count == asked)
    }

    @Test func `windows that open byte by byte while data waits do not pay for themselves`() {
        let server = ServerUnderTest(
            greeting: Frame.preface + Frame.settings([(0x1, 0), (0x4, 0)])
                + Frame.settingsAcknowledgement)
        var updates = 0
        var stream = 0
        while !server.session.isOver, updates < 50_000 {
            // Each answer has ten bytes: nine windows cut it short, the tenth one ends it.
            if updates % 10 == 0 {
                stream += 1
                server.feed(Frame.headers(Flood.stream(stream), HeaderBlock.request()))
            }
            server.feed(Frame.windowUpdate(Flood.stream(stream), 1))
            server.feed(Frame.windowUpdate(0, 1))
            server.feed(Frame.ping())
            server.feed(Frame.ping())
            server.takeOutput()
            updates += 1
        }
        #expect(server.frames.last?.errorCode == Code.enhanceYourCalm)
    }
}
