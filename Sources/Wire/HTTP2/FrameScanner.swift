import Primitives

/// The nine bytes in front of each frame (RFC 9113 section 4.1), as far as they matter here.
struct FrameHeader {
    let kind: UInt8
    let flags: UInt8
    let length: Int
    let stream: Int32

    /// How long it is.
    static let byteCount = 9

    private static let endStream: UInt8 = 0x1
    private static let endHeaders: UInt8 = 0x4

    /// Reads the first nine of `bytes`.
    init(_ bytes: Span<UInt8>) {
        length = Int(bytes[0]) << 16 | Int(bytes[1]) << 8 | Int(bytes[2])
        kind = bytes[3]
        flags = bytes[4]
        // The first bit is reserved.
        stream =
            Int32(bytes[5] & 0x7f) << 24 | Int32(bytes[6]) << 16 | Int32(bytes[7]) << 8
            | Int32(bytes[8])
    }

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
    /// Bytes of the preface or of a payload that are still to come.
    private(set) var skipped: Int
    private var header: [UInt8] = []

    /// A scanner of a connection that begins with that many other bytes.
    init(skipping count: Int) {
        skipped = count
        header.reserveCapacity(FrameHeader.byteCount)
    }

    /// The next header that is complete; `position` is then behind it. nil: the bytes are used up.
    mutating func next(_ bytes: Span<UInt8>, position: inout Int) -> FrameHeader? {
        let payload = min(skipped, bytes.count - position)
        skipped -= payload
        position += payload
        let part = min(FrameHeader.byteCount - header.count, bytes.count - position)
        let piece = bytes.extracting(position..<position + part)
        position += part
        // Most headers come in one piece.
        guard part < FrameHeader.byteCount else { return begin(FrameHeader(piece)) }
        header.append(span: piece)
        guard header.count == FrameHeader.byteCount else { return nil }
        let frame = FrameHeader(header.span)
        header.removeAll(keepingCapacity: true)
        return begin(frame)
    }

    private mutating func begin(_ frame: FrameHeader) -> FrameHeader {
        skipped = frame.length
        return frame
    }
}
