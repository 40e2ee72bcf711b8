public import Primitives
import Translation
public import Wire

/// What an Exchange wants done, filled by its methods and carried out by the Worker at once.
///
/// A class, because it is large and goes from hand to hand. A worker has a few of them and uses
/// them for all its exchanges.
public final class ExchangeOrders {
    /// The head of the answer.
    public struct Head: Sendable {
        /// The status.
        public var status: Int
        /// The fields, without those of framing and connection.
        public var fields: HeaderFields
        /// How long the body is: `length` or `chunked`.
        public var framing: BodyFraming

        /// A head.
        public init(status: Int, fields: HeaderFields, framing: BodyFraming) {
            self.status = status
            self.fields = fields
            self.framing = framing
        }
    }

    /// What becomes of the answer after `body`.
    public enum Ending: Sendable, Equatable {
        /// More follows.
        case open
        /// The answer is complete.
        case complete
    }

    /// What is to happen upstream.
    public enum Upstream: Sendable, Equatable {
        /// Get a connection to a backend for a leg; `isFresh` forbids one from the pool.
        case connect(leg: Int, backend: Int, isFresh: Bool)
        /// The leg's answer is not wanted any more: close its connection, or forget the wait for
        /// one.
        case cancel(leg: Int)
        /// The answer has been understood to its end: read on to the end of the message, then
        /// reuse.
        case release(leg: Int)
    }

    /// The head, when it is to go out now, before `body`.
    public var head: Head?
    /// More of the answer's body, not framed yet.
    public var body: [UInt8] = []
    /// What becomes of the answer after `body`.
    public var ending: Ending = .open
    /// Fields behind the body of a chunked answer that is complete.
    public var trailers = HeaderFields()
    /// What is to happen upstream, in order.
    public var upstream: [Upstream] = []
    /// Images to fetch; `Exchange.imagesFetched` is to be told what came of it.
    public var images: ImageOrder?
    /// Records for the journal, to be written before the answer's last byte leaves.
    public var records: [UInt8] = []
    /// Where among `records` the last one begins, that of a request that has settled.
    public var settledRecord: Int?
    /// A line of the access log, newline included.
    public var logLine: [UInt8] = []
    /// Memory of an earlier head.
    private var spareFields = HeaderFields()

    /// No orders.
    public init() {}

    /// Whether nothing is to be done.
    public var isEmpty: Bool {
        head == nil && body.isEmpty && ending == .open && upstream.isEmpty && records.isEmpty
            && images == nil && logLine.isEmpty
    }

    /// An empty list for a head, in memory that is there already.
    func newFields() -> HeaderFields {
        var fields = HeaderFields()
        swap(&fields, &spareFields)
        return fields
    }

    /// Forgets all orders and keeps the memory.
    public func reset() {
        if var last = head.take() {
            swap(&spareFields, &last.fields)
            spareFields.removeAll()
        }
        if !body.isEmpty { body.removeAll(keepingCapacity: body.count <= Limits.keptBufferBytes) }
        ending = .open
        if trailers.count > 0 { trailers = HeaderFields() }
        if !upstream.isEmpty { upstream.removeAll(keepingCapacity: true) }
        if images != nil { images = nil }
        if !records.isEmpty { records.removeAll(keepingCapacity: true) }
        settledRecord = nil
        if !logLine.isEmpty { logLine.removeAll(keepingCapacity: true) }
    }
}

/// What an Exchange may look at and use while one of its methods runs; owned by the Worker.
public struct ExchangeContext {
    /// The monotonic time of this turn.
    public var now: Instant
    /// The civil time of this turn.
    public var wall: WallTime
    /// The worker's shard of the counters.
    public let shard: Int
    /// The worker's memory for JSON.
    public var tape = JSONTape()
    /// For weighted choices and jitter.
    public var random: SeededGenerator
    /// Whether the gateway is draining: answers then say `connection: close`.
    public var isDraining = false
    /// Whether requests can be recorded, or the operator wants to go on without that.
    public var admitsRequests = true

    /// What all ids of this worker begin with, 16 hexadecimal digits.
    private let idPrefix: [UInt8]
    private var idCounter: UInt32 = 0

    /// A context for one worker; `seed` comes from the kernel and makes request ids unique.
    public init(shard: Int, seed: UInt64, now: Instant, wall: WallTime) {
        self.shard = shard
        self.now = now
        self.wall = wall
        idPrefix = [UInt8](atMost: 16) { $0.append(hexadecimal: seed, width: 16) }
        random = SeededGenerator(seed: seed ^ 0x5851_f42d_4c95_7f2d)
    }

    /// Our own id of a request: 24 hexadecimal digits, unique across workers and restarts.
    mutating func makeID() -> String {
        idCounter &+= 1
        return unsafe String(unsafeUninitializedCapacity: 24) { buffer in
            var output = unsafe OutputSpan(buffer: buffer, initializedCount: 0)
            output.append(span: idPrefix.span)
            output.append(hexadecimal: UInt64(idCounter), width: 8)
            return unsafe output.finalize(for: buffer)
        }
    }
}

/// What came of fetching images.
public enum FetchedImages: Sendable, Equatable {
    /// All of them, by URL.
    case found([[UInt8]: [UInt8]])
    /// At least one could not be had; the text says why.
    case failed(String)
    /// The gateway has no room for them; the text says of what.
    case overloaded(String)
}

/// Why an upstream leg came to nothing.
public enum UpstreamFailure: Error, Sendable, Equatable {
    /// No address of the name, or no address answered; the text says what was tried.
    case connect(String)
    /// The handshake failed, such as a certificate that does not verify.
    case tls(String)
    /// The pool is full and nobody gave a connection back in time.
    case poolExhausted
    /// This process or machine may open no more connections (EMFILE, ENFILE).
    case noDescriptor
    /// The connection broke or ended before the answer was complete.
    case closed
    /// The backend broke off this answer only (RST_STREAM); the code says why (RFC 9113 section 7).
    case reset(HTTP2ErrorCode)
    /// The backend says that it has not looked at the request (RFC 9113 section 8.7): it may be
    /// sent again.
    case unprocessed
    /// The backend did not answer a PING (RFC 9113 section 6.7).
    case unresponsive
    /// The answer is not HTTP.
    case malformed(String)
}
