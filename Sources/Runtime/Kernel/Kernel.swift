public import Gateway
import Glibc
public import Primitives

/// The outcome of moving bytes through a descriptor.
public enum Transfer: Equatable, Sendable {
    /// That many bytes were moved, at least one.
    case bytes(Int)
    /// Nothing can be moved now; readiness will be reported.
    case wouldBlock
    /// The peer has closed its sending side (reads only).
    case end
    /// The connection is broken; the number is an `errno` value.
    case failed(Int32)
}

/// The outcome of opening a descriptor.
public enum Opening: Equatable, Sendable {
    /// The descriptor is open and ready for use.
    case ready(Int32)
    /// The connection is being made; the descriptor becomes writable when it is decided.
    case inProgress(Int32)
    /// There is nothing to accept now.
    case wouldBlock
    /// It failed; the number is an `errno` value.
    case failed(Int32)
}

/// The outcome of writing to the journal.
public enum JournalOutcome: Equatable, Sendable {
    /// The kernel has it: it outlives this process. The segment is that long now.
    case written(segmentBytes: Int)
    /// Nothing of it was written; the number is an `errno` value.
    case failed(Int32)
}

/// What a descriptor is watched for. Errors and hang-ups are always reported.
public struct Interest: OptionSet, Sendable {
    /// The bits.
    public let rawValue: UInt8
    /// A set from bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// Bytes (or the end of them) can be read.
    public static let read = Interest(rawValue: 1)
    /// Bytes can be written.
    public static let write = Interest(rawValue: 2)
}

/// One report of `wait`.
public struct Readiness: Sendable {
    /// What `watch` was given.
    public var token: UInt64
    /// There is something to read, or the end.
    public var isReadable: Bool
    /// Something can be written.
    public var isWritable: Bool
    /// The connection is broken in both directions.
    public var isBroken: Bool

    /// A report.
    public init(token: UInt64, isReadable: Bool, isWritable: Bool, isBroken: Bool) {
        self.token = token
        self.isReadable = isReadable
        self.isWritable = isWritable
        self.isBroken = isBroken
    }
}

/// The one door to the machine (design D2): everything a Worker cannot compute comes through here.
///
/// `LinuxKernel` makes system calls; `SimulatedKernel` is a world of in-memory pipes with a virtual
/// clock and one seed, in which the unchanged Worker runs in tests.
public protocol Kernel: ~Copyable {
    /// Opens a listener; several workers may listen on one address.
    /// - Throws: the `errno` value.
    mutating func listen(on address: SocketAddress) throws(KernelFailure) -> Int32
    /// Accepts one connection.
    mutating func accept(from listener: Int32) -> Opening
    /// Lets another process have the new connections, if one listens on the same address: the one
    /// whose listener came next after `count` of ours. Without one, nothing changes.
    mutating func steerAway(from listener: Int32, behind count: Int)
    /// Starts a connection.
    mutating func connect(to address: SocketAddress) -> Opening
    /// Why a connection in progress failed; 0 when it stands.
    mutating func connectionError(of descriptor: Int32) -> Int32
    /// Reads at most `buffer.count` bytes.
    mutating func read(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer) -> Transfer
    /// Writes as much of `bytes` as the peer's window takes.
    mutating func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Transfer
    /// The same of two pieces, one behind the other, in one call.
    mutating func write(
        _ descriptor: Int32, _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> Transfer
    /// Sends the end of our bytes and keeps on reading.
    mutating func shutdownWriting(_ descriptor: Int32)
    /// Closes; nothing is reported for the descriptor any more.
    mutating func close(_ descriptor: Int32)
    /// How many descriptors this process may have open.
    mutating func descriptorLimit() -> Int
    /// Begins to report readiness (level-triggered).
    mutating func watch(_ descriptor: Int32, token: UInt64, for interest: Interest)
    /// Changes what is reported.
    mutating func rewatch(_ descriptor: Int32, token: UInt64, for interest: Interest)
    /// Waits until something is ready, mail has come or `deadline` has passed; fills `ready`.
    mutating func wait(until deadline: Instant?, ready: inout [Readiness])
    /// The monotonic time, read once a turn of the loop.
    mutating func now() -> Instant
    /// The civil time, read once a turn of the loop.
    mutating func wallTime() -> WallTime
    /// Random bits that nobody can guess.
    mutating func random() -> UInt64
    /// Asks for the addresses of a name; the answer comes as mail with the same ticket.
    mutating func resolve(host: String, port: UInt16, ticket: UInt64)
    /// Fetches images; the answer comes as mail with the same ticket.
    mutating func fetchImages(_ images: ImageOrder, ticket: UInt64)
    /// Answers a request to the admin side beside the loop; the answer comes as mail with the same
    /// ticket.
    mutating func answerAside(
        _ request: AdminRequest, _ respond: @escaping @Sendable (AdminRequest) -> AdminAnswer,
        ticket: AdminTicket)
    /// Everything that other threads have posted since the last call.
    mutating func takeMail() -> [Mail]
    /// Hands over lines of the access log.
    mutating func log(_ lines: [UInt8])
    /// Appends records to the journal, all or none; begins a segment when there is none.
    mutating func journal(_ records: [UInt8]) -> JournalOutcome
    /// Begins a segment of the journal with `records`, and gives up the former one, whose settled
    /// rows are in the ledger's queue.
    mutating func renewJournal(with records: [UInt8]) -> JournalOutcome
    /// Gives up the segment of the journal: nothing in it is under way any more.
    mutating func endJournal()
}

/// A system call that failed at start.
public struct KernelFailure: Error, Equatable, Sendable {
    /// The `errno` value.
    public let number: Int32

    /// A failure.
    public init(number: Int32) { self.number = number }

    /// What the number means, for people.
    public var reason: String {
        unsafe strerror(number).map { unsafe String(cString: $0) } ?? "errno \(number)"
    }
}
