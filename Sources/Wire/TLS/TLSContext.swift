import COpenSSL
import Primitives

/// What OpenSSL said was wrong.
public struct TLSFailure: Error, Sendable, Equatable {
    /// For logs and errors, such as `certificate verify failed: self-signed certificate`.
    public let reason: String

    init(_ reason: String) { self.reason = reason }

    /// The newest reason in OpenSSL's queue of this thread, which is emptied.
    static func fromQueue(_ fallback: String) -> TLSFailure {
        var code: UInt = 0
        while true {
            let next = ERR_get_error()
            if next == 0 { break }
            code = next
        }
        guard code != 0, let text = unsafe ERR_reason_error_string(code) else {
            return TLSFailure(fallback)
        }
        return TLSFailure(unsafe String(cString: text))
    }
}

/// What is spoken over TLS, by its ALPN name (RFC 7301, RFC 9113 section 3.1).
public enum ApplicationProtocol: Sendable, Equatable, CaseIterable {
    /// `h2`.
    case http2
    /// `http/1.1`.
    case http11

    var name: StaticString {
        switch self {
        case .http2: "h2"
        case .http11: "http/1.1"
        }
    }

    /// The protocol of an ALPN name; nil for one that we do not speak.
    init?(name: Span<UInt8>) {
        guard let known = Self.allCases.first(where: { name.equals($0.name) }) else { return nil }
        self = known
    }
}

/// An OpenSSL configuration, shared by all sessions of a listener or backend.
///
/// `SSL_CTX` counts its references atomically and is not changed after it was made.
@safe public final class TLSContext: @unchecked Sendable {
    let pointer: OpaquePointer
    let isVerified: Bool
    /// What we speak, dearest first.
    let protocols: [ApplicationProtocol]

    private init(
        _ method: OpaquePointer?, isVerified: Bool, protocols: [ApplicationProtocol]
    ) throws(TLSFailure) {
        guard let context = unsafe SSL_CTX_new(method) else {
            throw TLSFailure.fromQueue("no TLS context")
        }
        unsafe pointer = context
        self.isVerified = isVerified
        self.protocols = protocols
        _ = unsafe openssl_set_min_proto_version(pointer, TLS1_2_VERSION)
        _ = unsafe SSL_CTX_set_options(
            pointer,
            openssl_op_no_compression | openssl_op_no_renegotiation
                | openssl_op_ignore_unexpected_eof)
        _ = unsafe openssl_set_mode(
            pointer,
            Int(SSL_MODE_ENABLE_PARTIAL_WRITE) | Int(SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER)
                | Int(SSL_MODE_RELEASE_BUFFERS))
        // Forward secrecy and authenticated encryption only (RFC 9325 section 4.2).
        _ = unsafe SSL_CTX_set_cipher_list(
            pointer, "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!SHA1:!DSS")
    }

    deinit { unsafe SSL_CTX_free(pointer) }

    /// A server's side: TLS 1.2 and later. Of `protocols` the first that a client offers is spoken.
    /// - Throws: what is wrong with the certificate chain or the key, or that they do not belong
    ///   together.
    public static func server(
        certificateChainPEM: [UInt8], privateKeyPEM: [UInt8],
        protocols: [ApplicationProtocol] = [.http11]
    ) throws(TLSFailure) -> TLSContext {
        let context = try unsafe TLSContext(
            TLS_server_method(), isVerified: false, protocols: protocols)
        try context.use(certificateChainPEM)
        try context.use(privateKey: privateKeyPEM)
        unsafe SSL_CTX_set_alpn_select_cb(
            context.pointer, selectProtocol, Unmanaged.passUnretained(context).toOpaque())
        return context
    }

    /// A client's side. The authorities given replace the system's; `isVerified` says whether the
    /// server must prove who it is; it is offered `protocols`.
    /// - Throws: what is wrong with the authorities.
    public static func client(
        certificateAuthorityPEM: [UInt8]?, isVerified: Bool,
        protocols: [ApplicationProtocol] = [.http11]
    ) throws(TLSFailure) -> TLSContext {
        let context = try unsafe TLSContext(
            TLS_client_method(), isVerified: isVerified, protocols: protocols)
        unsafe SSL_CTX_set_verify(
            context.pointer, isVerified ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nil)
        if let authorities = certificateAuthorityPEM {
            try context.trust(authorities)
        } else {
            _ = unsafe SSL_CTX_set_default_verify_paths(context.pointer)
        }
        return context
    }

