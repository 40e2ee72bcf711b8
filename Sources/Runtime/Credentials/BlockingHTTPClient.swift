import CSys
import Gateway
import Glibc
import Primitives
import Wire

/// A small HTTP/1.1 client for threads beside the data path: one request, one connection.
struct BlockingHTTPClient {
    /// What went wrong, for an operator.
    struct Failure: Error {
        let message: String
        /// There is no room for the answer.
        var isOverload = false
    }

    struct Answer {
        let status: Int
        /// Where a redirect leads.
        let location: String?
        let body: [UInt8]
    }

    let timeoutMilliseconds: Int
    var bodyLimit = 1 << 20
    /// Which of a name's addresses may be connected to.
    var isAllowed: (SocketAddress) -> Bool = { _ in true }
    /// Whether the answer is still wanted.
    var isWanted: () -> Bool = { true }
    /// Takes room for so many more bytes of a body. False: there is none.
    var mayHold: (Int) -> Bool = { _ in true }
    /// Looks a name up, until a deadline.
    var resolve: (String, UInt16, Instant) -> ResolvedAddresses = {
        Resolver.resolve(host: $0, port: $1, until: $2)
    }

    /// Sends a request and reads the whole answer.
    func send(
        _ method: StaticString, _ url: BackendURL, path: String, fields: HeaderFields,
        body: [UInt8]? = nil
    ) throws(Failure) -> Answer {
        let deadline = SystemClock.now().advanced(byMilliseconds: timeoutMilliseconds)
        let descriptor = try connect(to: url, deadline)
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        HTTP1Writer.requestHead(
            method: method, path: Array(path.utf8), host: Array(url.hostField.utf8),
            fields: fields, bodyLength: body?.count, into: &bytes)
        bytes.append(contentsOf: body ?? [])
        guard url.isTLS else {
            try write(bytes, to: descriptor, deadline)
            return try readAnswer(descriptor, deadline)
        }
        var session = try Self.session(with: url.host, sending: bytes)
        return try exchange(&session, descriptor, deadline)
    }

    private static func session(
        with host: String, sending bytes: [UInt8]
    ) throws(Failure) -> TLSSession {
        do throws(TLSFailure) {
            let context = try TLSContext.client(certificateAuthorityPEM: nil, isVerified: true)
            var session = try TLSSession(client: context, serverName: host)
            try session.write(bytes.span)
            return session
        } catch {
            throw Failure(message: "TLS with \(host): \(error.reason)")
        }
    }

    // MARK: - Transport

