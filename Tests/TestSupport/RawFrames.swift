/// HTTP/2 frames and header blocks put together byte by byte: also what no library would send
/// (RFC 9113 section 4.1, RFC 7541 section 6).
public enum RawFrame {
    /// How a client begins (RFC 9113 section 3.4).
    public static let preface = [UInt8]("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    /// Part of a body; kinds of frames are those of RFC 9113 section 6.
    public static let dataKind: UInt8 = 0x0
    /// A head, or trailers.
    public static let headersKind: UInt8 = 0x1
    /// Deprecated priorities.
    public static let priorityKind: UInt8 = 0x2
    /// The end of a stream.
    public static let resetKind: UInt8 = 0x3
    /// What a side wants.
    public static let settingsKind: UInt8 = 0x4
    /// What no client sends.
    public static let pushPromiseKind: UInt8 = 0x5
    /// A sign of life.
    public static let pingKind: UInt8 = 0x6
    /// The end of a connection.
    public static let goAwayKind: UInt8 = 0x7
    /// Room for more data.
    public static let windowUpdateKind: UInt8 = 0x8
    /// The rest of a head.
    public static let continuationKind: UInt8 = 0x9
    /// The message is complete.
    public static let endStream: UInt8 = 0x1
    /// SETTINGS or PING is an answer.
    public static let acknowledgement: UInt8 = 0x1
    /// The header block is complete.
    public static let endHeaders: UInt8 = 0x4
    /// There is padding.
    public static let padded: UInt8 = 0x8
    /// There is a priority.
    public static let priority: UInt8 = 0x20

    /// Any frame; `length` is the true one unless it is given.
    public static func make(
        _ kind: UInt8, flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8] = [],
        length: Int? = nil
    ) -> [UInt8] {
        let length = length ?? payload.count
        return [
            UInt8(truncatingIfNeeded: length >> 16), UInt8(truncatingIfNeeded: length >> 8),
            UInt8(truncatingIfNeeded: length), kind, flags,
        ] + word(stream) + payload
    }

    /// A whole header block in one frame.
    public static func headers(
        _ stream: UInt32, _ block: [UInt8], flags: UInt8 = endStream | endHeaders
    ) -> [UInt8] {
        make(headersKind, flags: flags, stream: stream, block)
    }

    /// The rest of a header block, or a piece of it.
    public static func continuation(
        _ stream: UInt32, _ block: [UInt8], isLast: Bool = true
    ) -> [UInt8] {
        make(continuationKind, flags: isLast ? endHeaders : 0, stream: stream, block)
    }

    /// A piece of a body.
    public static func data(
        _ stream: UInt32, _ body: [UInt8], flags: UInt8 = endStream
    ) -> [UInt8] {
        make(dataKind, flags: flags, stream: stream, body)
    }

    /// SETTINGS with some entries.
    public static func settings(_ entries: [(UInt16, UInt32)] = []) -> [UInt8] {
        make(
            settingsKind,
            entries.flatMap { [UInt8($0.0 >> 8), UInt8($0.0 & 0xff)] + word($0.1) })
    }

    /// SETTINGS as an answer.
    public static let settingsAcknowledgement = make(settingsKind, flags: acknowledgement)

    /// PING with eight bytes of a kind.
    public static func ping(_ mark: UInt8 = 7, flags: UInt8 = 0) -> [UInt8] {
        make(pingKind, flags: flags, [UInt8](repeating: mark, count: 8))
    }

    /// RST_STREAM.
    public static func reset(_ stream: UInt32, _ code: UInt32 = 0x8) -> [UInt8] {
        make(resetKind, stream: stream, word(code))
    }

    /// GOAWAY.
    public static func goAway(last: UInt32 = 0, _ code: UInt32 = 0) -> [UInt8] {
        make(goAwayKind, word(last) + word(code))
    }

    /// WINDOW_UPDATE.
    public static func windowUpdate(_ stream: UInt32, _ increment: UInt32) -> [UInt8] {
        make(windowUpdateKind, stream: stream, word(increment))
    }

    /// PRIORITY.
    public static func priority(
        _ stream: UInt32, dependsOn other: UInt32, weight: UInt8 = 15, isExclusive: Bool = false
    ) -> [UInt8] {
        make(priorityKind, stream: stream, word(other | (isExclusive ? 1 << 31 : 0)) + [weight])
    }

    /// Four bytes, the highest first.
    public static func word(_ number: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) }
    }
}

/// Header blocks of RFC 7541 whose fields are all literals that are not indexed.
public enum HeaderBlock {
    /// A name and a value.
    public typealias Field = (name: String, value: String)

