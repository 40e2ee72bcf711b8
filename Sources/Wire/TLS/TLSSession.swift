import COpenSSL
import Primitives

/// What a read of decrypted bytes came to.
public enum TLSRead: Sendable, Equatable {
    /// Everything that has arrived is read.
    case needsMore
    /// There is more than the limit allowed: read again.
    case bytes
    /// The peer has said that it sends no more (close_notify).
    case closed
}

/// One TLS connection as a machine between two memory buffers: no descriptor, no I/O.
@safe public struct TLSSession: ~Copyable {
    /// Kept alive: OpenSSL asks it which protocol to speak.
    private let context: TLSContext
    private let ssl: OpaquePointer
    private let incoming: OpaquePointer
    private let outgoing: OpaquePointer
    /// Kept alive: OpenSSL hands it new sessions. Clients only.
    private var resumption: TLSResumption?
    private var early: [UInt8] = []

    /// A server's session.
    /// - Throws: when OpenSSL has no memory.
    public init(server context: TLSContext) throws(TLSFailure) {
        try self.init(context)
        unsafe SSL_set_accept_state(ssl)
    }

    /// A client's session: sends `serverName` (unless it is an address) and verifies it.
    /// - Throws: when OpenSSL has no memory.
    public init(client context: TLSContext, serverName: String) throws(TLSFailure) {
        try self.init(context)
        unsafe SSL_set_connect_state(ssl)
        let isAddress =
            serverName.contains(":") || serverName.allSatisfy { $0.isNumber || $0 == "." }
        if isAddress {
            let parameters = unsafe SSL_get0_param(ssl)
            _ = unsafe X509_VERIFY_PARAM_set1_ip_asc(parameters, serverName)
        } else {
            _ = unsafe openssl_set_server_name(ssl, serverName)
            _ = unsafe SSL_set1_host(ssl, serverName)
        }
        var offer: [UInt8] = []
        for spoken in context.protocols {
            offer.append(UInt8(spoken.name.utf8CodeUnitCount))
            offer.append(spoken.name)
        }
        _ = unsafe SSL_set_alpn_protos(ssl, offer, UInt32(offer.count))
        let resumption = TLSResumption(context.sessions, serverName: serverName)
        unsafe resumption.offer(on: ssl)
        self.resumption = resumption
        // The first flight is there to be taken at once.
        _ = unsafe SSL_do_handshake(ssl)
    }

    private init(_ context: TLSContext) throws(TLSFailure) {
        guard let ssl = unsafe SSL_new(context.pointer) else {
            throw TLSFailure.fromQueue("no TLS session")
        }
        guard let incoming = unsafe BIO_new(BIO_s_mem()),
            let outgoing = unsafe BIO_new(BIO_s_mem())
        else {
            unsafe SSL_free(ssl)
            throw TLSFailure.fromQueue("no memory for TLS")
        }
        _ = unsafe openssl_bio_set_end_of_file(incoming, -1)
        _ = unsafe openssl_bio_set_end_of_file(outgoing, -1)
        unsafe SSL_set_bio(ssl, incoming, outgoing)
        self.context = context
        unsafe self.ssl = ssl
        unsafe self.incoming = incoming
        unsafe self.outgoing = outgoing
    }

    deinit { unsafe SSL_free(ssl) }

    /// Whether the handshake is done.
    public var isEstablished: Bool { unsafe SSL_is_init_finished(ssl) == 1 }

    /// Whether an earlier session goes on.
    public var isResumed: Bool { unsafe SSL_session_reused(ssl) == 1 }

    /// Whom the client's certificate is about; nil where none is asked for. A resumed session has
    /// what was verified when it began.
    public var clientSubject: CertificateSubject? {
        guard context.isVerified, isEstablished, unsafe SSL_is_server(ssl) == 1,
            unsafe SSL_get_verify_result(ssl) == Int(X509_V_OK),
            let certificate = unsafe SSL_get0_peer_certificate(ssl)
        else { return nil }
        return unsafe CertificateSubject(of: certificate)
    }

    /// What both sides have agreed to speak; nil before the handshake is done, or without ALPN.
    public var applicationProtocol: ApplicationProtocol? {
        var name: UnsafePointer<UInt8>?
        var length: UInt32 = 0
        unsafe SSL_get0_alpn_selected(ssl, &name, &length)
        let bytes = unsafe UnsafeBufferPointer(start: name, count: Int(length))
        return unsafe ApplicationProtocol(name: bytes.span)
    }

