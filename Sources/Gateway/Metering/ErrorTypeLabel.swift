/// The `error_type` of metrics, for the code of an error.
///
/// Backends make up codes of their own, and clients can make some backends repeat theirs: only
/// what is listed here becomes a label, the rest is `_OTHER` (OpenTelemetry's `error.type`).
enum ErrorTypeLabel {
    static let other = "_OTHER"

    private static let known: Set<String> = [
        // Our own, by contract section 4.
        "invalid_json", "invalid_request", "invalid_type", "invalid_value",
        "missing_required_parameter", "unsupported_parameter", "unsupported_value",
        "invalid_api_key", "model_not_allowed", "model_not_found", "unknown_endpoint",
        "method_not_allowed", "request_timeout", "length_required", "request_too_large",
        "uri_too_long", "unsupported_media_type", "request_header_fields_too_large",
        "not_implemented", "http_version_not_supported", "rate_limit_exceeded",
        "insufficient_quota", "client_closed", "gateway_interrupted", "upstream_error",
        "upstream_malformed", "upstream_incomplete", "upstream_timeout",
        "upstream_authentication_failed", "no_healthy_backend", "overloaded", "draining",
        "ledger_unavailable",
        // Of Bedrock's exceptions (rule E2), and the usual ones of OpenAI.
        "access_denied", "context_length_exceeded", "internal_error", "model_error",
        "model_not_ready", "model_timeout", "service_unavailable", "content_filter",
        "content_policy_violation", "server_error", "invalid_image", "invalid_prompt",
    ]

    /// The label; empty when there was no error.
    static func text(_ code: String?) -> String {
        guard let code else { return "" }
        return known.contains(code) ? code : other
    }
}
