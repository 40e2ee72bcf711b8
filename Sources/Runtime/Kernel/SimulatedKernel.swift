public import Gateway
public import Primitives

/// A world for one worker: in-memory pipes, a virtual clock and one seed (design D2).
///
/// Tests own the `SimulatedWorld` behind it: they connect clients, play backends, and let faults
/// happen.
public struct SimulatedKernel: Kernel, ~Copyable {
    private let world: SimulatedWorld

    /// The kernel's door into a world.
    public init(world: SimulatedWorld) { self.world = world }

    /// See `Kernel`.
    public mutating func listen(on address: SocketAddress) throws(KernelFailure) -> Int32 {
        world.openListener()
    }

    /// See `Kernel`.
    public mutating func accept(from listener: Int32) -> Opening { world.accept() }

    /// See `Kernel`. Nobody else listens in this world.
    public mutating func steerAway(from listener: Int32, behind count: Int) {}

    /// See `Kernel`.
    public mutating func connect(to address: SocketAddress) -> Opening { world.connect() }

    /// See `Kernel`.
    public mutating func connectionError(of descriptor: Int32) -> Int32 {
        world.connectionError(descriptor)
    }

    /// See `Kernel`.
    public mutating func read(
        _ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer
    ) -> Transfer {
        let (transfer, bytes) = world.read(descriptor, limit: buffer.count)
        unsafe buffer.copyBytes(from: bytes)
        return transfer
    }

    /// See `Kernel`.
    public mutating func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Transfer {
        world.write(descriptor, unsafe Array(bytes))
    }

    /// See `Kernel`.
    public mutating func write(
        _ descriptor: Int32, _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> Transfer {
        world.write(descriptor, unsafe Array(first) + Array(second))
    }

    /// See `Kernel`.
    public mutating func shutdownWriting(_ descriptor: Int32) { world.shutdown(descriptor) }

    /// See `Kernel`.
    public mutating func close(_ descriptor: Int32) { world.close(descriptor) }

    /// See `Kernel`.
    public mutating func descriptorLimit() -> Int { world.descriptorLimit }

    /// See `Kernel`.
    public mutating func watch(_ descriptor: Int32, token: UInt64, for interest: Interest) {
        world.watch(descriptor, token: token, interest)
    }

    /// See `Kernel`.
    public mutating func rewatch(_ descriptor: Int32, token: UInt64, for interest: Interest) {
        world.watch(descriptor, token: token, interest)
    }

    /// See `Kernel`. Never blocks: the tests move the clock.
    public mutating func wait(until deadline: Instant?, ready: inout [Readiness]) {
        world.nextDeadline = deadline
        ready = world.readiness()
    }

    /// See `Kernel`.
    public mutating func now() -> Instant { world.now }

    /// See `Kernel`.
    public mutating func wallTime() -> WallTime {
        world.wall
    }

    /// See `Kernel`.
    public mutating func random() -> UInt64 { world.random.next() }

    /// See `Kernel`. Every name is one address, known at once.
    public mutating func resolve(host: String, port: UInt16, ticket: UInt64) {
        let address = SocketAddress(ipv4: (10, 0, 0, 1), port: port)
        world.mail.append(.resolved(ticket: ticket, .found([address])))
    }

    /// See `Kernel`. There is no outside to fetch from, but what a test has put there.
    public mutating func fetchImages(_ images: ImageOrder, ticket: UInt64) {
        world.imageOrders.append(images)
        guard let found = world.images else { return }
        world.mail.append(.images(ticket: ticket, Self.answer(to: images, found)))
    }

    private static func answer(
        to order: ImageOrder, _ images: [[UInt8]: [UInt8]]
    ) -> FetchedImages {
        var found: [[UInt8]: [UInt8]] = [:]
        for url in order.urls {
            guard let image = images[url] else { return .failed("there is no such image") }
            guard order.take(image.count) else { return .overloaded("there is no room") }
            found[url] = image
        }
        return .found(found)
    }

    /// See `Kernel`. The test says when the answer is there.
    public mutating func answerAside(
        _ request: AdminRequest, _ respond: @escaping @Sendable (AdminRequest) -> AdminAnswer,
        ticket: AdminTicket
    ) {
        world.answersAside.append(.adminAnswer(ticket, respond(request)))
    }

    /// See `Kernel`.
    public mutating func takeMail() -> [Mail] {
        let mail = world.mail
        world.mail = []
        return mail
    }

    /// See `Kernel`.
    public mutating func log(_ lines: [UInt8]) { world.log.append(contentsOf: lines) }

    /// See `Kernel`.
    public mutating func journal(_ records: [UInt8]) -> JournalOutcome {
        world.journal(records, isNewSegment: false)
    }

    /// See `Kernel`.
    public mutating func renewJournal(with records: [UInt8]) -> JournalOutcome {
        world.journal(records, isNewSegment: true)
    }

    /// See `Kernel`.
    public mutating func endJournal() { world.endJournal() }
}

/// The other side of a `SimulatedKernel`. Single-threaded, like the worker that lives in it.
public final class SimulatedWorld {
    /// What may go wrong at a read or write of the worker.
    public struct Faults: Sendable {
        /// Every so many bytes at most are moved at once; nil moves all.
        public var shortTransfers: Int?
        /// The share of reads and writes that say "not now" first.
        public var stallRate = 0.0
        /// The worker's n-th read or write breaks its connection; nil breaks none.
        public var resetAtOperation: Int?
        /// The share of reads and writes that find their connection broken (ECONNRESET, EPIPE).
        public var resetRate = 0.0
        /// The share of connections that backends do not take (ECONNREFUSED).
        public var refusalRate = 0.0
        /// The share of new descriptors for which there is no room (EMFILE).
        public var exhaustionRate = 0.0
        /// From the n-th read, write or journalling on, nothing that the worker does reaches
        /// anybody: its process was killed.
        public var killAtOperation: Int?
        /// The same from the n-th journalling on: whatever was to wait for it must not have gone.
        public var killAtJournalling: Int?
        /// Why the journal cannot be written, as an `errno` value.
        public var journalFailure: Int32?

