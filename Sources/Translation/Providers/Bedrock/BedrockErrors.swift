import Primitives
import Wire

/// Bedrock's exceptions as OpenAI's errors (rule E2).
enum BedrockErrors {
    private static let credentialErrors = [
        "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException",
        "IncompleteSignatureException", "MissingAuthenticationTokenException",
    ]

    /// An answer with an error status.
    static func classify(_ answer: UpstreamAnswer) -> APIError {
        let root = (try? JSONDocument(answer.body))?.root
        let name = exceptionName(answer.head, root)
        let message = root?["message"]?.string ?? root?["Message"]?.string ?? ""
        var error = classify(
            name, status: answer.head.status, message: message,
            originalStatus: root?["originalStatusCode"]?.int)
        if error.status == 429 || error.status == 503 {
            error.retryAfterSeconds = OpenAIErrors.retryAfter(answer.head)
        }
        return error
    }

    /// An exception or error frame in a stream.
    static func inStream(_ message: EventStreamMessage) -> APIError {
        let root = (try? JSONDocument(message.payload))?.root
        let name = message.string(":exception-type") ?? message.string(":error-code") ?? []
        let text =
            root?["message"]?.string ?? root?["Message"]?.string ?? root?["originalMessage"]?.string
            ?? message.string(":error-message").map { String(decoding: $0, as: UTF8.self) } ?? ""
        return classify(
            capitalised(name), status: nil, message: text,
            originalStatus: root?["originalStatusCode"]?.int)
    }

    /// The header's name, else the body's; what stands around it goes.
    private static func exceptionName(_ head: ResponseHead, _ root: JSONValue?) -> String {
        let given =
            head.fields.value(of: "x-amzn-errortype")
            ?? (root?.present("code") ?? root?.present("Code") ?? root?.present("__type"))?
            .stringBytes ?? []
        let text = String(decoding: given, as: UTF8.self)
        let beforeColon = text.prefix { $0 != ":" }
        return String(beforeColon.split(separator: "#").last ?? "")
    }

    /// `throttlingException` in frames is `ThrottlingException` elsewhere.
    private static func capitalised(_ name: [UInt8]) -> String {
        let text = String(decoding: name, as: UTF8.self)
        return text.prefix(1).uppercased() + text.dropFirst()
    }

    /// A frame has no `status` of its own.
    private static func classify(
        _ name: String, status: Int?, message text: String, originalStatus: Int?
    ) -> APIError {
        if credentialErrors.contains(name) { return OpenAIErrors.credentialRefused }
        var error =
            switch name {
            case "ValidationException": validation(text)
            case "AccessDeniedException":
                make(403, "permission_error", "access_denied", text)
            case "ResourceNotFoundException":
                make(404, "invalid_request_error", "model_not_found", text, param: "model")
            case "ThrottlingException":
                make(429, "rate_limit_error", "rate_limit_exceeded", text)
            case "ServiceQuotaExceededException":
                make(429, "insufficient_quota", "insufficient_quota", text)
            case "ModelNotReadyException": make(503, "server_error", "model_not_ready", text)
            case "ModelTimeoutException": make(504, "server_error", "model_timeout", text)
            case "ModelErrorException", "ModelStreamErrorException":
                modelError(originalStatus, text)
            case "InternalServerException": make(500, "server_error", "internal_error", text)
            case "ServiceUnavailableException":
                make(503, "server_error", "service_unavailable", text)
            default: unknown(status, text)
            }
        if text.isEmpty { error.message = "upstream returned status \(status ?? error.status)" }
        if name == "AccessDeniedException" || name == "ServiceQuotaExceededException" {
            error.shouldRetry = false
        }
        // A model's own failure may not be another's, whatever its status was (section 2.5).
        error.isWorthAnotherTarget =
            error.status == 429 || error.status >= 500 || name.hasPrefix("Model")
        return error
    }

    private static func unknown(_ status: Int?, _ message: String) -> APIError {
        guard let status, (400..<500).contains(status) else {
            return make(502, "server_error", "upstream_error", message)
        }
        return make(status, "invalid_request_error", nil, message)
    }

    private static func validation(_ message: String) -> APIError {
        let isTooLong = ContextLength.isExceeded(message)
        return make(
            400, "invalid_request_error", isTooLong ? "context_length_exceeded" : nil, message,
            param: isTooLong ? "messages" : nil)
    }

    private static func modelError(_ originalStatus: Int?, _ message: String) -> APIError {
        switch originalStatus {
        case 429: make(429, "rate_limit_error", "rate_limit_exceeded", message)
        case 400: make(400, "invalid_request_error", "model_error", message)
        default: make(502, "server_error", "model_error", message)
        }
    }

    private static func make(
        _ status: Int, _ type: String, _ code: String?, _ message: String, param: String? = nil
    ) -> APIError {
        APIError(
            status: status, type: type, code: code, param: param, message: message,
            origin: .upstream)
    }
}

/// Recognises that a prompt was too long by what providers write: rule E2's context pattern, and
/// Claude's "input length and `max_tokens` exceed context limit".
enum ContextLength {
    private static let phrases = [
        "too long", "context length", "context window", "context limit", "maximum context",
        "maximum number of tokens", "exceed the maximum", "exceeds the maximum", "exceed the model",
        "exceeds the model", "exceed model", "exceeds model", "exceed maximum", "exceeds maximum",
        "input is too", "too many tokens", "too many input tokens",
    ]

    static func isExceeded(_ message: String) -> Bool {
        let text = String(message.unicodeScalars.prefix(Limits.errorTextBytes)).lowercased()
        return phrases.contains { text.contains($0) }
    }
}
