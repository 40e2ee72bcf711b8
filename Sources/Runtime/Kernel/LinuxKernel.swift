import CSys
import Glibc
public import Gateway
public import Primitives

/// The real machine: non-blocking sockets and one level-triggered epoll instance for each worker.
@safe public struct LinuxKernel: Kernel, ~Copyable {
    /// The token of the mailbox's eventfd; no slab handle has generation 0.
    private static let mailToken = UInt64(UInt32.max)
    private static let eventCapacity = 512

    private let epoll: Int32
    private let mailDescriptor: Int32
    private let mailbox: Mailbox
    private let resolver: Resolver
    private let logSink: AccessLogSink
    private let events: UnsafeMutablePointer<epoll_event>
    private var instant = Instant(nanoseconds: 0)
    private var hasMail = true
    private let imageFetches = Gauge()
    private let answersAside = Gauge()
    private var journalWriter: JournalWriter?

    /// How other threads reach the worker that owns this kernel.
    public var mail: Mailbox { mailbox }

    /// Opens the epoll instance. A worker that admits requests needs a journal.
    /// - Throws: the `errno` value, such as EMFILE.
    public init(
        resolver: Resolver, logSink: AccessLogSink, journal: JournalWriter?
    ) throws(KernelFailure) {
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw KernelFailure(number: errno) }
        let descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
        guard descriptor >= 0 else { throw KernelFailure(number: errno) }
        mailDescriptor = descriptor
        mailbox = Mailbox { _ = eventfd_write(descriptor, 1) }
        self.resolver = resolver
        self.logSink = logSink
        journalWriter = journal
        unsafe events = UnsafeMutablePointer.allocate(capacity: Self.eventCapacity)
        watch(mailDescriptor, token: Self.mailToken, for: .read)
    }

    deinit {
        unsafe events.deallocate()
        // The mailbox may outlive us: its eventfd stays open until the process ends.
        _ = Glibc.close(epoll)
    }

    /// See `Kernel`. SO_REUSEPORT spreads connections over workers without a shared lock.
    public mutating func listen(on address: SocketAddress) throws(KernelFailure) -> Int32 {
        let family = address.isIPv6 ? AF_INET6 : AF_INET
        let descriptor = socket(family, streamSocket, 0)
        guard descriptor >= 0 else { throw KernelFailure(number: errno) }
        setOption(descriptor, SOL_SOCKET, SO_REUSEADDR)
        setOption(descriptor, SOL_SOCKET, SO_REUSEPORT)
        if address.isIPv6 { setOption(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY) }
        guard address.bind(descriptor), Glibc.listen(descriptor, Int32(Limits.listenBacklog)) == 0
        else {
            let number = errno
            close(descriptor)
            throw KernelFailure(number: number)
        }
        return descriptor
    }

    /// See `Kernel`.
    public mutating func accept(from listener: Int32) -> Opening {
        while true {
            let descriptor = csys_accept(listener, nil, nil)
            if descriptor >= 0 {
                setOption(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY)
                return .ready(descriptor)
            }
            switch errno {
            case EINTR, ECONNABORTED: continue
            case EAGAIN: return .wouldBlock
            default: return .failed(errno)
            }
        }
    }

    /// See `Kernel`. A connection that our listener has begun to take stays ours: only what begins
    /// later goes elsewhere, so that nothing is lost when the listener is closed a while later.
    public mutating func steerAway(from listener: Int32, behind count: Int) {
        _ = csys_steer_connections(listener, UInt32(count))
    }

    /// See `Kernel`.
    public mutating func connect(to address: SocketAddress) -> Opening {
        let descriptor = socket(address.isIPv6 ? AF_INET6 : AF_INET, streamSocket, 0)
        guard descriptor >= 0 else { return .failed(errno) }
        setOption(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY)
        let result = unsafe address.withUnsafeSockAddr { name, length in
            unsafe Glibc.connect(descriptor, name, length)
        }
        if result == 0 { return .ready(descriptor) }
        let number = errno
        if number == EINPROGRESS || number == EINTR { return .inProgress(descriptor) }
        close(descriptor)
        return .failed(number)
    }

    /// See `Kernel`.
    public mutating func connectionError(of descriptor: Int32) -> Int32 {
        var number: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        let result = unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &number, &length)
        return result == 0 ? number : errno
    }

    /// See `Kernel`.
    public mutating func read(
        _ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer
    ) -> Transfer {
        while true {
            let count = unsafe recv(descriptor, buffer.baseAddress, buffer.count, 0)
            if count > 0 { return .bytes(count) }
            if count == 0 { return .end }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            default: return .failed(errno)
            }
        }
    }

    /// See `Kernel`.
    public mutating func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Transfer {
        Self.transfer { unsafe send(descriptor, bytes.baseAddress, bytes.count, noSignal) }
    }

    /// See `Kernel`.
    public mutating func write(
        _ descriptor: Int32, _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> Transfer {
        // sendmsg(2) reads from what an iovec points to, although its type does not say so.
        var pieces: [2 of iovec] = unsafe [
            iovec(
                iov_base: UnsafeMutableRawPointer(mutating: first.baseAddress),
                iov_len: first.count),
            iovec(
                iov_base: UnsafeMutableRawPointer(mutating: second.baseAddress),
                iov_len: second.count),
        ]
        return unsafe withUnsafeMutablePointer(to: &pieces) { pieces in
            var message = unsafe msghdr()
            unsafe message.msg_iov = UnsafeMutableRawPointer(pieces).assumingMemoryBound(
                to: iovec.self)
            unsafe message.msg_iovlen = 2
            return Self.transfer { unsafe sendmsg(descriptor, &message, noSignal) }
        }
    }

    /// What a call that sends has come to.
    private static func transfer(_ send: () -> Int) -> Transfer {
        while true {
            let count = send()
            if count >= 0 { return .bytes(count) }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            default: return .failed(errno)
            }
        }
    }

    /// See `Kernel`.
    public mutating func shutdownWriting(_ descriptor: Int32) {
        _ = shutdown(descriptor, Int32(SHUT_WR))
    }

    /// See `Kernel`.
    public mutating func close(_ descriptor: Int32) { _ = Glibc.close(descriptor) }

    /// See `Kernel`.
    public mutating func descriptorLimit() -> Int {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return Int.max
        }
        return Int(clamping: limit.rlim_cur)
    }

    /// See `Kernel`.
    public mutating func watch(_ descriptor: Int32, token: UInt64, for interest: Interest) {
        control(EPOLL_CTL_ADD, descriptor, token, interest)
    }

    /// See `Kernel`.
    public mutating func rewatch(_ descriptor: Int32, token: UInt64, for interest: Interest) {
        control(EPOLL_CTL_MOD, descriptor, token, interest)
    }

    /// See `Kernel`.
    public mutating func wait(until deadline: Instant?, ready: inout [Readiness]) {
        let count = unsafe epoll_wait(
            epoll, events, Int32(Self.eventCapacity), timeout(until: deadline))
        readClock()
        guard count > 0 else { return }
        for index in 0..<Int(count) {
            let event = unsafe events[index]
            let token = unsafe event.data.u64
            guard token != Self.mailToken else {
                hasMail = true
                continue
            }
            let bits = unsafe event.events
            ready.append(
                Readiness(
                    token: token, isReadable: bits & EPOLLIN.rawValue != 0,
                    isWritable: bits & EPOLLOUT.rawValue != 0,
                    isBroken: bits & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0))
        }
    }

    /// See `Kernel`.
    public mutating func now() -> Instant {
        if instant.nanoseconds == 0 { readClock() }
        return instant
    }

    /// See `Kernel`.
    public mutating func wallTime() -> WallTime { SystemClock.wallTime() }

    /// See `Kernel`.
    public mutating func random() -> UInt64 {
        var generator = SystemRandomNumberGenerator()
        return generator.next()
    }

    /// See `Kernel`.
    public mutating func resolve(host: String, port: UInt16, ticket: UInt64) {
        let mailbox = mailbox
        resolver.lookup(host: host, port: port, now: instant) { addresses in
            mailbox.post(.resolved(ticket: ticket, addresses))
        }
    }

    /// See `Kernel`. One thread for each request, within `Limits.imageFetches`.
    public mutating func fetchImages(_ order: ImageOrder, ticket: UInt64) {
        let mailbox = mailbox
        guard imageFetches.value < Limits.imageFetches else {
            let reason = "as many are fetched as may be"
            return mailbox.post(.images(ticket: ticket, .overloaded(reason)))
        }
        let imageFetches = imageFetches
        imageFetches.add(1)
        do throws(KernelFailure) {
            let thread = try BackgroundThread {
                let images = ImageFetcher(order).fetch()
                imageFetches.add(-1)
                mailbox.post(.images(ticket: ticket, images))
            }
            thread.detach()
        } catch {
            imageFetches.add(-1)
            mailbox.post(.images(ticket: ticket, .overloaded("there is no thread for it")))
        }
    }

    /// See `Kernel`. A thread for each request, within `Limits.answersAside`.
    public mutating func answerAside(
        _ request: AdminRequest, _ respond: @escaping @Sendable (AdminRequest) -> AdminAnswer,
        ticket: AdminTicket
    ) {
        let (mailbox, answersAside) = (mailbox, answersAside)
        guard answersAside.value < Limits.answersAside else {
            return mailbox.post(.adminAnswer(ticket, .busy))
        }
        answersAside.add(1)
        do throws(KernelFailure) {
            let thread = try BackgroundThread {
                let answer = respond(request)
                answersAside.add(-1)
                mailbox.post(.adminAnswer(ticket, answer))
            }
            thread.detach()
        } catch {
            answersAside.add(-1)
            mailbox.post(.adminAnswer(ticket, .busy))
        }
    }

    /// See `Kernel`.
    public mutating func takeMail() -> [Mail] {
        guard hasMail else { return [] }
        hasMail = false
        var count: eventfd_t = 0
        _ = unsafe eventfd_read(mailDescriptor, &count)
        return mailbox.take()
    }

    /// See `Kernel`.
    public mutating func log(_ lines: [UInt8]) { logSink.append(lines) }

    /// See `Kernel`.
    public mutating func journal(_ records: [UInt8]) -> JournalOutcome {
        journalWriter?.append(records) ?? .failed(ENOENT)
    }

    /// See `Kernel`.
    public mutating func renewJournal(with records: [UInt8]) -> JournalOutcome {
        journalWriter?.renew(with: records) ?? .failed(ENOENT)
    }

    /// See `Kernel`.
    public mutating func endJournal() { journalWriter?.end() }

    private mutating func readClock() { instant = SystemClock.now() }

    /// The wait in whole milliseconds, rounded up so that a timer is due when we wake for it.
    private func timeout(until deadline: Instant?) -> Int32 {
        guard let deadline else { return -1 }
        let nanoseconds = deadline.nanoseconds(since: SystemClock.now())
        return Int32(clamping: (nanoseconds + 999_999) / 1_000_000)
    }

    private func control(
        _ operation: Int32, _ descriptor: Int32, _ token: UInt64, _ interest: Interest
    ) {
        var bits: UInt32 = 0
        if interest.contains(.read) { bits |= EPOLLIN.rawValue }
        if interest.contains(.write) { bits |= EPOLLOUT.rawValue }
        var event = unsafe epoll_event(events: bits, data: epoll_data_t(u64: token))
        var result = unsafe epoll_ctl(epoll, operation, descriptor, &event)
        if result != 0, errno == ENOENT, operation == EPOLL_CTL_MOD {
            // There was no room to watch it before.
            result = unsafe epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event)
        }
        precondition(result == 0 || errno == ENOMEM || errno == ENOSPC)
    }

    private func setOption(_ descriptor: Int32, _ level: Int32, _ option: Int32) {
        var enabled: Int32 = 1
        _ = unsafe setsockopt(
            descriptor, level, option, &enabled, socklen_t(MemoryLayout<Int32>.size))
    }
}

private let noSignal = Int32(MSG_NOSIGNAL)
private let streamSocket =
    Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
