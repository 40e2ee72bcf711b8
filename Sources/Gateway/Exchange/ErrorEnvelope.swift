import Primitives
public import Translation
public import Wire

/// OpenAI's error object, all four members present (rule E1).
public enum ErrorEnvelope {
    /// The envelope as JSON; the message ends with the request id when there is one.
    public static func write(_ error: APIError, requestID: String) -> [UInt8] {
        let suffix = requestID.isEmpty ? "" : " (request id: \(requestID))"
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("error")
        writer.beginObject()
        writer.key("message")
        writer.string(text: error.message + suffix)
        writer.key("type")
        writer.string(text: error.type)
        writer.key("param")
        if let param = error.param { writer.string(text: param) } else { writer.null() }
        writer.key("code")
        if let code = error.code { writer.string(text: code) } else { writer.null() }
        writer.endObject()
        writer.endObject()
        return writer.bytes
    }

    /// The header fields of an error: how to prove oneself, whether and when to try again.
    public static func appendFields(of error: APIError, to fields: inout HeaderFields) {
        // RFC 9110 section 15.5.2: a 401 says how to prove oneself.
        if error.status == 401, error.origin == .client {
            fields.append("www-authenticate", "Bearer")
        }
        if let seconds = error.retryAfterSeconds { fields.append("retry-after", decimal: seconds) }
        if let milliseconds = error.retryAfterMilliseconds {
            fields.append("retry-after-ms", decimal: milliseconds)
        }
        if let shouldRetry = error.shouldRetry {
            fields.append("x-should-retry", shouldRetry ? "true" : "false")
        }
    }
}
