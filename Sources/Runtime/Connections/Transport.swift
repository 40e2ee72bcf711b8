import Primitives
import Wire

/// A descriptor with what stands between it and the protocol: TLS, and bytes the kernel did not
/// take.
struct Transport: ~Copyable {
    /// What a read brought.
    enum Received {
        /// That many bytes at the front of the worker's read buffer.
        case plain(Int)
        /// Decrypted bytes, in the worker's plaintext buffer.
        case decrypted
        /// Nothing for the protocol (yet).
        case nothing
        /// The peer will send no more.
        case end
        /// The connection is broken; the text says why when it is TLS.
        case broken(String?)
    }

    let descriptor: Int32
    let token: UInt64
    var tls: TLSSession?
    private(set) var interest: Interest
    private var pending: [UInt8] = []
    private var pendingStart = 0

    init(
        descriptor: Int32, token: UInt64, tls: consuming TLSSession?, interest: Interest
    ) {
        self.descriptor = descriptor
        self.token = token
        self.tls = tls
        self.interest = interest
    }

    /// Bytes that the peer has not made room for. Read in place, as a connection's state is.
    @inline(__always)
    var backlog: Int { pending.count - pendingStart }

    /// Whether the handshake is done, or there is none.
    var isEstablished: Bool { mutating get { tls?.isEstablished ?? true } }

    /// What both sides have agreed to speak; nil without TLS or without an agreement.
    var applicationProtocol: ApplicationProtocol? {
        mutating get { tls?.applicationProtocol ?? nil }
    }

    /// Whom a client's certificate is about; nil where none was asked for.
    var clientSubject: CertificateSubject? {
        mutating get { tls?.clientSubject ?? nil }
    }

    /// Sends bytes now as far as possible and keeps the rest. False: the connection is broken.
    mutating func send(_ bytes: Span<UInt8>, _ kernel: inout some Kernel & ~Copyable) -> Bool {
        guard tls == nil else {
            do throws(TLSFailure) { try tls?.write(bytes) } catch { return false }
            return flushTLS(&kernel)
        }
        guard backlog == 0 else {
            pending.append(span: bytes)
            return true
        }
        guard bytes.count > 0 else { return true }
        switch unsafe bytes.withUnsafeBytes({ unsafe kernel.write(descriptor, $0) }) {
        case .bytes(let count) where count == bytes.count: return true
        case .bytes(let count): pending.append(span: bytes.extracting(count..<bytes.count))
        case .wouldBlock: pending.append(span: bytes)
        case .end, .failed: return false
        }
        setInterest(interest.union(.write), &kernel)
        return true
    }

    /// Sends a head and a body behind it, and keeps the rest. A large body is not copied: what does
    /// not go out at once is kept as it is. False: the connection is broken.
    mutating func send(
        _ head: inout [UInt8], body: [UInt8], _ kernel: inout some Kernel & ~Copyable
    ) -> Bool {
        guard tls == nil, backlog == 0, body.count >= Limits.gatheredBytes else {
            head.append(contentsOf: body)
            return send(head.span, &kernel)
        }
        let result = unsafe head.withUnsafeBytes { first in
            unsafe body.withUnsafeBytes { unsafe kernel.write(descriptor, first, $0) }
        }
        let count: Int
        switch result {
        case .bytes(let sent): count = sent
        case .wouldBlock: count = 0
        case .end, .failed: return false
        }
        guard count < head.count + body.count else { return true }
        if count >= head.count {
            pending = body
            pendingStart = count - head.count
        } else {
            pending.append(contentsOf: head[count...])
            pending.append(contentsOf: body)
        }
        setInterest(interest.union(.write), &kernel)
        return true
    }

    /// Sends what TLS has to say: handshake messages and encrypted bytes.
    mutating func flushTLS(_ kernel: inout some Kernel & ~Copyable) -> Bool {
        tls?.takeCiphertext(into: &pending)
        return flush(&kernel)
    }

    /// Ends what is sent; the peer may send on.
    mutating func endSending(_ kernel: inout some Kernel & ~Copyable) {
        sayGoodbye(&kernel)
        kernel.shutdownWriting(descriptor)
    }

