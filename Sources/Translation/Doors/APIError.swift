import Primitives

/// An error in OpenAI's shape, with what a caller must know to go on: whose fault and whether to
/// retry.
///
/// `contract.md` section 4 and `translation.md` part E are the tables behind it.
public struct APIError: Error, Sendable, Equatable {
    /// Whose fault it was.
    public enum Origin: Sendable, Equatable {
        /// The client's request is wrong.
        case client
        /// The backend failed or refused.
        case upstream
        /// Sluice itself, or its configuration.
        case gateway
    }

    /// The HTTP status for the client.
    public var status: Int
    /// OpenAI's `type`, such as `invalid_request_error`.
    public var type: String
    /// OpenAI's `code`; null when nil.
    public var code: String?
    /// The request field at fault; null when nil.
    public var param: String?
    /// What is wrong and what to do, for people.
    public var message: String
    /// Whose fault it was.
    public var origin: Origin
    /// Value of `retry-after` in seconds.
    public var retryAfterSeconds: Int?
    /// Value of `retry-after-ms`, where it is known more finely.
    public var retryAfterMilliseconds: Int?
    /// Value of `x-should-retry`, when the SDKs' own rule would be wrong.
    public var shouldRetry: Bool?
    /// Whether another target of the route might answer where this one did not.
    public var isWorthAnotherTarget: Bool
    /// Whether our own credential was refused, so that fresh ones may help.
    public var blamesCredential: Bool
    /// A whole body to send instead of the envelope (an OpenAI-shaped backend's own).
    public var verbatimBody: [UInt8]?

    /// An error.
    public init(
        status: Int, type: String, code: String?, param: String? = nil, message: String,
        origin: Origin = .client
    ) {
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.message = message
        self.origin = origin
        retryAfterSeconds = nil
        retryAfterMilliseconds = nil
        shouldRetry = nil
        isWorthAnotherTarget = false
        blamesCredential = false
        verbatimBody = nil
    }

    /// A 503 of our own that a second later may be none.
    public static func unavailable(_ code: String, _ message: String) -> APIError {
        var error = APIError(
            status: 503, type: "server_error", code: code, message: message, origin: .gateway)
        error.retryAfterSeconds = 1
        return error
    }

    /// A 400 that names a field: `invalid_request_error` with one of OpenAI's codes.
    public static func badRequest(_ code: String, param: String?, _ message: String) -> APIError {
        APIError(
            status: 400, type: "invalid_request_error", code: code, param: param, message: message)
    }

    /// A 400 for what is right in itself, but beyond this target: `unsupported_parameter` or
    /// `unsupported_value`.
    public static func unsupported(_ code: String, param: String, _ message: String) -> APIError {
        var error = badRequest(code, param: param, message)
        error.isWorthAnotherTarget = true
        return error
    }
}
