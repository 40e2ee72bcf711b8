import Primitives
import Translation

/// The clocks of a call that do not belong to one leg (design D9).
struct CallClock {
    /// What a clock measures; the name of its key under `timeouts`.
    enum Measure: String {
        case connect
        case firstByte = "first_byte"
        case idle
        case total
    }

    /// When the call was admitted.
    let startedAt: Instant
    /// Until all attempts together must be done.
    let totalDeadline: Instant
    /// When the client was last sent a byte, or the call began.
    var clientSilentSince: Instant
    /// The client is slow: silence is not the backend's fault.
    var isPaused = false

    init(startedAt: Instant, totalMilliseconds: Int) {
        self.startedAt = startedAt
        totalDeadline = startedAt.advanced(byMilliseconds: totalMilliseconds)
        clientSilentSince = startedAt
    }

    /// When a streamed answer's head, or a comment, must go out to keep the connection alive.
    func keepaliveDue(hasSentHead: Bool) -> Instant {
        clientSilentSince.advanced(
            byMilliseconds: hasSentHead
                ? Limits.keepaliveMilliseconds : Limits.headDelayMilliseconds)
    }

    /// The error for a clock that has run out.
    static func timeout(
        _ measure: Measure, backend: String, timeouts: BackendTimeouts
    ) -> APIError {
        let (what, milliseconds) =
            switch measure {
            case .connect: ("did not accept a connection", timeouts.connectMilliseconds)
            case .firstByte: ("did not begin to answer", timeouts.firstByteMilliseconds)
            case .idle: ("fell silent in the middle of its answer", timeouts.idleMilliseconds)
            case .total: ("did not finish its answer", timeouts.totalMilliseconds)
            }
        var error = APIError(
            status: 504, type: "server_error", code: "upstream_timeout",
            message: "The backend '\(backend)' \(what) within \(milliseconds) ms "
                + "(timeouts.\(measure.rawValue)).",
            origin: .upstream)
        // A backend that cannot be reached has not begun to work on the request.
        error.isWorthAnotherTarget = measure == .connect
        return error
    }
}
