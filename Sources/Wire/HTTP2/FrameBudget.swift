import Primitives

/// Bounds the frames of a peer that cost us work and bring nothing.
///
/// Two token buckets: one for frames without a message, one for streams that are broken off. They
/// fill with time, and with the traffic that calls for such frames: a client that reads a long
/// stream may update its windows all the way.
struct FrameBudget {
    private var idleFrames = Limits.http2IdleFrames
    private var resets = Limits.http2Resets
    private var refilledAt: Instant

    init(now: Instant) { refilledAt = now }

    /// Counts a frame that carries no message. False: there were too many.
    ///
    /// - CVE-2019-9512 (PING), CVE-2019-9515 (SETTINGS), CVE-2019-9513 (PRIORITY): each is answered
    ///   or re-sorts something.
    /// - CVE-2019-9518: DATA, HEADERS and CONTINUATION without content or end.
    /// - CVE-2019-9511: windows opened byte by byte.
    mutating func spendIdleFrame(now: Instant) -> Bool {
        refill(now)
        idleFrames -= 1
        return idleFrames >= 0
    }

    /// Counts a stream that was broken off. False: there were too many.
    ///
    /// - CVE-2023-44487: the peer opens streams and resets them at once.
    /// - CVE-2025-8671: the peer makes us reset them.
    mutating func spendReset(now: Instant) -> Bool {
        refill(now)
        resets -= 1
        return resets >= 0
    }

    /// A frame with content went out: the peer may acknowledge it by windows.
    mutating func dataWasSent() { earn(Limits.http2IdleFramesPerDataFrame) }

    /// A message began: it may bring priorities and windows with it.
    mutating func streamWasOpened() { earn(Limits.http2IdleFramesPerStream) }

    private mutating func earn(_ frames: Int) {
        idleFrames = min(idleFrames + frames, Limits.http2IdleFrames)
    }

    private mutating func refill(_ now: Instant) {
        // A minute fills both buckets.
        let milliseconds = min(now.milliseconds(since: refilledAt), 60_000)
        guard milliseconds >= 100 else { return }
        refilledAt = now
        earn(milliseconds * Limits.http2IdleFramesPerSecond / 1000)
        resets = min(
            resets + milliseconds * Limits.http2ResetsPerSecond / 1000, Limits.http2Resets)
    }
}
