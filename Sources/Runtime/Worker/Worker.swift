public import Gateway
import Primitives
public import Wire

/// A place where connections come from, already open.
public struct OpenListener: Sendable {
    /// The listening descriptor; the worker closes it.
    public let descriptor: Int32
    /// TLS for its new connections; nil for cleartext.
    public internal(set) var tls: TLSContext?

    /// A listener.
    public init(descriptor: Int32, tls: TLSContext?) {
        self.descriptor = descriptor
        self.tls = tls
    }
}

/// What a worker answers.
public enum WorkerRole: Sendable {
    /// Clients' requests, by exchanges.
    case gateway
    /// The admin side, on a thread of its own.
    case admin(@Sendable (AdminRequest) -> AdminAnswer)
}

/// One event loop: it owns its listeners, connections, pools and exchanges, and shares nothing.
///
/// The same code runs over `LinuxKernel` and over `SimulatedKernel`.
///
/// What only looks at a worker is inlined where it is asked often: a call would be given a copy of
/// all of it.
public struct Worker<K: Kernel & ~Copyable>: ~Copyable {
    var kernel: K
    var plan: Plan
    var pools: Slab<BackendPool>
    /// The pool of each of `plan.backends`.
    var poolOfBackend: [Handle] = []
    var clients: Slab<ClientConnection>
    var upstreams: Slab<UpstreamConnection>
    var flights: Slab<Flight>
    var sessions: Slab<MultiplexedSession>
    /// Sessions that may have something to send at the end of this turn.
    var dirtySessions: [Handle] = []
    var journal = JournalKeeping()
    /// Answers that leave once the journal has their records.
    var heldAnswers: [HeldAnswer] = []
    /// Empty buffers for such answers.
    var spareBuffers: [[UInt8]] = []
    var wheel: TimerWheel
    var context: ExchangeContext
    /// What answers say of the time.
    var date = DateField()
    /// What the exchange that was called last has ordered, until it is carried out.
    var orders = ExchangeOrders()
    /// Empty orders that keep their memory.
    var spareOrders: [ExchangeOrders] = []
    var listeners: [OpenListener]
    var acceptPausedUntil: Instant?
    var drain = Drain.none
    /// Requests that a drain has broken off.
    var brokenOffCount = 0
    var epochs = PlanEpochs()
    private var audit: ReservationAudit
    /// When it looks at reservations next, in a turn that happens anyway.
    private var nextAudit: Instant
    let role: WorkerRole
    let workerCount: Int
    let ledger: LedgerQueue
    var limits = HTTP1Limits()
    /// How many connections clients may have, for the sake of descriptors.
    private let clientDescriptors: Int

    // Memory that every connection borrows while it is served.
    var readBuffer = [UInt8](repeating: 0, count: Limits.readBytes)
    var plaintext: [UInt8] = []
    var writeBuffer: [UInt8] = []
    var logBuffer: [UInt8] = []
    private var ready: [Readiness] = []
    private var due: [Int] = []

    /// A worker over an open kernel and listeners.
    public init(
        kernel: consuming K, listeners: [OpenListener], plan: Plan, role: WorkerRole, shard: Int,
        workerCount: Int, ledger: LedgerQueue
    ) {
        var kernel = consume kernel
        let now = kernel.now()
        let seed = kernel.random()
        let descriptors = min(kernel.descriptorLimit(), Int(Int32.max))
        clientDescriptors = max(1, descriptors * Limits.clientDescriptorPercent / 100)
        context = ExchangeContext(shard: shard, seed: seed, now: now, wall: kernel.wallTime())
        wheel = TimerWheel(now: now)
        audit = ReservationAudit(shard: shard)
        nextAudit = now
        self.kernel = kernel
        self.listeners = listeners
        self.plan = plan
        self.role = role
        self.workerCount = workerCount
        self.ledger = ledger
        pools = Slab()
        clients = Slab()
        upstreams = Slab()
        flights = Slab()
        sessions = Slab()
        adopt(plan)
        for index in listeners.indices {
            self.kernel.watch(
                listeners[index].descriptor, token: Token.listener(index).word, for: .read)
        }
    }

