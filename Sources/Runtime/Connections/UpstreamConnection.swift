import Gateway
import Primitives
import Wire

/// One leg of one exchange: who uses a connection, or waits for one.
struct Assignment: Equatable {
    let flight: Handle
    let leg: Int
}

/// One connection to a backend.
struct UpstreamConnection: ~Copyable {
    enum State {
        /// TCP is being established; these addresses are left to try.
        case connecting(Assignment, remaining: [SocketAddress])
        /// TLS is being established.
        case handshaking(Assignment)
        /// A request is under way.
        case busy(Assignment)
        /// The answer is understood, its message not ended.
        case releasing
        /// In the pool.
        case idle
        /// HTTP/2: a session whose streams serve many legs at once.
        case multiplexed(Handle)
    }

    var transport: Transport
    var reader: HTTP1ResponseReader
    var state: State
    let pool: Handle
    var carried: [UInt8] = []
    /// When the connection is closed; nil while its exchange keeps the clocks.
    var deadline: Instant?

    // These are read in place: a call would be given a copy of the whole connection.

    /// The exchange that uses the connection.
    @inline(__always)
    var assignment: Assignment? {
        switch state {
        case .connecting(let assignment, _), .handshaking(let assignment), .busy(let assignment):
            assignment
        case .releasing, .idle, .multiplexed: nil
        }
    }

    /// Whether it does not stand yet.
    @inline(__always)
    var isBeingMade: Bool {
        switch state {
        case .connecting, .handshaking: true
        case .busy, .releasing, .idle, .multiplexed: false
        }
    }
}

/// The connections of one worker to one backend.
struct BackendPool: ~Copyable {
    /// What the backend speaks, as far as is known.
    enum Dialect {
        /// ALPN will tell.
        case unknown
        /// One request at a time on each connection.
        case http1
        /// Many streams on each connection.
        case http2
    }

    var backend: BackendPlan
    var dialect: Dialect
    /// Idle connections; the last one used is the first one reused: it is the warmest.
    var idle: [Handle] = []
    /// Connections that take streams.
    var multiplexed: [Handle] = []
    /// Connections of any state.
    var open = 0
    /// Connections that do not stand yet.
    var beingMade = 0
    /// Who waits for a connection, because there are as many as there may be, or because one is
    /// being made that many can use.
    var waiters: [Assignment] = []
    /// Who waits for the backend's addresses.
    var resolving: [Assignment] = []
    /// They have been asked for.
    var isResolving = false
    private(set) var addresses: [SocketAddress] = []
    private var addressesFoundAt = Instant(nanoseconds: 0)
    /// Nobody could be asked the last time.
    private var areAddressesStale = false
    var addressesUntil = Instant(nanoseconds: 0)
    /// The number of the first plan that does not use it any more.
    var retiredIn: Int?
    /// This worker's share of `connections.max` and `connections.max_idle`.
    let maximum: Int
    let maximumIdle: Int

    /// Whether another connection may be opened: where many legs can share one, one at a time.
    var mayOpen: Bool {
        guard open < maximum else { return false }
        if case .http1 = dialect { return true }
        return beingMade == 0
    }

    /// Whether only flights of former plans use it.
    var isRetired: Bool { retiredIn != nil }

    /// Takes what a look-up came to. nil: there are addresses to use; else why there are none.
    mutating func take(_ found: ResolvedAddresses, now: Instant) -> String? {
        addressesUntil = now
        areAddressesStale = false
        switch found {
        case .found(let found):
            addresses = found
            addressesFoundAt = now
            addressesUntil = now.advanced(byMilliseconds: Limits.addressLifetimeMilliseconds)
            return nil
        case .failed(let reason):
            addresses = []
            return reason
        case .unavailable(let reason):
            areAddressesStale = !addresses.isEmpty
            return mayUseStaleAddresses(now) ? nil : reason
        }
    }

    /// Whether to go on with what was known, and not to wait for the next look-up: name servers
    /// that do not answer take longer for that than a request has (RFC 8767 section 5).
    func mayUseStaleAddresses(_ now: Instant) -> Bool {
        let age = now.milliseconds(since: addressesFoundAt)
        return areAddressesStale && age < Limits.staleAddressMilliseconds
    }

    init(backend: BackendPlan, workers: Int) {
        self.backend = backend
        dialect =
            switch backend.http {
            case .http1: .http1
            case .http2: .http2
            case .automatic: backend.tls == nil ? .http1 : .unknown
            }
        maximum = max(1, backend.connections.maximum / workers)
        maximumIdle = (backend.connections.maximumIdle + workers - 1) / workers
    }
}
