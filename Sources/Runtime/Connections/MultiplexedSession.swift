import Primitives
import Wire

/// An HTTP/2 session of a worker, and the connection that it belongs to.
struct MultiplexedSession: ~Copyable {
    var http2: HTTP2Session
    /// Whose bytes these are.
    let connection: Token
    /// It is in the list of those to be flushed.
    var isDirty = false
    /// When bytes last came in while none waited to go out. On a client's side also when some began
    /// to wait, or went out after that.
    var activeAt: Instant
    /// Flights whose backends are paused until their streams have drained.
    var slowFlights: [Handle] = []
    /// What the session will do when its timer comes.
    var farewell = Farewell.none
    /// On a backend's side: it has served a request before.
    var hasServed = false
    /// On a backend's side: when it was asked for a sign of life that has not come.
    var pingedAt: Instant?

    /// How far the end of the connection is prepared (RFC 9113 section 6.8).
    enum Farewell {
        /// Not at all.
        case none
        /// The peer knows that there is an end; streams on their way are still taken.
        case announced
        /// No more streams are taken.
        case said
    }

    init(_ http2: consuming HTTP2Session, of connection: Token, now: Instant) {
        self.http2 = http2
        self.connection = connection
        activeAt = now
    }
}