        /// None.
        public init() {}
    }

    /// One end's view of a connection between the worker and somebody.
    private struct Pipe {
        var toWorker: [UInt8] = []
        var fromWorker: [UInt8] = []
        var peerEnded = false
        /// The peer takes nothing more: what is sent to it is answered with a reset.
        var isRefusing = false
        var isBroken = false
        var workerClosed = false
        var window = Int.max
        var token: UInt64 = 0
        var interest: Interest = []
    }

    /// The virtual clock; it moves only when a test says so.
    public var now = Instant(nanoseconds: 1_000_000_000)
    /// What the calendar says at `now`.
    public var wall: WallTime {
        WallTime(milliseconds: 1_767_323_045_000 + Int64(now.nanoseconds / 1_000_000))
    }
    /// The worker's last word on when it wants to wake.
    public fileprivate(set) var nextDeadline: Instant?
    /// The one generator.
    public var random: SeededGenerator
    /// What may go wrong.
    public var faults = Faults()
    /// Letters for the worker.
    public var mail: [Mail] = []
    /// Images that can be fetched, by URL; nil: they never come.
    public var images: [[UInt8]: [UInt8]]? = [:]
    /// Letters with answers that take long: to be put to the others.
    public var answersAside: [Mail] = []
    /// Images that the worker has asked for.
    public fileprivate(set) var imageOrders: [ImageOrder] = []
    /// What the worker is told that it may have open.
    public var descriptorLimit = 1_000_000
    /// The access log.
    public fileprivate(set) var log: [UInt8] = []
    /// The segment of the journal that is written now; nil when there is none.
    public private(set) var journal: [UInt8]?
    /// Segments that the worker has given up.
    public var retiredJournals: [[UInt8]] = []
    /// The worker's reads, writes and journallings so far.
    public private(set) var operations = 0
    /// The worker's journallings so far.
    private var journallings = 0
    /// How often the worker asked to be told of a descriptor that it had closed: by then it may be
    /// another one's.
    public private(set) var watchesOfClosed = 0
    /// Connections that the worker has opened and that nobody has taken yet.
    public private(set) var newBackends: [Int32] = []

