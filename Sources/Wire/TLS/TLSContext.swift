import COpenSSL
import Primitives

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

/// A certificate chain and its private key, as PEM text.
public struct TLSIdentity: Sendable {
    let certificateChain: [UInt8]
    let privateKey: Secret

    /// An identity; whether the two belong together shows when it is used.
    public init(certificateChainPEM: [UInt8], privateKeyPEM: [UInt8]) {
        certificateChain = certificateChainPEM
        privateKey = Secret(privateKeyPEM)
    }
}

/// An OpenSSL configuration, shared by all sessions of a listener or backend.
///
/// `SSL_CTX` counts its references atomically and is not changed after it was made.
@safe public final class TLSContext: @unchecked Sendable {
    let pointer: OpaquePointer
    /// Whether the other side must prove who it is.
    let isVerified: Bool
    /// What we speak, dearest first.
    let protocols: [ApplicationProtocol]
    /// What a client's connections may resume.
    let sessions = TLSSessionStore()
    /// A digest of all that a client's side was made from.
    private let origin: SHA256.Digest?

    private init(
        _ method: OpaquePointer?, isVerified: Bool, protocols: [ApplicationProtocol],
        origin: SHA256.Digest? = nil
    ) throws(TLSFailure) {
        guard let context = unsafe SSL_CTX_new(method) else {
            throw TLSFailure.fromQueue("no TLS context")
        }
        unsafe pointer = context
        self.isVerified = isVerified
        self.protocols = protocols
        self.origin = origin
        _ = unsafe openssl_set_min_proto_version(pointer, TLS1_2_VERSION)
        _ = unsafe SSL_CTX_set_options(
            pointer,
            openssl_op_no_compression | openssl_op_no_renegotiation
                | openssl_op_ignore_unexpected_eof)
        _ = unsafe openssl_set_mode(
            pointer,
            Int(SSL_MODE_ENABLE_PARTIAL_WRITE) | Int(SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER)
                | Int(SSL_MODE_RELEASE_BUFFERS))
        // Forward secrecy and authenticated encryption only (RFC 9325 section 4.2). The suites of
        // TLS 1.3 are all of that kind.
        _ = unsafe SSL_CTX_set_cipher_list(
            pointer, "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!SHA1:!DSS")
        _ = unsafe openssl_set_groups(pointer, "X25519:P-256:P-384:P-521")
        // What is sent as early data can be sent again by anybody (RFC 8446 section 8).
        _ = unsafe SSL_CTX_set_max_early_data(pointer, 0)
        unsafe SSL_CTX_set_timeout(pointer, Limits.tlsSessionSeconds)
    }

    deinit { unsafe SSL_CTX_free(pointer) }

    /// A server's side: TLS 1.2 and later. Of `protocols` the first that a client offers is spoken.
    ///
    /// With `clientAuthorityPEM` a client must show a certificate that one of these authorities
    /// vouches for. With `tickets` sessions can be resumed with every context of the same secret
    /// and authorities, else with this one only.
    /// - Throws: what is wrong with the certificate chain, the key or the authorities, or that
    ///   they do not belong together.
    public static func server(
        certificateChainPEM: [UInt8], privateKeyPEM: [UInt8],
        clientAuthorityPEM: [UInt8]? = nil, tickets: TLSTicketSecret? = nil,
        protocols: [ApplicationProtocol] = [.http11]
    ) throws(TLSFailure) -> TLSContext {
        let context = try unsafe TLSContext(
            TLS_server_method(), isVerified: clientAuthorityPEM != nil, protocols: protocols)
        try context.use(certificateChainPEM)
        try context.use(privateKey: privateKeyPEM)
        if let authorities = clientAuthorityPEM {
            try context.requireCertificates(from: authorities)
        }
        context.issueTickets(tickets, authorities: clientAuthorityPEM ?? [])
        // Ours is the order that is known to be sane; a client without AES in hardware says so.
        _ = unsafe SSL_CTX_set_options(context.pointer, openssl_op_server_preference)
        unsafe SSL_CTX_set_alpn_select_cb(
            context.pointer, selectProtocol, Unmanaged.passUnretained(context).toOpaque())
        return context
    }

    /// A client's side. The authorities given replace the system's; `isVerified` says whether the
    /// server must prove who it is; it is offered `protocols`. With an identity the client proves
    /// its own, to a server that asks.
    /// - Throws: what is wrong with the authorities or the identity.
    public static func client(
        certificateAuthorityPEM: [UInt8]?, isVerified: Bool, identity: TLSIdentity? = nil,
        protocols: [ApplicationProtocol] = [.http11]
    ) throws(TLSFailure) -> TLSContext {
        let context = try unsafe TLSContext(
            TLS_client_method(), isVerified: isVerified, protocols: protocols,
            origin: Self.digest([
                certificateAuthorityPEM, isVerified ? [1] : [0], identity?.certificateChain,
                identity?.privateKey.exposed, protocols.map { $0 == .http2 ? 2 : 1 },
            ]))
        unsafe SSL_CTX_set_verify(
            context.pointer, isVerified ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nil)
        if let authorities = certificateAuthorityPEM {
            try context.trust(authorities)
        } else {
            _ = unsafe SSL_CTX_set_default_verify_paths(context.pointer)
        }
        if let identity {
            try context.use(identity.certificateChain)
            try context.use(privateKey: identity.privateKey.exposed)
        }
        _ = unsafe openssl_set_session_cache_mode(
            context.pointer, Int(SSL_SESS_CACHE_CLIENT) | Int(SSL_SESS_CACHE_NO_INTERNAL))
        unsafe SSL_CTX_sess_set_new_cb(context.pointer, keepSession)
        return context
    }

