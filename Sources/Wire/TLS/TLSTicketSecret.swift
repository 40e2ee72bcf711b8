import COpenSSL
import Primitives

/// What a listener's session tickets are sealed with.
///
/// All workers share it, and it outlives a change of the certificate: clients resume across a
/// reload. The keys follow from the secret and the authorities that clients are verified against,
/// so that no session outlives a change of those.
public struct TLSTicketSecret: Sendable {
    private let secret: Secret

    /// A secret of random bytes, 32 at least.
    public init(random bytes: [UInt8]) {
        precondition(bytes.count >= 32)
        secret = Secret(bytes)
    }

    /// Another secret, for one listener: its tickets are worth nothing at another one.
    public func scoped(to listener: String) -> TLSTicketSecret {
        TLSTicketSecret(random: derive("listener", Array(listener.utf8)))
    }

    /// OpenSSL's 80 bytes: a name, an HMAC key and an AES key.
    func keys(for authorities: [UInt8]) -> [UInt8] {
        let bytes = derive("name", authorities).prefix(16) + derive("hmac", authorities)
        return bytes + derive("aes", authorities)
    }

    private func derive(_ purpose: StaticString, _ context: [UInt8]) -> [UInt8] {
        var message: [UInt8] = []
        message.append(purpose)
        // Purposes hold no zero: no two messages are the same.
        message.append(0)
        message.append(contentsOf: context)
        let key = secret.exposed
        let code = HMACSHA256.authenticate(key: key.span, message: message.span)
        return code.bytes.span.array
    }
}

/// Judges a ticket that a client shows: a client's certificate that has expired since must be shown
/// again, and fails then.
func judgeTicket(
    _ ssl: OpaquePointer?, _ session: OpaquePointer?, _ keyName: UnsafePointer<UInt8>?,
    _ keyNameLength: Int, _ status: SSL_TICKET_STATUS, _ context: UnsafeMutableRawPointer?
) -> SSL_TICKET_RETURN {
    guard status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW else {
        return SSL_TICKET_RETURN_IGNORE_RENEW
    }
    if let session = unsafe session, let peer = unsafe SSL_SESSION_get0_peer(session),
        unsafe X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0
    {
        return SSL_TICKET_RETURN_IGNORE_RENEW
    }
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW
}