    /// Runs until a drain has finished.
    public mutating func run() {
        while !isDone { turn() }
        leaveBackends()
        kernel.endJournal()
    }

    /// One turn of the loop: waits, then serves everything that is ready or due.
    public mutating func turn() {
        var ready: [Readiness] = []
        swap(&ready, &self.ready)
        kernel.wait(until: nextWake, ready: &ready)
        context.now = kernel.now()
        context.wall = kernel.wallTime()
        context.admitsRequests = plan.ledger.whenFull == .continue || plan.metrics.canRecord
        // First the mail: what comes after a reload was answered is served by the new plan.
        for mail in kernel.takeMail() { open(mail) }
        // Then what is new: it is recorded and on its way to its backend before the answers that
        // may take long to pass on.
        for event in ready where !isFromBackend(event) { dispatch(event) }
        writeJournal()
        for event in ready where isFromBackend(event) { dispatch(event) }
        ready.removeAll(keepingCapacity: true)
        swap(&ready, &self.ready)
        fireTimers()
        finishTurn()
        if context.now >= nextAudit { auditReservations() }
        if !logBuffer.isEmpty {
            kernel.log(logBuffer)
            logBuffer.removeAll(keepingCapacity: true)
        }
    }

    @inline(__always)
    private var nextWake: Instant? {
        var wake = wheel.nextWake()
        for other in [acceptPausedUntil, drain.nextStep, journal.nextLook] {
            if let other { wake = min(wake ?? other, other) }
        }
        return wake
    }

    /// Compares what this worker's exchanges hold with what is set aside for them in the limits.
    /// A worker that sleeps is not woken for it: what it holds does not change meanwhile.
    private mutating func auditReservations() {
        nextAudit = context.now.advanced(byMilliseconds: Limits.reservationAuditMilliseconds)
        var held = HeldReservations()
        for handle in flights.handles { flights[handle].exchange.addReserved(to: &held) }
        guard let imbalance = audit.look(at: plan.quota, held) else { return }
        plan.metrics.reservationImbalance(imbalance, shard: context.shard)
    }

    private func isFromBackend(_ event: Readiness) -> Bool {
        if case .upstream = Token(word: event.token) { true } else { false }
    }

    private mutating func dispatch(_ event: Readiness) {
        switch Token(word: event.token) {
        case .listener(let index):
            guard listeners.indices.contains(index) else { return }
            acceptClients(from: listeners[index])
        case .client(let handle):
            guard clients.contains(handle) else { return }
            clientIsReady(handle, event)
        case .upstream(let handle):
            guard upstreams.contains(handle) else { return }
            upstreamIsReady(handle, event)
        }
    }

    private mutating func fireTimers() {
        if let paused = acceptPausedUntil, context.now >= paused { resumeAccepting() }
        advanceDrain()
        var due: [Int] = []
        swap(&due, &self.due)
        wheel.advance(to: context.now, due: &due)
        for index in due {
            switch TimerSlot(index: index) {
            case .client(let slot): if let handle = clients.handle(at: slot) { clientIsDue(handle) }
            case .upstream(let slot):
                if let handle = upstreams.handle(at: slot) { upstreamIsDue(handle) }
            case .flight(let slot): if let handle = flights.handle(at: slot) { flightIsDue(handle) }
            }
        }
        due.removeAll(keepingCapacity: true)
        swap(&due, &self.due)
    }

    // MARK: - Mail

    private mutating func open(_ mail: Mail) {
        switch mail {
        case .resolved(let ticket, let addresses):
            backendResolved(Handle(word: ticket), addresses)
        case .images(let ticket, let images):
            let flight = Handle(word: ticket)
            guard flights.contains(flight) else { return }
            flights[flight].exchange.imagesFetched(
                images, context: &context, orders: orders)
            carryOut(flight)
        case .adminAnswer(let ticket, let answer): adminAnswered(ticket, answer)
        case .plan(let plan, let listenerTLS):
            adopt(plan)
            for (index, tls) in zip(listeners.indices, listenerTLS) { listeners[index].tls = tls }
        case .drain(let schedule): begin(schedule)
        }
    }