    /// Whether a client's side was made from the same files and wishes as another one: then
    /// connections and sessions of one are as good as those of the other.
    public func isMade(like other: TLSContext) -> Bool { origin == other.origin }

    private static func digest(_ parts: [[UInt8]?]) -> SHA256.Digest {
        var text: [UInt8] = []
        for part in parts {
            text.append(utf8: part.map { "\($0.count) " } ?? "none ")
            text.append(contentsOf: part ?? [])
        }
        return SHA256.digest(text.span)
    }

    private func use(_ chain: [UInt8]) throws(TLSFailure) {
        let certificates = unsafe PEM.certificates(chain)
        defer { unsafe certificates.forEach { unsafe X509_free($0) } }
        guard let leaf = unsafe certificates.first else {
            throw TLSFailure(
                "the certificate file holds no PEM certificate, or a damaged one", .certificate)
        }
        guard unsafe SSL_CTX_use_certificate(pointer, leaf) == 1 else {
            throw TLSFailure.fromQueue("the certificate is not usable", .certificate)
        }
        unsafe certificates.dropFirst().forEach { intermediate in
            unsafe X509_up_ref(intermediate)
            _ = unsafe openssl_add_chain_certificate(pointer, intermediate)
        }
    }

    private func use(privateKey: [UInt8]) throws(TLSFailure) {
        guard let key = unsafe PEM.privateKey(privateKey) else {
            throw TLSFailure(
                "the key file holds no PEM private key, or one with a passphrase", .key)
        }
        defer { unsafe EVP_PKEY_free(key) }
        ERR_clear_error()
        guard unsafe SSL_CTX_use_PrivateKey(pointer, key) == 1,
            unsafe SSL_CTX_check_private_key(pointer) == 1
        else {
            let detail = TLSFailure.fromQueue("they differ").reason
            throw TLSFailure("the key does not belong to the certificate (\(detail))", .key)
        }
    }

    private func trust(_ authorities: [UInt8]) throws(TLSFailure) {
        let certificates = unsafe PEM.certificates(authorities)
        guard unsafe !certificates.isEmpty else {
            throw TLSFailure(
                "the CA file holds no PEM certificate, or a damaged one", .authorities)
        }
        let store = unsafe SSL_CTX_get_cert_store(pointer)
        unsafe certificates.forEach { certificate in
            _ = unsafe X509_STORE_add_cert(store, certificate)
            unsafe X509_free(certificate)
        }
    }

    /// Clients must prove who they are (RFC 8446 section 4.3.2); they are told by whom.
    private func requireCertificates(from authorities: [UInt8]) throws(TLSFailure) {
        try trust(authorities)
        let certificates = unsafe PEM.certificates(authorities)
        unsafe certificates.forEach { certificate in
            _ = unsafe SSL_CTX_add_client_CA(pointer, certificate)
            unsafe X509_free(certificate)
        }
        unsafe SSL_CTX_set_verify(
            pointer, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
        // The clients' authorities are no part of our own chain.
        _ = unsafe openssl_set_mode(pointer, Int(SSL_MODE_NO_AUTO_CHAIN))
    }

    /// Sessions are resumed by tickets (RFC 8446 section 4.6.1, RFC 5077): nothing is kept here
    /// for clients that may never come back.
    private func issueTickets(_ secret: TLSTicketSecret?, authorities: [UInt8]) {
        let scope = SHA256.digest(authorities.span).bytes.span.array
        _ = unsafe SSL_CTX_set_session_id_context(pointer, scope, UInt32(scope.count))
        _ = unsafe openssl_set_session_cache_mode(pointer, Int(SSL_SESS_CACHE_OFF))
        _ = unsafe SSL_CTX_set_session_ticket_cb(pointer, nil, judgeTicket, nil)
        // Who resumes gets a new one. OpenSSL's second one, for clients that open connections side
        // by side, takes a sixteenth of every handshake.
        _ = unsafe SSL_CTX_set_num_tickets(pointer, 1)
        guard let keys = secret?.keys(for: scope) else { return }
        _ = unsafe openssl_set_ticket_keys(pointer, keys, keys.count)
    }
}

/// Chooses the first of our protocols that a client offers (RFC 7301 section 3.2); an offer
/// without any of them is left without an answer. Sessions keep the context alive.
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
