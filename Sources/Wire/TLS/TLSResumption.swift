import COpenSSL
import Primitives

/// Sessions with one backend that new connections may resume; workers share them.
///
/// They are kept as bytes: what one thread has put in, another takes out whole.
final class TLSSessionStore: Sendable {
    private struct Kept {
        var serverName = ""
        /// Oldest first.
        var sessions: [Secret] = []
    }

    private let kept = Locked(Kept())

    /// Keeps a session with a server that has proven to be `serverName`.
    func add(_ session: Secret, for serverName: String) {
        kept.withLock { kept in
            // A session stands for the name that was verified, and for no other.
            if kept.serverName != serverName { kept = Kept(serverName: serverName) }
            if kept.sessions.count == Limits.tlsSessions { kept.sessions.removeFirst() }
            kept.sessions.append(session)
        }
    }

    /// Takes the newest one out: a TLS 1.3 ticket is used once, or connections could be linked
    /// (RFC 8446 section C.4).
    func take(for serverName: String) -> Secret? {
        kept.withLock { kept in
            kept.serverName == serverName ? kept.sessions.popLast() : nil
        }
    }
}

/// What one connection of a client needs for resuming, and for letting later ones resume.
final class TLSResumption: Sendable {
    private let store: TLSSessionStore
    private let serverName: String

    init(_ store: TLSSessionStore, serverName: String) {
        self.store = store
        self.serverName = serverName
    }

    /// Offers a kept session to the server; a wrong one only costs the attempt.
    func offer(on ssl: OpaquePointer) {
        unsafe openssl_set_owner(ssl, Unmanaged.passUnretained(self).toOpaque())
        guard let bytes = store.take(for: serverName)?.exposed else { return }
        unsafe bytes.withUnsafeBufferPointer { buffer in
            var start = buffer.baseAddress
            guard let session = unsafe d2i_SSL_SESSION(nil, &start, buffer.count) else { return }
            _ = unsafe SSL_set_session(ssl, session)
            unsafe SSL_SESSION_free(session)
        }
    }

    /// The handshake is done: in TLS 1.2 a resumed session is good for the next connection too.
    func handshakeEnded(on ssl: OpaquePointer) {
        guard unsafe SSL_session_reused(ssl) == 1, unsafe SSL_version(ssl) == TLS1_2_VERSION,
            let session = unsafe SSL_get_session(ssl)
        else { return }
        unsafe keep(session)
    }

    fileprivate func keep(_ session: OpaquePointer) {
        guard unsafe SSL_SESSION_is_resumable(session) == 1 else { return }
        let count = unsafe i2d_SSL_SESSION(session, nil)
        guard count > 0 else { return }
        var bytes = [UInt8](repeating: 0, count: Int(count))
        unsafe bytes.withUnsafeMutableBufferPointer { buffer in
            var start = buffer.baseAddress
            _ = unsafe i2d_SSL_SESSION(session, &start)
        }
        store.add(Secret(bytes), for: serverName)
    }
}

/// OpenSSL has a new session of a client: a copy is kept, OpenSSL keeps its own.
func keepSession(_ ssl: OpaquePointer?, _ session: OpaquePointer?) -> Int32 {
    guard let session = unsafe session, let owner = unsafe openssl_owner(ssl) else { return 0 }
    unsafe Unmanaged<TLSResumption>.fromOpaque(owner).takeUnretainedValue().keep(session)
    return 0
}
