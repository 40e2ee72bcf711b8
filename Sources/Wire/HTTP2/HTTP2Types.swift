public import Primitives

/// Why a stream or a connection ended (RFC 9113 section 7).
public struct HTTP2ErrorCode: Sendable, Equatable {
    /// The number on the wire.
    public let number: UInt32

    /// A code from the wire; unknown ones are kept as they are.
    public init(number: UInt32) { self.number = number }

    /// Nothing is wrong.
    public static let none = HTTP2ErrorCode(number: 0x0)
    /// The peer breaks the protocol.
    public static let protocolError = HTTP2ErrorCode(number: 0x1)
    /// A side's own mistake.
    public static let internalError = HTTP2ErrorCode(number: 0x2)
    /// A frame came for a stream that its sender had ended.
    public static let streamClosed = HTTP2ErrorCode(number: 0x5)
    /// The stream was not begun: it may be tried again elsewhere.
    public static let refusedStream = HTTP2ErrorCode(number: 0x7)
    /// The stream is not wanted any more.
    public static let cancel = HTTP2ErrorCode(number: 0x8)
    /// The peer costs too much.
    public static let enhanceYourCalm = HTTP2ErrorCode(number: 0xb)
}

/// Who is to be told about a stream: two words that only the session's user understands.
public struct HTTP2StreamOwner: Sendable, Equatable {
    /// Such as a handle.
    public let word: UInt64
    /// Such as an index within what the handle names.
    public let number: Int

    /// An owner.
    public init(word: UInt64, number: Int = 0) {
        self.word = word
        self.number = number
    }
}

/// What a connection's bytes held, in order.
public enum HTTP2Event: Sendable, Equatable {
    /// A message's head is complete: `requestHead(of:)` or `responseHead(of:)` has it.
    case head(Handle)
    /// A request's head is refused; the stream wants an answer that says so.
    case refused(Handle, HTTPFailure)
    /// These of the bytes just received are body.
    case body(Handle, Range<Int>)
    /// The message is complete.
    case end(Handle)
    /// The stream has ended for both sides. Its handle is stale once the next event is asked for.
    case closed(Handle, HTTP2ErrorCode)
    /// The peer wants no more streams (GOAWAY), or has new settings: how much room there is may
    /// have changed.
    case roomChanged
}

/// What one HTTP/2 connection may ask of us.
public struct HTTP2Limits: Sendable {
    /// The longest header list: names, values and 32 bytes for each field (RFC 9113 section
    /// 6.5.2).
    public var headerListBytes = 64 << 10
    /// CONTINUATION frames of one header block: twice what the longest list needs in frames of
    /// 16 KB, and no fewer than `Limits.http2Continuations`.
    var continuations: Int { max(Limits.http2Continuations, 2 * headerListBytes >> 14) }
    /// The most header fields of one message.
    public var headerFields = 128
    /// The longest `:path`.
    public var targetBytes = 16 << 10
    /// Streams that the peer may have open at once.
    public var concurrentStreams = Limits.http2ConcurrentStreams
    /// What a peer may send on one stream before we have taken it.
    public var streamWindowBytes = Limits.http2StreamWindowBytes
    /// And on all streams of the connection together.
    public var connectionWindowBytes = Limits.http2ConnectionWindowBytes

    /// The defaults.
    public init() {}
}