    /// Closes the descriptor.
    mutating func close(_ kernel: inout some Kernel & ~Copyable) {
        sayGoodbye(&kernel)
        kernel.close(descriptor)
    }

    /// Over TLS the peer is told that nothing was cut off, if it has room.
    private mutating func sayGoodbye(_ kernel: inout some Kernel & ~Copyable) {
        guard tls != nil else { return }
        tls?.close()
        _ = flushTLS(&kernel)
    }

    /// Sends what is kept; called when the descriptor is writable. False: the connection is broken.
    mutating func flush(_ kernel: inout some Kernel & ~Copyable) -> Bool {
        while backlog > 0 {
            let result = unsafe pending.withUnsafeBytes { bytes in
                unsafe kernel.write(
                    descriptor, UnsafeRawBufferPointer(rebasing: bytes[pendingStart...]))
            }
            switch result {
            case .bytes(let count): pendingStart += count
            case .wouldBlock:
                setInterest(interest.union(.write), &kernel)
                return true
            case .end, .failed: return false
            }
        }
        pending = []
        pendingStart = 0
        setInterest(interest.subtracting(.write), &kernel)
        return true
    }

    /// Reads once, at most `limit` bytes: `buffer` has a fixed size; decrypted bytes replace what
    /// is in `plaintext`.
    mutating func receive(
        _ kernel: inout some Kernel & ~Copyable, limit: Int = Limits.readBytes,
        buffer: inout [UInt8], plaintext: inout [UInt8]
    ) -> Received {
        let result = unsafe buffer.withUnsafeMutableBytes {
            unsafe kernel.read(
                descriptor, into: UnsafeMutableRawBufferPointer(rebasing: $0.prefix(limit)))
        }
        switch result {
        case .wouldBlock: return .nothing
        case .end: return .end
        case .failed: return .broken(nil)
        case .bytes(let count):
            guard tls != nil else { return .plain(count) }
            return decrypt(buffer.span.extracting(0..<count), &kernel, into: &plaintext)
        }
    }

    /// Reads once, at most `limit` bytes, straight behind what is in `body`. Not for TLS.
    mutating func receive(
        _ kernel: inout some Kernel & ~Copyable, limit: Int, behind body: inout [UInt8]
    ) -> Received {
        var result = Transfer.wouldBlock
        body.append(addingCapacity: limit) { output in
            unsafe output.withUnsafeMutableBufferPointer { buffer, initialized in
                let room = unsafe UnsafeMutableRawBufferPointer(
                    rebasing: UnsafeMutableRawBufferPointer(buffer)[initialized...].prefix(limit))
                result = unsafe kernel.read(descriptor, into: room)
                if case .bytes(let count) = result { initialized += count }
            }
        }
        switch result {
        case .bytes(let count): return .plain(count)
        case .wouldBlock: return .nothing
        case .end: return .end
        case .failed: return .broken(nil)
        }
    }

    /// Starts or stops reading.
    mutating func setReading(_ isReading: Bool, _ kernel: inout some Kernel & ~Copyable) {
        setInterest(isReading ? interest.union(.read) : interest.subtracting(.read), &kernel)
    }

    private mutating func decrypt(
        _ ciphertext: Span<UInt8>, _ kernel: inout some Kernel & ~Copyable,
        into plaintext: inout [UInt8]
    ) -> Received {
        plaintext.removeAll(keepingCapacity: true)
        do throws(TLSFailure) {
            try tls?.receive(ciphertext)
            let progress = try tls?.read(into: &plaintext)
            let isAlive = flushTLS(&kernel)
            if !plaintext.isEmpty { return .decrypted }
            guard isAlive else { return .broken(nil) }
            return progress == .closed ? .end : .nothing
        } catch {
            // The alert tells the peer why.
            _ = flushTLS(&kernel)
            return .broken(error.reason)
        }
    }

    private mutating func setInterest(
        _ wanted: Interest, _ kernel: inout some Kernel & ~Copyable
    ) {
        guard wanted != interest else { return }
        interest = wanted
        kernel.rewatch(descriptor, token: token, for: wanted)
    }
}
