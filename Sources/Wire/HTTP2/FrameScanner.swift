import Primitives

/// The nine bytes in front of each frame (RFC 9113 section 4.1), as far as they matter here.
struct FrameHeader {
    let kind: UInt8
    let flags: UInt8
    let length: Int
    let stream: Int32

    private static let endStream: UInt8 = 0x1
    private static let endHeaders: UInt8 = 0x4

    var isData: Bool { kind == 0x0 }
    var isContinuation: Bool { kind == 0x9 }

    /// Whether the frame carries nothing of a message.
    var isIdle: Bool {
        switch kind {
        case 0x0: length == 0 && flags & Self.endStream == 0
        case 0x1: length == 0 && flags & (Self.endStream | Self.endHeaders) == 0
        case 0x9: length == 0 && flags & Self.endHeaders == 0
        // RST_STREAM has a bound of its own.
        case 0x3: false
        default: true
        }
    }
}

/// Finds the headers of all frames in a connection's bytes, however they are cut: nghttp2 does not
/// tell of frames that it ignores.
struct FrameScanner {
    private static let headerBytes = 9

    /// Bytes of the preface or of a payload that are still to come.
    private(set) var skipped: Int
    private var header: [UInt8] = []

    /// A scanner of a connection that begins with that many other bytes.
    init(skipping count: Int) {
        skipped = count
        header.reserveCapacity(Self.headerBytes)
    }

    /// The next header that is complete; `position` is then behind it. nil: the bytes are used up.
    mutating func next(_ bytes: Span<UInt8>, position: inout Int) -> FrameHeader? {
        let payload = min(skipped, bytes.count - position)
        skipped -= payload
        position += payload
        let part = min(Self.headerBytes - header.count, bytes.count - position)
        header.append(span: bytes.extracting(position..<position + part))
        position += part
        guard header.count == Self.headerBytes else { return nil }
        let length = Int(header[0]) << 16 | Int(header[1]) << 8 | Int(header[2])
        let number = header[5...].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        let frame = FrameHeader(
            kind: header[3], flags: header[4], length: length,
            stream: Int32(number & 0x7fff_ffff))
        header.removeAll(keepingCapacity: true)
        skipped = length
        return frame
    }
}