    private func use(_ chain: [UInt8]) throws(TLSFailure) {
        let certificates = unsafe PEM.certificates(chain)
        defer { unsafe certificates.forEach { unsafe X509_free($0) } }
        guard let leaf = unsafe certificates.first else {
            throw TLSFailure("the certificate file holds no PEM certificate")
        }
        guard unsafe SSL_CTX_use_certificate(pointer, leaf) == 1 else {
            throw TLSFailure.fromQueue("the certificate is not usable")
        }
        unsafe certificates.dropFirst().forEach { intermediate in
            unsafe X509_up_ref(intermediate)
            _ = unsafe openssl_add_chain_certificate(pointer, intermediate)
        }
    }

    private func use(privateKey: [UInt8]) throws(TLSFailure) {
        guard let key = unsafe PEM.privateKey(privateKey) else {
            throw TLSFailure("the key file holds no PEM private key")
        }
        defer { unsafe EVP_PKEY_free(key) }
        guard unsafe SSL_CTX_use_PrivateKey(pointer, key) == 1,
            unsafe SSL_CTX_check_private_key(pointer) == 1
        else { throw TLSFailure.fromQueue("the key does not belong to the certificate") }
    }

    private func trust(_ authorities: [UInt8]) throws(TLSFailure) {
        let certificates = unsafe PEM.certificates(authorities)
        guard unsafe !certificates.isEmpty else {
            throw TLSFailure("the CA file holds no PEM certificate")
        }
        let store = unsafe SSL_CTX_get_cert_store(pointer)
        unsafe certificates.forEach { certificate in
            _ = unsafe X509_STORE_add_cert(store, certificate)
            unsafe X509_free(certificate)
        }
    }
}

/// Chooses the first of our protocols that a client offers (RFC 7301 section 3.2); an offer
/// without any of them is left without an answer. sessions keep the context alive.
private func selectProtocol(
    _ ssl: OpaquePointer?, _ selected: UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
    _ selectedLength: UnsafeMutablePointer<UInt8>?, _ offered: UnsafePointer<UInt8>?,
    _ offeredLength: UInt32, _ context: UnsafeMutableRawPointer?
) -> Int32 {
    guard let context = unsafe context else { return SSL_TLSEXT_ERR_NOACK }
    let protocols = unsafe Unmanaged<TLSContext>.fromOpaque(context).takeUnretainedValue().protocols
    let offers = unsafe UnsafeBufferPointer(start: offered, count: Int(offeredLength))
    for spoken in protocols {
        var at = 0
        while at < offers.count {
            let end = at + 1 + Int(unsafe offers[at])
            guard end <= offers.count else { break }
            let name = unsafe UnsafeBufferPointer(rebasing: offers[at + 1..<end])
            if unsafe ApplicationProtocol(name: name.span) == spoken {
                unsafe selected?.pointee = name.baseAddress
                unsafe selectedLength?.pointee = UInt8(name.count)
                return SSL_TLSEXT_ERR_OK
            }
            at = end
        }
    }
    return SSL_TLSEXT_ERR_NOACK
}

/// Reads PEM text.
private enum PEM {
    /// All certificates, in order; the caller frees them.
    @unsafe static func certificates(_ text: [UInt8]) -> [OpaquePointer] {
        unsafe withMemoryBIO(text) { bio in
            var certificates: [OpaquePointer] = unsafe []
            while let certificate = unsafe PEM_read_bio_X509(bio, nil, nil, nil) {
                unsafe certificates.append(certificate)
            }
            ERR_clear_error()
            return unsafe certificates
        }
    }

    /// The first private key; the caller frees it.
    @unsafe static func privateKey(_ text: [UInt8]) -> OpaquePointer? {
        unsafe withMemoryBIO(text) { bio in
            let key = unsafe PEM_read_bio_PrivateKey(bio, nil, nil, nil)
            ERR_clear_error()
            return unsafe key
        }
    }

    private static func withMemoryBIO<Result>(
        _ text: [UInt8], _ body: (OpaquePointer?) -> Result
    ) -> Result {
        unsafe text.withUnsafeBytes { bytes in
            let bio = unsafe BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count))
            defer { unsafe BIO_free(bio) }
            return unsafe body(bio)
        }
    }
}
