import Primitives
import Translation
import Wire

/// The first look at a request, by its head alone: which endpoint, who asks, and whether to read
/// on.
struct RequestGate {
    /// What the head calls for.
    enum Decision {
        /// Read the body and serve it at this endpoint.
        case read(Endpoint, tenant: Int, keyID: String)
        /// Answer the list of models, or one of them.
        case models(named: [UInt8]?, tenant: Int, keyID: String)
        /// Refuse, and count it under what is known of the caller; for a 405, with the method that
        /// would be right (RFC 9110 section 15.5.6).
        case refuse(APIError, labels: CallLabels = CallLabels(), allow: StaticString? = nil)
    }

    let plan: Plan
    /// Whom the client's verified certificate is about; nil without one.
    let subject: CertificateSubject?

    func decide(_ head: borrowing RequestHead) -> Decision {
        let path = Self.path(of: head.target.span)
        if head.method == .connect { return Self.methodNotAllowed("POST") }
        let modelName = Self.modelName(in: path)
        let isModels = path.equals("/v1/models") || modelName != nil
        let endpoint = Endpoint.at(path)
        guard isModels || endpoint != nil else { return .refuse(Self.unknownEndpoint(path)) }
        if isModels {
            guard head.method == .get || head.method == .head else {
                return Self.methodNotAllowed("GET")
            }
        } else if head.method != .post {
            return Self.methodNotAllowed("POST")
        }
        guard let identity = identify(head) else { return .refuse(refusal) }
        guard let endpoint else {
            return .models(named: modelName, tenant: identity.tenant, keyID: identity.keyID)
        }
        if let error = checkBody(head) {
            let labels = CallLabels(
                tenant: identity.tenant, keyID: identity.keyID, endpoint: endpoint)
            return .refuse(error, labels: labels)
        }
        return .read(endpoint, tenant: identity.tenant, keyID: identity.keyID)
    }

    private func identify(_ head: borrowing RequestHead) -> (tenant: Int, keyID: String)? {
        if let index = head.fields.index(of: "authorization") {
            let value = head.fields.value(at: index)
            // SDKs that were given no key send the scheme alone.
            if value.equalsIgnoringCase("bearer") { return identifyWithoutKey() }
            guard value.count > 7, value.extracting(0..<7).equalsIgnoringCase("bearer ") else {
                return plan.authenticate(nil)
            }
            return plan.authenticate(Self.trimmed(value.extracting(7..<value.count)))
        }
        if let index = head.fields.index(of: "api-key") ?? head.fields.index(of: "x-api-key") {
            return plan.authenticate(Self.trimmed(head.fields.value(at: index)))
        }
        return identifyWithoutKey()
    }

    /// A key goes before a certificate: what the client says about this request before what stands
    /// for the connection.
    private func identifyWithoutKey() -> (tenant: Int, keyID: String)? {
        guard let subject else { return plan.authenticate(nil) }
        return plan.authenticate(certificate: subject)
    }

    private var refusal: APIError { subject == nil ? Self.invalidKey : Self.unknownClient }

    private func checkBody(_ head: borrowing RequestHead) -> APIError? {
        switch head.framing {
        case .none:
            guard head.fields.index(of: "content-length") != nil else {
                return APIError(
                    status: 411, type: "invalid_request_error", code: "length_required",
                    message: "This endpoint needs a request body: send Content-Length or "
                        + "Transfer-Encoding: chunked.")
            }
        case .length(let length) where length > plan.limits.requestBodyBytes:
            return Self.bodyTooLarge(plan.limits.requestBodyBytes)
        case .length, .chunked, .untilClose: break
        }
        if let index = head.fields.index(of: "content-encoding"),
            !head.fields.value(at: index).equalsIgnoringCase("identity")
        {
            return APIError(
                status: 415, type: "invalid_request_error", code: "unsupported_media_type",
                message: "The request body must not be compressed.")
        }
        guard let index = head.fields.index(of: "content-type") else { return nil }
        let value = head.fields.value(at: index)
        let end = value.firstIndex(of: UInt8(ascii: ";")) ?? value.count
        guard Self.trimmed(value.extracting(0..<end)).equalsIgnoringCase("application/json") else {
            return APIError(
                status: 415, type: "invalid_request_error", code: "unsupported_media_type",
                message: "The request body must be JSON: send Content-Type: application/json.")
        }
        return nil
    }

    /// The path without query; one trailing slash is forgiven.
    @_lifetime(copy target)
    private static func path(of target: Span<UInt8>) -> Span<UInt8> {
        var end = target.firstIndex(of: UInt8(ascii: "?")) ?? target.count
        if end > 1, target[end - 1] == UInt8(ascii: "/") { end -= 1 }
        return target.extracting(0..<end)
    }

    /// The `{id}` of `/v1/models/{id}`, percent-decoded; it may hold slashes.
    private static func modelName(in path: Span<UInt8>) -> [UInt8]? {
        guard path.starts(with: "/v1/models/") else { return nil }
        return PercentEncoding.decode(path.extracting(11..<path.count))
    }

    @_lifetime(copy value)
    private static func trimmed(_ value: Span<UInt8>) -> Span<UInt8> {
        var start = 0
        var end = value.count
        while start < end, value[start] == 0x20 || value[start] == 0x09 { start += 1 }
        while end > start, value[end - 1] == 0x20 || value[end - 1] == 0x09 { end -= 1 }
        return value.extracting(start..<end)
    }

    private static let invalidKey = APIError(
        status: 401, type: "invalid_request_error", code: "invalid_api_key",
        message: "Missing or unknown API key. Send one of this gateway's keys as "
            + "Authorization: Bearer KEY.")

    private static let unknownClient = APIError(
        status: 401, type: "invalid_request_error", code: "invalid_api_key",
        message: "Neither an API key nor this connection's client certificate is known here. "
            + "Send one of this gateway's keys as Authorization: Bearer KEY, or connect with a "
            + "certificate whose subject a tenant names.")

    private static func unknownEndpoint(_ path: Span<UInt8>) -> APIError {
        let isMetrics = path.equals("/metrics")
        return APIError(
            status: 404, type: "invalid_request_error", code: "unknown_endpoint",
            message: isMetrics
                ? "There are no metrics here: the admin listener has them (admin.address)."
                : "There is no such endpoint here. Try POST /v1/chat/completions or "
                    + "GET /v1/models; the base URL of an SDK ends in /v1, once.")
    }

    private static func methodNotAllowed(_ allowed: StaticString) -> Decision {
        let error = APIError(
            status: 405, type: "invalid_request_error", code: "method_not_allowed",
            message: "This endpoint takes \(allowed) only.")
        return .refuse(error, allow: allowed)
    }

    static func bodyTooLarge(_ limit: Int) -> APIError {
        APIError(
            status: 413, type: "invalid_request_error", code: "request_too_large",
            message: "The request body is larger than this gateway's limit of \(limit) bytes.")
    }
}
