import Primitives
import Wire

/// One connection from a client, or to the admin listener: requests one after another, or
/// many at once.
struct ClientConnection: ~Copyable {
    /// What is known of the request being served and its answer.
    struct Serving {
        /// The exchange; nil for the admin side, which answers at once.
        var flight: Handle?
        /// The whole request has been read.
        var isRead = false
        /// The answer has begun.
        var hasHead = false
        /// How the answer is framed.
        var framing: BodyFraming = .none
        /// The connection may serve another request afterwards.
        var keepAlive: Bool
        /// The answer has no body (HEAD).
        let isHead: Bool
        let version: HTTPVersion
    }

    enum State {
        /// Nothing has come yet that tells which version of HTTP is spoken.
        case greeting
        /// Between requests, or in the middle of a head.
        case idle
        case serving(Serving)
        /// Everything is said; closes when it has been sent, or lingers when the request was not
        /// read to its end.
        case closing(lingers: Bool)
        /// Everything is sent; what still comes is thrown away, so that a reset does not overtake
        /// the answer (RFC 9112 section 9.6).
        case lingering
        /// HTTP/2: a session with many streams, each with a request of its own.
        case multiplexed(Handle)
    }

    var transport: Transport
    var reader: HTTP1RequestReader
    var state: State = .greeting
    /// Whom the client's certificate is about; nil where none is asked for.
    var subject: CertificateSubject?
    /// The beginning of a head, or requests sent ahead.
    var carried: [UInt8] = []
    /// When the connection is closed unless something happens; its meaning follows from the state.
    var deadline: Instant
    /// The client has sent the end of its bytes.
    var hasEnded = false
    /// Where in the worker's list the answer is that waits for the journal.
    var heldAnswer: Int?
}