    private var pipes: [Int32: Pipe] = [:]
    private var arrivals: [Int32] = []
    private var closedListeners: Set<Int32> = []
    private var nextDescriptor: Int32 = 100
    private let listener: Int32 = 3

    /// An empty world.
    public init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    // MARK: - The tests' side

    /// A client connects; the result is its name in the calls below.
    public func connectClient() -> Int32 {
        let descriptor = open()
        arrivals.append(descriptor)
        return descriptor
    }

    /// The connections that the worker has opened since the last call.
    public func takeNewBackends() -> [Int32] {
        let taken = newBackends
        newBackends = []
        return taken
    }

    /// Sends bytes to the worker.
    public func send(_ bytes: [UInt8], on connection: Int32) {
        pipes[connection]?.toWorker.append(contentsOf: bytes)
    }

    /// Takes what the worker has sent.
    public func receive(on connection: Int32) -> [UInt8] {
        let bytes = pipes[connection]?.fromWorker ?? []
        pipes[connection]?.fromWorker = []
        return bytes
    }

    /// Nobody fetches images any more.
    public func forgetImageOrders() { imageOrders = [] }

    /// Ends this side's bytes, as shutdown(2) does.
    public func end(_ connection: Int32) { pipes[connection]?.peerEnded = true }

    /// Closes this side while bytes of the worker are unread: what was sent before can still be
    /// read, and nothing more be sent.
    public func hangUp(_ connection: Int32) {
        pipes[connection]?.peerEnded = true
        pipes[connection]?.isRefusing = true
    }

    /// Breaks a connection.
    public func reset(_ connection: Int32) {
        pipes[connection]?.isBroken = true
        pipes[connection]?.toWorker = []
    }

    /// How much the worker may send before the peer must take it.
    public func setWindow(_ bytes: Int, on connection: Int32) { pipes[connection]?.window = bytes }

    /// Whether the worker has closed a connection.
    public func isClosed(_ connection: Int32) -> Bool {
        pipes[connection]?.workerClosed ?? true
    }

    /// Clients that the worker has not accepted yet.
    public var waitingClients: Int { arrivals.count }

    /// Connections that the worker has not closed.
    public var openConnections: Int { pipes.values.count { !$0.workerClosed } }

    /// Bytes that the worker has not read.
    public func unread(on connection: Int32) -> Int { pipes[connection]?.toWorker.count ?? 0 }

    // MARK: - The kernel's side

    fileprivate func openListener() -> Int32 { listener }

    fileprivate func accept() -> Opening {
        guard !arrivals.isEmpty else { return .wouldBlock }
        return happens(faults.exhaustionRate) ? .failed(24) : .ready(arrivals.removeFirst())
    }

    fileprivate func connect() -> Opening {
        if happens(faults.exhaustionRate) { return .failed(24) }
        let descriptor = open()
        if happens(faults.refusalRate) {
            reset(descriptor)
            return .inProgress(descriptor)
        }
        newBackends.append(descriptor)
        return .inProgress(descriptor)
    }

    fileprivate func connectionError(_ descriptor: Int32) -> Int32 {
        pipes[descriptor]?.isBroken == true ? 111 : 0
    }

    fileprivate func read(_ descriptor: Int32, limit: Int) -> (Transfer, [UInt8]) {
        guard let pipe = pipes[descriptor], !isFailing(descriptor) else {
            return (.failed(104), [])
        }
        guard !pipe.toWorker.isEmpty else { return (pipe.peerEnded ? .end : .wouldBlock, []) }
        if isStalling { return (.wouldBlock, []) }
        let bytes = Array(pipe.toWorker.prefix(share(of: min(limit, pipe.toWorker.count))))
        pipes[descriptor]?.toWorker.removeFirst(bytes.count)
        return (.bytes(bytes.count), bytes)
    }