    /// Takes bytes from the socket and goes on with the handshake.
    /// - Throws: why the handshake failed; an alert is ready to be sent.
    public mutating func receive(_ ciphertext: Span<UInt8>) throws(TLSFailure) {
        unsafe ciphertext.withUnsafeBufferPointer { bytes in
            _ = unsafe BIO_write(incoming, bytes.baseAddress, Int32(clamping: bytes.count))
        }
        guard !isEstablished else { return }
        ERR_clear_error()
        let result = unsafe SSL_do_handshake(ssl)
        guard result != 1 else {
            unsafe resumption?.handshakeEnded(on: ssl)
            let kept = early
            early = []
            return try write(kept.span)
        }
        let error = unsafe SSL_get_error(ssl, result)
        guard error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE else {
            throw handshakeFailure()
        }
    }

    /// Appends decrypted bytes, `limit` at most a call.
    /// - Throws: when the stream is damaged.
    public mutating func read(
        into plaintext: inout [UInt8], limit: Int = 1 << 20
    ) throws(TLSFailure) -> TLSRead {
        guard isEstablished else { return .needsMore }
        let start = plaintext.count
        while plaintext.count - start < limit {
            // Asking in vain is dear.
            if unsafe SSL_has_pending(ssl) == 0, unsafe openssl_bio_pending(incoming) == 0 {
                return unsafe SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN == 0
                    ? .needsMore : .closed
            }
            Self.clearErrors()
            var count: Int32 = 0
            plaintext.append(addingCapacity: Self.recordBytes) { output in
                unsafe output.withUnsafeMutableBufferPointer { buffer, initialized in
                    count = unsafe SSL_read(ssl, buffer.baseAddress, Int32(Self.recordBytes))
                    initialized = Int(max(0, count))
                }
            }
            if count > 0 { continue }
            switch unsafe SSL_get_error(ssl, count) {
            case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return .needsMore
            case SSL_ERROR_ZERO_RETURN: return .closed
            default: throw TLSFailure.fromQueue("the TLS stream is damaged")
            }
        }
        return .bytes
    }

    /// Encrypts bytes; before the handshake is done they are kept and sent behind it.
    /// - Throws: when the connection is closed.
    public mutating func write(_ plaintext: Span<UInt8>) throws(TLSFailure) {
        guard plaintext.count > 0 else { return }
        guard isEstablished else { return early.append(span: plaintext) }
        var offset = 0
        while offset < plaintext.count {
            Self.clearErrors()
            let rest = plaintext.extracting(offset..<plaintext.count)
            let count = unsafe rest.withUnsafeBufferPointer { bytes in
                unsafe SSL_write(ssl, bytes.baseAddress, Int32(clamping: bytes.count))
            }
            guard count > 0 else { throw TLSFailure.fromQueue("the TLS connection is closed") }
            offset += Int(count)
        }
    }

    /// Appends what must be sent to the socket.
    public mutating func takeCiphertext(into bytes: inout [UInt8]) {
        let count = Int(unsafe openssl_bio_pending(outgoing))
        guard count > 0 else { return }
        bytes.append(addingCapacity: count) { output in
            unsafe output.withUnsafeMutableBufferPointer { buffer, initialized in
                let taken = unsafe BIO_read(outgoing, buffer.baseAddress, Int32(clamping: count))
                initialized = Int(max(0, taken))
            }
        }
    }

    /// What one record holds at most (RFC 8446 section 5.1).
    private static let recordBytes = 16 << 10

    /// What a call says is told by this thread's queue of errors; mostly it is empty.
    private static func clearErrors() {
        if ERR_peek_error() != 0 { ERR_clear_error() }
    }

    /// Says that no more will be sent (close_notify).
    public mutating func close() {
        guard isEstablished else { return }
        ERR_clear_error()
        _ = unsafe SSL_shutdown(ssl)
    }

    private func handshakeFailure() -> TLSFailure {
        let verification = unsafe SSL_get_verify_result(ssl)
        let failure = TLSFailure.fromQueue("the handshake failed")
        guard verification != Int(X509_V_OK),
            let text = unsafe X509_verify_cert_error_string(verification)
        else { return failure }
        return TLSFailure("\(failure.reason): \(unsafe String(cString: text))")
    }
}