    /// New requests are served by `plan`; backends that have not changed keep their connections.
    private mutating func adopt(_ plan: Plan) {
        self.plan = plan
        limits.headBytes = plan.limits.headerBytes
        epochs.advance()
        let known = poolOfBackend
        poolOfBackend = plan.backends.map { backend in
            for pool in known where pools[pool].backend.hasSameConnections(as: backend) {
                pools[pool].backend = backend
                return pool
            }
            return pools.insert(BackendPool(backend: backend, workers: workerCount))
        }
        for pool in known where !poolOfBackend.contains(pool) { retire(pool) }
    }

    // MARK: - Accepting

    mutating func acceptClients(
        from listener: OpenListener, atMost count: Int = Limits.acceptsPerTurn
    ) {
        for _ in 0..<count {
            // The rest waits in the kernel; backends must not be left without a descriptor.
            guard hasRoomForClient else { return pauseAccepting() }
            switch kernel.accept(from: listener.descriptor) {
            case .ready(let descriptor), .inProgress(let descriptor):
                adopt(descriptor, tls: listener.tls)
            case .wouldBlock: return
            case .failed:
                // Out of descriptors or memory: serve what is there before taking more.
                return pauseAccepting()
            }
        }
    }

    /// The admin side is let in even when clients take all that they may.
    private var hasRoomForClient: Bool {
        guard case .gateway = role else { return true }
        let most = min(plan.limits.connections, clientDescriptors)
        return plan.metrics.clientConnections.value < most
    }

    private mutating func pauseAccepting() {
        setAccepting(false)
        acceptPausedUntil = context.now.advanced(byMilliseconds: Limits.acceptPauseMilliseconds)
    }

    private mutating func resumeAccepting() {
        acceptPausedUntil = nil
        setAccepting(true)
    }

    private mutating func setAccepting(_ isAccepting: Bool) {
        for (index, listener) in listeners.enumerated() {
            kernel.rewatch(
                listener.descriptor, token: Token.listener(index).word,
                for: isAccepting ? .read : [])
        }
    }

    private mutating func adopt(_ descriptor: Int32, tls: TLSContext?) {
        var session: TLSSession?
        if let tls {
            do throws(TLSFailure) {
                session = try TLSSession(server: tls)
            } catch {
                return kernel.close(descriptor)
            }
        }
        let deadline = context.now.advanced(byMilliseconds: Limits.requestHeadMilliseconds)
        // The token names the slab's slot, which is known only once the connection is in it.
        let handle = clients.insert(
            ClientConnection(
                transport: Transport(
                    descriptor: descriptor, token: 0, tls: nil, interest: .read),
                reader: HTTP1RequestReader(limits: limits), deadline: deadline))
        let token = Token.client(handle).word
        clients[handle].transport = Transport(
            descriptor: descriptor, token: token, tls: session.take(), interest: .read)
        kernel.watch(descriptor, token: token, for: .read)
        wheel.arm(TimerSlot.client(Int(handle.index)).index, at: deadline)
        plan.metrics.clientConnections.add(1)
    }
}

/// What a readiness report is about.
enum Token {
    case listener(Int)
    case client(Handle)
    case upstream(Handle)

    private static let upstreamBit: UInt64 = 1 << 63

    init(word: UInt64) {
        if word >> 32 == 0 {
            self = .listener(Int(word))
        } else if word & Self.upstreamBit != 0 {
            self = .upstream(Handle(word: word & ~Self.upstreamBit))
        } else {
            self = .client(Handle(word: word))
        }
    }

    var word: UInt64 {
        switch self {
        case .listener(let index): UInt64(index)
        case .client(let handle): handle.word
        case .upstream(let handle): handle.word | Self.upstreamBit
        }
    }
}

/// What a timer is about; three slabs share one wheel.
enum TimerSlot {
    case client(Int)
    case upstream(Int)
    case flight(Int)

    init(index: Int) {
        switch index % 3 {
        case 0: self = .client(index / 3)
        case 1: self = .upstream(index / 3)
        default: self = .flight(index / 3)
        }
    }

    var index: Int {
        switch self {
        case .client(let slot): slot * 3
        case .upstream(let slot): slot * 3 + 1
        case .flight(let slot): slot * 3 + 2
        }
    }
}
