import Gateway
public import Primitives
import Wire

/// When the steps of a drain are due.
public struct DrainSchedule: Sendable {
    /// New connections go to another process from here on, if one listens on the same addresses.
    public let steerAt: Instant
    /// No more are taken.
    public let closeAt: Instant
    /// What is still under way is broken off.
    public let deadline: Instant

    /// A schedule by its three moments.
    public init(steerAt: Instant, closeAt: Instant, deadline: Instant) {
        self.steerAt = steerAt
        self.closeAt = closeAt
        self.deadline = deadline
    }

    /// A drain that begins now, as the configuration wants it.
    init(now: Instant, _ drain: DrainConfiguration) {
        let delay = max(drain.delayMilliseconds, Limits.drainSteeringMilliseconds)
        let early = max(0, delay - Limits.drainSteeringLimitMilliseconds)
        steerAt = now.advanced(byMilliseconds: early)
        closeAt = now.advanced(byMilliseconds: delay)
        deadline = closeAt.advanced(byMilliseconds: drain.timeoutMilliseconds)
    }
}

/// How far the end of a worker has come.
enum Drain {
    case none
    /// Connections are still taken; answers say `connection: close`.
    case announced(DrainSchedule)
    /// And new connections go to another process, if there is one.
    case steering(DrainSchedule)
    /// No more connections are taken, and idle ones are closed.
    case closed(deadline: Instant)
    /// What was under way has been broken off; what was said about that has a moment to go out.
    case brokenOff(until: Instant)
    /// Every connection is closed.
    case over

    /// When the next state is due.
    var nextStep: Instant? {
        switch self {
        case .none, .over: nil
        case .announced(let schedule): schedule.steerAt
        case .steering(let schedule): schedule.closeAt
        case .closed(let deadline): deadline
        case .brokenOff(let until): until
        }
    }

    /// Whether connections are not taken any more.
    var isClosed: Bool {
        switch self {
        case .none, .announced, .steering: false
        case .closed, .brokenOff, .over: true
        }
    }
}

/// The end of a worker: nothing new, and an honest end for what is under way.
extension Worker where K: ~Copyable {
    /// Whether a drain was asked for and nothing is left to do.
    public var isDone: Bool { drain.isClosed && clients.count == 0 && flights.count == 0 }

    /// Begins a drain, or hurries one that has begun.
    mutating func begin(_ schedule: DrainSchedule) {
        switch drain {
        case .none:
            drain = .announced(schedule)
            context.isDraining = true
            for handle in clients.handles {
                guard case .multiplexed(let session) = clients[handle].state else { continue }
                announceEnd(handle, session)
            }
        case .announced, .steering: drain = .announced(schedule)
        case .closed(let deadline): drain = .closed(deadline: min(deadline, schedule.deadline))
        case .brokenOff, .over: break
        }
        advanceDrain()
    }

    /// Takes the steps that are due.
    mutating func advanceDrain() {
        while let step = drain.nextStep, context.now >= step {
            switch drain {
            case .none, .over: return
            case .announced(let schedule):
                drain = .steering(schedule)
                steerAway()
            case .steering(let schedule):
                drain = .closed(deadline: schedule.deadline)
                closeListeners()
                closeIdleClients()
            case .closed:
                drain = .brokenOff(
                    until: context.now.advanced(byMilliseconds: Limits.drainFlushMilliseconds))
                breakOff()
            case .brokenOff:
                drain = .over
                for handle in clients.handles where clients.contains(handle) {
                    closeClient(handle)
                }
            }
        }
    }

    /// The listeners of all workers were opened before another process opened its own.
    private mutating func steerAway() {
        let count = if case .admin = role { 1 } else { workerCount }
        for listener in listeners { kernel.steerAway(from: listener.descriptor, behind: count) }
    }

    private mutating func closeListeners() {
        // First of all: without room for more clients accepting pauses, on all that are listed, and
        // the number of one that is closed may be a client's by then.
        let closing = listeners
        listeners = []
        for listener in closing {
            // What the kernel has accepted already would be reset by closing.
            acceptClients(from: listener, atMost: Limits.listenBacklog)
            kernel.close(listener.descriptor)
        }
    }

    private mutating func closeIdleClients() {
        for handle in clients.handles where clients.contains(handle) {
            switch clients[handle].state {
            case .greeting: awaitFirstRequest(handle)
            case .idle: closeIfSilent(handle)
            case .multiplexed(let session):
                if sessions[session].http2.streamCount == 0 { sayLastWord(session) }
            case .serving, .closing, .lingering: break
            }
        }
    }

    /// A connection that was made just now was made for a request, which is about to come.
    private mutating func awaitFirstRequest(_ handle: Handle) {
        let deadline = context.now.advanced(byMilliseconds: Limits.drainGreetingMilliseconds)
        guard deadline < clients[handle].deadline else { return }
        setClientDeadline(handle, Limits.drainGreetingMilliseconds)
    }

    /// A request may have come since the last look: it is served.
    private mutating func closeIfSilent(_ handle: Handle) {
        if !clients[handle].hasEnded { readClient(handle) }
        guard clients.contains(handle), case .idle = clients[handle].state,
            clients[handle].carried.isEmpty
        else { return }
        endClient(handle)
    }

    /// Time is over: what is under way ends in an error, which leaves before connections close.
    private mutating func breakOff() {
        for handle in flights.handles where flights.contains(handle) {
            brokenOffCount += 1
            flights[handle].exchange.drainEnded(context: &context, orders: orders)
            carryOut(handle)
        }
        for handle in clients.handles where clients.contains(handle) {
            switch clients[handle].state {
            case .multiplexed(let session): sayLastWord(session)
            case .greeting, .idle, .serving: endClient(handle)
            case .closing, .lingering: break
            }
        }
    }

    /// Backends learn that we go, as far as their protocols have a word for it.
    mutating func leaveBackends() {
        for handle in upstreams.handles where upstreams.contains(handle) {
            if case .multiplexed(let session) = upstreams[handle].state {
                sayGoodbyeToBackend(handle, session)
            } else {
                closeUpstream(handle)
            }
        }
    }
}
