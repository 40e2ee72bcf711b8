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
    var closedStreams = ClosedStreams()
    /// The newest stream that the peer has opened.
    var newestStream: Int32 = 0
    /// CONTINUATION frames one after the other.
    private var continuations = 0
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
        // Thousands of tiny frames in one read must not leave their room behind.
        events.removeAll(keepingCapacity: events.capacity <= Self.usualEvents)
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

    /// Nothing more is told: nobody is to work for a peer that is being cut.
    mutating func forgetEvents() {
        events = []
        nextEvent = 0
    }

    private static let usualEvents = 64

    // MARK: - Sending

    /// A frame of data went out. When a window has cut it short, small windows earn nothing
    /// (CVE-2019-9511).
    mutating func dataWasSent(_ length: Int, of stream: Handle?) {
        let isAll = stream.map { streams[$0].backlog == 0 } ?? true
        if length > 0, isAll || length >= Limits.http2WorthwhileDataBytes { budget.dataWasSent() }
    }

    /// A frame of data takes its share of what waits in a stream.
    mutating func moveToOutput(_ count: Int, of stream: Handle) {
        streams[stream].take(count, into: &output, now: now)
    }

    // MARK: - Receiving

    /// A frame begins. False: nothing more is read from this peer.
    mutating func frameBegan(_ frame: FrameHeader) -> Bool {
        continuations = frame.isContinuation ? continuations + 1 : 0
        guard continuations <= limits.continuations else { return fail(.enhanceYourCalm) }
        return !frame.isIdle || idleFrameCame()
    }

    /// A frame brought nothing. False: its peer has had its share.
    mutating func idleFrameCame() -> Bool {
        budget.spendIdleFrame(now: now) || fail(.enhanceYourCalm)
    }

    /// HEADERS or DATA begin on a stream that is not open. RFC 9113 sections 5.1 and 5.1.1: what
    /// was on its way when we broke a stream off is ignored; else nobody sends on a stream that
    /// has ended, or opens streams out of order. False: nothing more is read from this peer.
    mutating func lateFrameBegan(_ number: Int32, isData: Bool) -> Bool {
        guard isServer, number & 1 == 1, number <= newestStream else { return true }
        switch closedStreams.ending(of: number) {
        case .brokenOffByUs: return true
        case .endedByPeer: return fail(.streamClosed)
        case nil: return isData || fail(.protocolError)
        }
    }

    /// A stream was broken off by either side. False: there were too many.
    mutating func streamWasReset() -> Bool {
        !isServer || budget.spendReset(now: now) || fail(.enhanceYourCalm)
    }

    /// We have broken a stream off. False: the peer has made us do so too often.
    mutating func streamWasBrokenOff(_ number: Int32, _ code: HTTP2ErrorCode) -> Bool {
        if isServer { closedStreams.remember(number, .brokenOffByUs) }
        // What we break off for reasons of our own is not held against the peer.
        let isOurs = code == .none || code == .cancel || code == .refusedStream
        return isOurs || streamWasReset()
    }

    /// A message's head is complete, or its trailers are.
    mutating func headEnded(_ stream: Handle, isLast: Bool) -> HeadOutcome {
        switch streams[stream].reception {
        case .head:
            streams[stream].finishHead(isLast: isLast)
            if isServer {
                budget.streamWasOpened()
                streams[stream].isHeadRequest = streams[stream].head.method == .head
                if let failure = streams[stream].head.failure {
                    tell(.refused(stream, failure))
                } else {
                    guard streams[stream].isProperRequest else { return malformed(stream) }
                    tell(.head(stream))
                }
            } else {
                guard streams[stream].isProperResponse else { return malformed(stream) }
                guard streams[stream].head.status >= 200 else {
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

    /// Nothing more of the message is of interest.
    private mutating func malformed(_ stream: Handle) -> HeadOutcome {
        streams[stream].reception = .done
        return .malformed
    }

    mutating func messageEnded(_ stream: Handle) {
        guard case .body = streams[stream].reception else { return }
        streams[stream].reception = .done
        tell(.end(stream))
    }

    mutating func streamClosed(_ stream: Handle, _ code: HTTP2ErrorCode) {
        if code != .none || !streams[stream].hasEnded { streams[stream].isBroken = true }
        if isServer { closedStreams.remember(streams[stream].number, .endedByPeer) }
        tell(.closed(stream, code))
    }

    private mutating func fail(_ code: HTTP2ErrorCode) -> Bool {
        failure = code
        return false
    }
}