    /// All fields of a list.
    public static func literals(_ fields: [Field]) -> [UInt8] {
        fields.flatMap { literal(Array($0.name.utf8), Array($0.value.utf8)) }
    }

    /// One field (RFC 7541 section 6.2.2).
    public static func literal(_ name: [UInt8], _ value: [UInt8]) -> [UInt8] {
        [0x00] + string(name) + string(value)
    }

    /// The fields of a request, pseudo-header fields first; nil leaves one out.
    public static func request(
        method: String? = "GET", scheme: String? = "http", path: String? = "/",
        authority: String? = "gateway", _ fields: [Field] = []
    ) -> [UInt8] {
        let pseudo: [(String, String?)] = [
            (":method", method), (":scheme", scheme), (":path", path), (":authority", authority),
        ]
        return literals(pseudo.compactMap { name, value in value.map { (name, $0) } } + fields)
    }

    private static func string(_ bytes: [UInt8]) -> [UInt8] {
        integer(bytes.count, prefix: 7) + bytes
    }

    /// RFC 7541 section 5.1, the prefix's other bits being zero.
    public static func integer(_ number: Int, prefix: Int) -> [UInt8] {
        let most = 1 << prefix - 1
        guard number >= most else { return [UInt8(number)] }
        var rest = number - most
        var bytes = [UInt8(most)]
        while rest >= 128 {
            bytes.append(UInt8(rest & 127 | 128))
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }
}

/// A frame that the side under test has sent.
public struct SeenFrame: Sendable, Equatable {
    /// The kind.
    public let kind: UInt8
    /// The flags.
    public let flags: UInt8
    /// The stream, 0 for the connection.
    public let stream: UInt32
    /// What it holds.
    public let payload: [UInt8]

    /// All whole frames of some bytes.
    public static func all(in bytes: [UInt8]) -> [SeenFrame] {
        var frames: [SeenFrame] = []
        var at = 0
        while at + 9 <= bytes.count {
            let length = Int(bytes[at]) << 16 | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2])
            guard at + 9 + length <= bytes.count else { break }
            frames.append(
                SeenFrame(
                    kind: bytes[at + 3], flags: bytes[at + 4],
                    stream: word(bytes, at + 5) & 0x7fff_ffff,
                    payload: Array(bytes[at + 9..<at + 9 + length])))
            at += 9 + length
        }
        return frames
    }

    /// Whether the message ends here.
    public var isLast: Bool { flags & RawFrame.endStream != 0 }

    /// What RST_STREAM or GOAWAY says; nil for other frames.
    public var errorCode: UInt32? {
        switch kind {
        case RawFrame.resetKind where payload.count == 4: Self.word(payload, 0)
        case RawFrame.goAwayKind where payload.count >= 8: Self.word(payload, 4)
        default: nil
        }
    }

    /// The status in the head of an answer to a client whose SETTINGS allow no table (RFC 7541
    /// section 6.1 and 6.2, digits by Appendix B); nil for other frames.
    public var status: Int? {
        guard kind == RawFrame.headersKind,
            let start = payload.firstIndex(where: { $0 & 0xe0 != 0x20 })
        else { return nil }
        let indexed: [UInt8: Int] = [
            0x88: 200, 0x89: 204, 0x8a: 206, 0x8b: 304, 0x8c: 400, 0x8d: 404, 0x8e: 500,
        ]
        if let status = indexed[payload[start]] { return status }
        guard payload.count > start + 2, payload[start] & 0x0f == 8 else { return nil }
        let count = Int(payload[start + 1] & 127)
        let text = payload.dropFirst(start + 2).prefix(count)
        guard payload[start + 1] & 128 != 0 else {
            return Int(String(decoding: text, as: UTF8.self))
        }
        return Self.digits(text)
    }

    /// Three digits in Huffman's code: 0 to 2 have five bits, the others six.
    private static func digits(_ bytes: ArraySlice<UInt8>) -> Int? {
        var bits = bytes.flatMap { byte in (0..<8).map { byte >> (7 - $0) & 1 } }[...]
        var number = 0
        for _ in 0..<3 {
            guard bits.count >= 5 else { return nil }
            let five = bits.prefix(5).reduce(0) { $0 * 2 + Int($1) }
            if five <= 2 {
                number = number * 10 + five
                bits = bits.dropFirst(5)
            } else {
                guard bits.count >= 6 else { return nil }
                number = number * 10 + bits.prefix(6).reduce(0) { $0 * 2 + Int($1) } - 0x19 + 3
                bits = bits.dropFirst(6)
            }
        }
        return number
    }

    private static func word(_ bytes: [UInt8], _ at: Int) -> UInt32 {
        bytes[at..<at + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }
}
