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
    }

    var transport: Transport
    var reader: HTTP1ResponseReader
    var state: State
    let pool: Handle
    var carried: [UInt8] = []
    /// When the connection is closed; nil while its exchange keeps the clocks.
    var deadline: Instant?

    /// The exchange that uses the connection.
    var assignment: Assignment? {
        switch state {
        case .connecting(let assignment, _), .handshaking(let assignment), .busy(let assignment):
            assignment
        case .releasing, .idle: nil
        }
    }
}

/// The connections of one worker to one backend.
struct BackendPool: ~Copyable {
    var backend: BackendPlan
    /// Idle connections; the last one used is the first one reused: it is the warmest.
    var idle: [Handle] = []
    /// Connections of any state.
    var open = 0
    /// Who waits for a connection because there are as many as there may be.
    var waiters: [Assignment] = []
    /// Who waits for the backend's addresses.
    var resolving: [Assignment] = []
    /// They have been asked for.
    var isResolving = false
    var addresses: [SocketAddress] = []
    var addressesUntil = Instant(nanoseconds: 0)
    /// No plan uses it any more.
    var isRetired = false
    /// This worker's share of `connections.max` and `connections.max_idle`.
    let maximum: Int
    let maximumIdle: Int

    init(backend: BackendPlan, workers: Int) {
        self.backend = backend
        maximum = max(1, backend.connections.maximum / workers)
        maximumIdle = (backend.connections.maximumIdle + workers - 1) / workers
    }
}