    fileprivate func write(_ descriptor: Int32, _ bytes: [UInt8]) -> Transfer {
        guard let pipe = pipes[descriptor], !isFailing(descriptor), !pipe.isRefusing else {
            return .failed(32)
        }
        let room = pipe.window - pipe.fromWorker.count
        if room <= 0 || isStalling { return .wouldBlock }
        if isKilled { return .bytes(bytes.count) }
        let count = share(of: min(bytes.count, room))
        pipes[descriptor]?.fromWorker.append(contentsOf: bytes.prefix(count))
        return .bytes(count)
    }

    /// The worker's last bytes are in the pipe already: there is nothing to note.
    fileprivate func shutdown(_ descriptor: Int32) {}

    fileprivate func close(_ descriptor: Int32) {
        pipes[descriptor]?.workerClosed = true
        if pipes[descriptor] == nil { closedListeners.insert(descriptor) }
    }

    fileprivate func watch(_ descriptor: Int32, token: UInt64, _ interest: Interest) {
        if pipes[descriptor]?.workerClosed ?? closedListeners.contains(descriptor) {
            watchesOfClosed += 1
        }
        pipes[descriptor]?.token = token
        pipes[descriptor]?.interest = interest
    }

    fileprivate func readiness() -> [Readiness] {
        var ready: [Readiness] = []
        if !arrivals.isEmpty {
            ready.append(
                Readiness(token: 0, isReadable: true, isWritable: false, isBroken: false))
        }
        for descriptor in pipes.keys.sorted() {
            guard let pipe = pipes[descriptor], !pipe.workerClosed, pipe.token != 0 else {
                continue
            }
            let isReadable =
                pipe.interest.contains(.read)
                && (!pipe.toWorker.isEmpty || pipe.peerEnded || pipe.isBroken)
            let isWritable =
                pipe.interest.contains(.write)
                && (pipe.fromWorker.count < pipe.window || pipe.isRefusing)
            let isBroken = pipe.isBroken || pipe.isRefusing
            guard isReadable || isWritable || isBroken else { continue }
            ready.append(
                Readiness(
                    token: pipe.token, isReadable: isReadable, isWritable: isWritable,
                    isBroken: isBroken))
        }
        return ready
    }

    fileprivate func journal(_ records: [UInt8], isNewSegment: Bool) -> JournalOutcome {
        operations += 1
        journallings += 1
        if let number = faults.journalFailure { return .failed(number) }
        if isKilled { return .written(segmentBytes: 0) }
        if isNewSegment { endJournal() }
        journal = (journal ?? []) + records
        return .written(segmentBytes: journal?.count ?? 0)
    }

    fileprivate func endJournal() {
        guard !isKilled else { return }
        if let journal { retiredJournals.append(journal) }
        journal = nil
    }

    /// Whether the worker's process was killed.
    public var isKilled: Bool {
        faults.killAtOperation.map { operations >= $0 } ?? false
            || faults.killAtJournalling.map { journallings >= $0 } ?? false
    }

    private func open() -> Int32 {
        nextDescriptor += 1
        pipes[nextDescriptor] = Pipe()
        return nextDescriptor
    }

    /// Counts an operation; the one that is to fail breaks its connection.
    private func isFailing(_ descriptor: Int32) -> Bool {
        operations += 1
        if operations == faults.resetAtOperation || happens(faults.resetRate) { reset(descriptor) }
        return pipes[descriptor]?.isBroken == true
    }

    private var isStalling: Bool { happens(faults.stallRate) }

    private func happens(_ rate: Double) -> Bool {
        rate > 0 && Double.random(in: 0..<1, using: &random) < rate
    }

    private func share(of count: Int) -> Int {
        guard let most = faults.shortTransfers else { return count }
        return min(count, Int.random(in: 1...most, using: &random))
    }
}