    private func connect(to url: BackendURL, _ deadline: Instant) throws(Failure) -> Int32 {
        var problem = "no address that may be used"
        let addresses = try addresses(of: url, deadline)
        for (index, address) in addresses.enumerated() {
            // One that is dead leaves the others their time.
            let now = SystemClock.now()
            let share = deadline.milliseconds(since: now) / (addresses.count - index)
            let until = now.advanced(
                byMilliseconds: max(share, Limits.addressAttemptMilliseconds))
            let descriptor = socket(
                address.isIPv6 ? AF_INET6 : AF_INET,
                Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
                    | Int32(SOCK_NONBLOCK.rawValue), 0)
            guard descriptor >= 0 else { throw Failure(message: "no socket (errno \(errno))") }
            let result = unsafe address.withUnsafeSockAddr { name, length in
                unsafe Glibc.connect(descriptor, name, length)
            }
            if result == 0 || errno == EINPROGRESS,
                (try? wait(for: POLLOUT, descriptor, min(until, deadline))) != nil
            {
                var number: Int32 = 0
                var length = socklen_t(MemoryLayout<Int32>.size)
                _ = unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &number, &length)
                if number == 0 { return descriptor }
            }
            problem = "\(address) does not answer"
            close(descriptor)
        }
        throw Failure(message: "cannot connect to \(url.host): \(problem)")
    }

    private func addresses(
        of url: BackendURL, _ deadline: Instant
    ) throws(Failure) -> [SocketAddress] {
        switch resolve(url.host, url.port, deadline) {
        case .found(let found): return found.filter(isAllowed)
        case .failed(let reason), .unavailable(let reason): throw Failure(message: reason)
        }
    }

    private func wait(
        for event: Int32, _ descriptor: Int32, _ deadline: Instant
    ) throws(Failure) {
        while isWanted() {
            let left = deadline.milliseconds(since: SystemClock.now())
            guard left > 0 else { throw Failure(message: "no answer in time") }
            let pause = min(left, Limits.unwantedLookMilliseconds)
            var entry = pollfd(fd: descriptor, events: Int16(event), revents: 0)
            if unsafe poll(&entry, 1, Int32(clamping: pause)) > 0 { return }
        }
        throw Failure(message: "the answer is not wanted any more")
    }

    private func write(
        _ bytes: [UInt8], to descriptor: Int32, _ deadline: Instant
    ) throws(Failure) {
        var offset = 0
        while offset < bytes.count {
            try wait(for: POLLOUT, descriptor, deadline)
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe Glibc.send(
                    descriptor, buffer.baseAddress.map { unsafe $0 + offset },
                    buffer.count - offset, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EAGAIN || errno == EINTR { continue }
            guard count > 0 else { throw Failure(message: "the connection broke") }
            offset += count
        }
    }

    /// One read; empty at the end.
    private func read(_ descriptor: Int32, _ deadline: Instant) throws(Failure) -> [UInt8] {
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            try wait(for: POLLIN, descriptor, deadline)
            let count = unsafe chunk.withUnsafeMutableBytes {
                unsafe recv(descriptor, $0.baseAddress, $0.count, 0)
            }
            if count < 0, errno == EAGAIN || errno == EINTR { continue }
            guard count >= 0 else { throw Failure(message: "the connection broke") }
            return Array(chunk[0..<count])
        }
    }

    // MARK: - Answers

    private func exchange(
        _ session: inout TLSSession, _ descriptor: Int32, _ deadline: Instant
    ) throws(Failure) -> Answer {
        var reader = AnswerReader(bodyLimit: bodyLimit, mayHold: mayHold)
        while true {
            var outgoing: [UInt8] = []
            session.takeCiphertext(into: &outgoing)
            try write(outgoing, to: descriptor, deadline)
            let incoming = try read(descriptor, deadline)
            var plaintext: [UInt8] = []
            do throws(TLSFailure) {
                try session.receive(incoming.span)
                _ = try session.read(into: &plaintext)
            } catch {
                throw Failure(message: "TLS: \(error.reason)")
            }
            if let answer = try reader.receive(plaintext, isEnd: incoming.isEmpty) {
                return answer
            }
        }
    }

    private func readAnswer(
        _ descriptor: Int32, _ deadline: Instant
    ) throws(Failure) -> Answer {
        var reader = AnswerReader(bodyLimit: bodyLimit, mayHold: mayHold)
        while true {
            let bytes = try read(descriptor, deadline)
            if let answer = try reader.receive(bytes, isEnd: bytes.isEmpty) {
                return answer
            }
        }
    }

    /// Puts one answer together.
    private struct AnswerReader: ~Copyable {
        private var reader = HTTP1ResponseReader(limits: HTTP1Limits())
        private var carried: [UInt8] = []
        private var body: [UInt8] = []
        private let bodyLimit: Int
        private let mayHold: (Int) -> Bool

        init(bodyLimit: Int, mayHold: @escaping (Int) -> Bool) {
            self.bodyLimit = bodyLimit
            self.mayHold = mayHold
        }

        mutating func receive(_ bytes: [UInt8], isEnd: Bool) throws(Failure) -> Answer? {
            let input = carried + bytes
            var position = 0
            defer { carried = Array(input[position...]) }
            while true {
                var event = reader.next(input.span, position: &position)
                if event == .needsMore, isEnd { event = reader.connectionEnded() }
                switch event {
                case .needsMore:
                    if isEnd { throw Failure(message: "the connection was closed") }
                    return nil
                case .head: break
                case .body(let range):
                    guard body.count + range.count <= bodyLimit else {
                        throw Failure(message: "the answer is too long")
                    }
                    guard mayHold(range.count) else {
                        throw Failure(
                            message: "as many bytes are held as may be (limits.buffered_bytes)",
                            isOverload: true)
                    }
                    body += input[range]
                case .end:
                    let location = reader.head.fields.value(of: "location").map {
                        String(decoding: $0, as: UTF8.self)
                    }
                    return Answer(status: reader.head.status, location: location, body: body)
                case .failed(let failure): throw Failure(message: failure.reason)
                }
            }
        }
    }
}
