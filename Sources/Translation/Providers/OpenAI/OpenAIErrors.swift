import Primitives
import Wire

/// Errors of OpenAI-shaped backends (rule E4): OpenAI's envelope, and vLLM's three shapes.
enum OpenAIErrors {
    /// The stream's body has ended, but not the answer.
    static let incomplete = APIError(
        status: 502, type: "server_error", code: "upstream_incomplete",
        message: "the upstream stream ended before the response was complete", origin: .upstream)

    /// The backend's answer makes no sense.
    static func malformed(_ what: String) -> APIError {
        var error = APIError(
            status: 502, type: "server_error", code: "upstream_malformed",
            message: "The backend \(what).", origin: .upstream)
        error.isWorthAnotherTarget = true
        return error
    }

    /// An error in the place of a chunk.
    static func inStream(_ data: [UInt8], at range: Range<Int>) -> APIError {
        let object = (try? JSONDocument(Array(data[range])))?.root
        var error = APIError(
            status: 502, type: object?["type"]?.string ?? "server_error",
            code: object?["code"]?.string, param: object?["param"]?.string,
            message: object?["message"]?.string ?? object?.string ?? "The backend failed.",
            origin: .upstream)
        // vLLM's `code` is the HTTP status it would have sent (vllm.md section 2.5).
        if let status = object?["code"]?.int, (400..<600).contains(status) { error.status = status }
        error.isWorthAnotherTarget = error.status >= 500 || error.status == 429
        return error
    }

    /// An answer with an error status.
    static func classify(_ answer: UpstreamAnswer, model: String) -> APIError {
        let status = answer.head.status
        let document = try? JSONDocument(answer.body)
        var error = read(document?.root, answer)
        if status == 401 || status == 403 && speaksOfKey(error.message) {
            return credentialRefused
        }
        if status < 400 {
            // A redirect, or a 2xx that holds an error: neither is an answer.
            error.status = 502
            error.type = "server_error"
            error.code = error.code ?? "upstream_error"
            error.verbatimBody = nil
        }
        if status == 404 { hideModels(&error, document?.root, model: model) }
        error.isWorthAnotherTarget = error.status == 429 || error.status >= 500
        error.shouldRetry = shouldRetry(answer.head)
        if status == 429 || status == 503 {
            error.retryAfterSeconds = retryAfter(answer.head)
            error.retryAfterMilliseconds = wholeNumber("retry-after-ms", in: answer.head)
            if status == 503, error.retryAfterSeconds == nil { error.retryAfterSeconds = 1 }
        }
        return error
    }

    static let credentialRefused: APIError = {
        var error = APIError(
            status: 500, type: "server_error", code: "upstream_authentication_failed",
            message: "the gateway could not authenticate to the model provider", origin: .gateway)
        error.shouldRetry = false
        error.isWorthAnotherTarget = true
        error.blamesCredential = true
        return error
    }()

    private static func read(_ root: JSONValue?, _ answer: UpstreamAnswer) -> APIError {
        let status = answer.head.status
        let fallbackType = status >= 500 ? "server_error" : "invalid_request_error"
        let envelope = root?.present("error")
        let source = envelope?.kind == .object ? envelope : root
        let detail =
            source?["message"]?.string ?? root?["detail"].flatMap { Self.detail($0) }
            ?? envelope?.string
        let text = detail ?? plainText(answer) ?? "upstream returned status \(status)"
        var error = APIError(
            status: status, type: source?["type"]?.string ?? fallbackType,
            code: source?["code"]?.string, param: source?["param"]?.string, message: text,
            origin: .upstream)
        if let envelope, isWhole(envelope) { error.verbatimBody = answer.body }
        return error
    }

    /// FastAPI's `detail`: a text, or the list of what is wrong with the fields of a request, with
    /// the place and the reason of each.
    private static func detail(_ detail: JSONValue) -> String? {
        guard detail.kind == .array else { return detail.string }
        let problems = detail.elements.prefix(Limits.errorDetails).compactMap { problem in
            problem["msg"]?.string.map { reason in
                let place = (problem["loc"]?.elements ?? problem.elements).map { name in
                    name.string ?? String(decoding: name.source, as: UTF8.self)
                }
                return place.isEmpty ? reason : "\(place.joined(separator: ".")): \(reason)"
            }
        }
        return problems.isEmpty ? nil : problems.joined(separator: "; ")
    }

    /// All four members of OpenAI's envelope with their types: such a body is passed on as it is.
    private static func isWhole(_ envelope: JSONValue) -> Bool {
        guard envelope["message"]?.kind == .string, envelope["type"]?.kind == .string,
            let param = envelope["param"], let code = envelope["code"]
        else { return false }
        return (param.isNull || param.kind == .string) && (code.isNull || code.kind == .string)
    }

    private static func plainText(_ answer: UpstreamAnswer) -> String? {
        guard let index = answer.head.fields.index(of: "content-type"),
            answer.head.fields.value(at: index).startsIgnoringCase(with: "text/plain"),
            !answer.body.isEmpty
        else { return nil }
        return String(decoding: answer.body.prefix(Limits.errorTextBytes), as: UTF8.self)
    }

    private static func speaksOfKey(_ message: String) -> Bool {
        let lower = Array(message.lowercased().utf8)
        return lower.holds("key") || lower.holds("token") || lower.holds("credential")
    }

    /// vLLM lists the models it does serve, and answers unknown paths in a shape of its own.
    private static func hideModels(_ error: inout APIError, _ root: JSONValue?, model: String) {
        if root?["detail"]?.equals("Not Found") == true {
            error.message = "The backend does not serve this endpoint for the model '\(model)'."
            error.param = "model"
        } else if error.type == "NotFoundError" {
            error.message = "The backend does not serve the model '\(model)'."
            error.code = "model_not_found"
            error.verbatimBody = nil
        }
    }

    /// `Retry-After` in seconds (RFC 9110 section 10.2.3). A date is held against that of the
    /// answer: what our clock says, the backend does not know.
    static func retryAfter(_ head: ResponseHead) -> Int? {
        if let seconds = wholeNumber("retry-after", in: head) { return seconds }
        guard let time = date("retry-after", in: head), let now = date("date", in: head) else {
            return nil
        }
        return max(0, Int(time.seconds - now.seconds))
    }

    private static func date(_ field: StaticString, in head: ResponseHead) -> WallTime? {
        head.fields.index(of: field).flatMap { HTTPDate.time(head.fields.value(at: $0)) }
    }

    private static func wholeNumber(_ field: StaticString, in head: ResponseHead) -> Int? {
        guard let value = head.fields.value(of: field) else { return nil }
        return Int(String(decoding: value, as: UTF8.self)).flatMap { $0 >= 0 ? $0 : nil }
    }

    /// What a backend tells the SDKs where their own rule would be wrong (openai-api.md section
    /// 2.1): OpenAI does when an account has no money left.
    private static func shouldRetry(_ head: ResponseHead) -> Bool? {
        head.fields.value(of: "x-should-retry").flatMap {
            Bool(String(decoding: $0, as: UTF8.self))
        }
    }
}
