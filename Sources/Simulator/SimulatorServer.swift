import CSys
import Glibc
import Primitives
public import Runtime
import Synchronization
import Wire

/// Plays a `SimulatedBackend` on a real socket: one thread for each connection, which is enough for
/// tests and first steps.
public final class SimulatorServer: Sendable {
    private static let connectionLimit = 2_000

    private let backend: SimulatedBackend
    private let address: SocketAddress
    private let connections = Atomic<Int>(0)

    /// A server that does not listen yet.
    public init(options: SimulatorOptions, address: SocketAddress) {
        backend = SimulatedBackend(options: options)
        self.address = address
    }

    /// Listens and serves until the process is told to end; calls `ready` once it listens.
    /// - Throws: the `errno` value when the address cannot be had.
    public func run(ready: () -> Void) throws(KernelFailure) {
        signal(SIGPIPE, SIG_IGN)
        let listener = try listen()
        ready()
        while true {
            let descriptor = accept(listener, nil, nil)
            guard descriptor >= 0 else {
                if errno == EMFILE || errno == ENFILE { usleep(10_000) }
                continue
            }
            guard connections.load(ordering: .relaxed) < Self.connectionLimit else {
                close(descriptor)
                continue
            }
            connections.wrappingAdd(1, ordering: .relaxed)
            do throws(KernelFailure) {
                let thread = try BackgroundThread { [self] in
                    serve(descriptor)
                    connections.wrappingSubtract(1, ordering: .relaxed)
                }
                thread.detach()
            } catch {
                connections.wrappingSubtract(1, ordering: .relaxed)
                close(descriptor)
            }
        }
    }

    private func listen() throws(KernelFailure) -> Int32 {
        let descriptor = socket(
            address.isIPv6 ? AF_INET6 : AF_INET,
            Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw KernelFailure(number: errno) }
        setOption(descriptor, SOL_SOCKET, SO_REUSEADDR)
        guard address.bind(descriptor), Glibc.listen(descriptor, 1024) == 0 else {
            let number = errno
            close(descriptor)
            throw KernelFailure(number: number)
        }
        return descriptor
    }

    // MARK: - One connection

    private func serve(_ descriptor: Int32) {
        setOption(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY)
        defer { close(descriptor) }
        var reader = HTTP1RequestReader(limits: HTTP1Limits())
        var bytes: [UInt8] = []
        var body: [UInt8] = []
        var isFirst = true
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            var position = 0
            // A preface of HTTP/2 is no request.
            let isPreface = isFirst && HTTP2Preface.match(bytes.span) != .none
            reading: while !isPreface {
                switch reader.next(bytes.span, position: &position) {
                case .needsMore: break reading
                case .head:
                    isFirst = false
                    body = []
                case .body(let range): body.append(contentsOf: bytes[range])
                case .end:
                    let request = SimulatedRequest(head: reader.head, body: body)
                    guard play(backend.reply(to: request, now: SystemClock.wallTime()), descriptor)
                    else { return }
                    reader.reset()
                case .failed: return
                }
            }
            bytes.removeFirst(position)
            if isFirst, HTTP2Preface.match(bytes.span) == .whole {
                var streams = SimulatorStreams(backend, descriptor)
                return streams.serve(bytes)
            }
            let count = unsafe chunk.withUnsafeMutableBytes {
                unsafe recv(descriptor, $0.baseAddress, $0.count, 0)
            }
            guard count > 0 else { return }
            bytes.append(contentsOf: chunk[0..<count])
        }
    }

    /// Sends a reply. False: the connection is to be closed.
    private func play(_ reply: SimulatedReply, _ descriptor: Int32) -> Bool {
        backend.running.wrappingAdd(1, ordering: .relaxed)
        defer { backend.running.wrappingSubtract(1, ordering: .relaxed) }
        var pending: [UInt8] = []
        let length = reply.writes.reduce(0) { $0 + $1.bytes.count }
        HTTP1Writer.responseHead(
            status: reply.status, fields: reply.fields,
            framing: reply.isStreamed ? .chunked : .length(length), keepAlive: true,
            version: .http11, into: &pending)
        for write in reply.writes {
            if write.afterMilliseconds > 0 {
                guard Self.send(&pending, descriptor),
                    isStillThere(descriptor, write.afterMilliseconds)
                else { return false }
            }
            if reply.isStreamed {
                HTTP1Writer.chunk(write.bytes.span, into: &pending)
            } else {
                pending.append(contentsOf: write.bytes)
            }
            guard Self.send(&pending, descriptor) else { return false }
        }
        if reply.ending == .reset {
            _ = Self.send(&pending, descriptor)
            reset(descriptor)
            return false
        }
        if reply.isStreamed { HTTP1Writer.lastChunk(into: &pending) }
        guard Self.send(&pending, descriptor) else { return false }
        backend.count(reply)
        return true
    }

    /// Waits; a peer that closes meanwhile ends the reply, as it does with a real engine.
    private func isStillThere(_ descriptor: Int32, _ milliseconds: Int) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(peerHasClosed), revents: 0)
        return unsafe poll(&entry, 1, Int32(clamping: milliseconds)) == 0
    }

    static func send(_ bytes: inout [UInt8], _ descriptor: Int32) -> Bool {
        var offset = 0
        while offset < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe Glibc.send(
                    descriptor, buffer.baseAddress.map { unsafe $0 + offset },
                    buffer.count - offset, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            offset += count
        }
        bytes.removeAll(keepingCapacity: true)
        return true
    }

    /// A close with lingering for no time is a reset.
    private func reset(_ descriptor: Int32) {
        usleep(20_000)
        var option = linger(l_onoff: 1, l_linger: 0)
        _ = unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    }

    private func setOption(_ descriptor: Int32, _ level: Int32, _ option: Int32) {
        var enabled: Int32 = 1
        _ = unsafe setsockopt(
            descriptor, level, option, &enabled, socklen_t(MemoryLayout<Int32>.size))
    }
}

/// POLLRDHUP of Linux, which needs _GNU_SOURCE in C.
private let peerHasClosed = 0x2000
