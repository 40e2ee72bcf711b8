import Primitives

/// What stands between nghttp2's callbacks and the session's user; it lives at a fixed address.
///
/// No method here calls nghttp2: callbacks come while nghttp2 is at work.
struct HTTP2State: ~Copyable {
    let isServer: Bool
    let limits: HTTP2Limits
    var now: Instant
    var budget: FrameBudget
    var streams = Slab<HTTP2Stream>(capacity: 8)
    var output: [UInt8] = []
    /// No frame of data is begun while `output` holds that much.
    var outputLimit = 0
    /// Streams that wait for `output` to be taken.
    var waiting: [Int32] = []
    /// Why nothing more is read: what GOAWAY tells the peer.
    var failure: HTTP2ErrorCode?
    /// Streams of requests whose answer went out before they had ended: they are to be broken off.
    var unwanted: [Int32] = []
    /// The newest stream whose head became a frame.
    var sentHead: Int32 = 0
    /// Where the bytes that nghttp2 is reading begin.
    var received = UInt(0)
    /// The last sign of life that was asked for has come.
    var hasPong = true
    private var events: [HTTP2Event] = []
    private var nextEvent = 0
    private var ended: Handle?

    init(isServer: Bool, limits: HTTP2Limits, now: Instant) {
        self.isServer = isServer
        self.limits = limits
        self.now = now
        budget = FrameBudget(now: now)
    }

    // MARK: - Events

    mutating func tell(_ event: HTTP2Event) { events.append(event) }

    /// The oldest event that is worth telling; forgets streams whose end has been told.
    mutating func takeEvent() -> HTTP2Event? {
        if let ended {
            _ = streams.remove(ended)
            self.ended = nil
        }
        while nextEvent < events.count {
            let event = events[nextEvent]
            nextEvent += 1
            if isWorthTelling(event) { return event }
        }
        events.removeAll(keepingCapacity: true)
        nextEvent = 0
        return nil
    }

    /// A request that was broken off before anybody heard of it never was.
    private mutating func isWorthTelling(_ event: HTTP2Event) -> Bool {
        switch event {
        case .head(let stream), .refused(let stream, _):
            guard !isServer || !streams[stream].isBroken else { return false }
            streams[stream].wasTold = true
            return true
        case .body(let stream, _), .end(let stream): return streams[stream].wasTold
        case .closed(let stream, _):
            let isKnown = streams[stream].wasTold || !isServer
            ended = stream
            if !isKnown {
                _ = streams.remove(stream)
                ended = nil
            }
            return isKnown
        case .roomChanged: return true
        }
    }

    // MARK: - Sending

    /// A frame of data takes its share of what waits in a stream.
    mutating func moveToOutput(_ count: Int, of stream: Handle) {
        streams[stream].take(count, into: &output, now: now)
    }

    // MARK: - Receiving

    /// A frame begins. False: its peer has had its share.
    mutating func frameBegan(_ frame: FrameHeader) -> Bool {
        guard frame.isIdle else { return true }
        return budget.spendIdleFrame(now: now) || fail(.enhanceYourCalm)
    }

    /// A stream was broken off by either side. False: there were too many.
    mutating func streamWasReset() -> Bool {
        !isServer || budget.spendReset(now: now) || fail(.enhanceYourCalm)
    }

    /// A message's head is complete, or its trailers are.
    mutating func headEnded(_ stream: Handle, isLast: Bool) -> HeadOutcome {
        switch streams[stream].reception {
        case .head:
            let head = streams[stream].head
            if isServer {
                budget.streamWasOpened()
                streams[stream].isHeadRequest = head.method == .head
                if let failure = head.failure {
                    tell(.refused(stream, failure))
                } else {
                    guard streams[stream].isProperRequest else { return .malformed }
                    tell(.head(stream))
                }
            } else {
                if head.failure != nil { return .malformed }
                guard head.status >= 200 else {
                    streams[stream].head = HTTP2Stream.Head()
                    return .proper
                }
                tell(.head(stream))
            }
            streams[stream].reception = .body
        case .body, .done: break
        }
        if isLast { messageEnded(stream) }
        return .proper
    }

    /// Whether a complete head can be told.
    enum HeadOutcome { case proper, malformed }

    mutating func messageEnded(_ stream: Handle) {
        guard case .body = streams[stream].reception else { return }
        streams[stream].reception = .done
        tell(.end(stream))
    }

    mutating func streamClosed(_ stream: Handle, _ code: HTTP2ErrorCode) {
        if code != .none { streams[stream].isBroken = true }
        tell(.closed(stream, code))
    }

    private mutating func fail(_ code: HTTP2ErrorCode) -> Bool {
        failure = code
        return false
    }
}

/// The nine bytes in front of each frame (RFC 9113 section 4.1), as far as they matter here.
struct FrameHeader {
    let kind: UInt8
    let flags: UInt8
    let length: Int

    private static let endStream: UInt8 = 0x1
    private static let endHeaders: UInt8 = 0x4

    /// Whether the frame carries nothing of a message.
    var isIdle: Bool {
        switch kind {
        case 0x0: length == 0 && flags & Self.endStream == 0
        case 0x1: length == 0 && flags & (Self.endStream | Self.endHeaders) == 0
        case 0x9: length == 0 && flags & Self.endHeaders == 0
        // RST_STREAM and GOAWAY are bounded otherwise.
        case 0x3, 0x7: false
        default: true
        }
    }
}
