import COpenSSL

/// What OpenSSL said was wrong.
public struct TLSFailure: Error, Sendable, Equatable {
    /// What is to blame.
    public enum Part: Sendable, Equatable {
        /// Our certificate chain.
        case certificate
        /// Our private key.
        case key
        /// The authorities that a peer's certificate must come from.
        case authorities
        /// The connection, or its other side.
        case connection
    }

    /// For logs and errors, such as `certificate verify failed: self-signed certificate`.
    public let reason: String
    /// Where to look.
    public let part: Part

    init(_ reason: String, _ part: Part = .connection) {
        self.reason = reason
        self.part = part
    }

    /// The newest reason in OpenSSL's queue of this thread, which is emptied.
    static func fromQueue(_ fallback: String, _ part: Part = .connection) -> TLSFailure {
        var code: UInt = 0
        while true {
            let next = ERR_get_error()
            if next == 0 { break }
            code = next
        }
        guard code != 0, let text = unsafe ERR_reason_error_string(code) else {
            return TLSFailure(fallback, part)
        }
        return TLSFailure(unsafe String(cString: text), part)
    }
}
