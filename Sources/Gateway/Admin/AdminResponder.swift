public import Primitives
public import Translation
public import Wire

/// A request to the admin listener.
public struct AdminRequest: Sendable {
    /// The method.
    public let method: HTTPMethod
    /// Path and query.
    public let target: [UInt8]
    /// The `Accept` field.
    public let accept: [UInt8]?

    /// A request.
    public init(method: HTTPMethod, target: [UInt8], accept: [UInt8]?) {
        self.method = method
        self.target = target
        self.accept = accept
    }

    /// The path, without a query.
    var path: [UInt8] { Array(target.prefix { $0 != UInt8(ascii: "?") }) }

    /// Whether the answer needs the ledger, which may be large.
    public var mayTakeLong: Bool {
        ["/admin/usage", "/admin/reload"].contains(String(decoding: path, as: UTF8.self))
    }
}

/// Its answer.
public struct AdminAnswer: Sendable {
    /// The status.
    public let status: Int
    /// The `Content-Type`.
    public let contentType: String
    /// The body.
    public let body: [UInt8]
    /// With a 405, the methods that would be right.
    public let allow: StaticString?

    /// An answer.
    public init(status: Int, contentType: String, body: [UInt8], allow: StaticString? = nil) {
        self.status = status
        self.contentType = contentType
        self.body = body
        self.allow = allow
    }

    /// The answer while as many others are worked on as may be.
    public static let busy = AdminAnswer(
        status: 503, contentType: "application/json",
        body: ErrorEnvelope.write(
            .unavailable("overloaded", "The admin side has enough to do; try again."),
            requestID: ""))
}

/// Answers on the admin side (contract section 5). It asks the running process by closures.
public struct AdminResponder: Sendable {
    private let metrics: Metrics
    private let obstacle: @Sendable () -> String?
    private let limits: @Sendable () -> [LimitReading]
    private let configuration: @Sendable () -> [UInt8]
    private let usage: @Sendable (UsageQuery) throws(APIError) -> UsageReport
    private let reload: @Sendable () -> String?
    private let now: @Sendable () -> WallTime

    /// A responder. `obstacle` says in a word why no request should come here now; nil: they may.
    /// `configuration` gives the running one as JSON without its secrets; `reload`
    /// reads the file again and gives nil when it was taken over, else what is wrong with it.
    public init(
        metrics: Metrics, limits: @escaping @Sendable () -> [LimitReading],
        now: @escaping @Sendable () -> WallTime,
        obstacle: @escaping @Sendable () -> String?,
        configuration: @escaping @Sendable () -> [UInt8],
        usage: @escaping @Sendable (UsageQuery) throws(APIError) -> UsageReport,
        reload: @escaping @Sendable () -> String?
    ) {
        self.metrics = metrics
        self.limits = limits
        self.now = now
        self.obstacle = obstacle
        self.configuration = configuration
        self.usage = usage
        self.reload = reload
    }

    /// Answers one request.
    public func answer(_ request: AdminRequest) -> AdminAnswer {
        let path = request.path
        let query = Array(request.target.dropFirst(path.count + 1))
        let isRead = request.method == .get || request.method == .head
        switch String(decoding: path, as: UTF8.self) {
        case "/metrics" where isRead: return answerMetrics(request.accept)
        case "/livez" where isRead: return Self.text(200, "ok\n")
        case "/readyz" where isRead:
            return obstacle().map { Self.text(503, $0 + "\n") } ?? Self.text(200, "ok\n")
        case "/admin/config" where isRead: return Self.json(200, configuration())
        case "/admin/usage" where isRead: return answerUsage(query)
        case "/admin/reload" where request.method == .post: return answerReload()
        case "/metrics", "/livez", "/readyz", "/admin/config", "/admin/usage":
            return Self.methodNotAllowed("GET, HEAD")
        case "/admin/reload": return Self.methodNotAllowed("POST")
        default:
            return Self.error(
                APIError(
                    status: 404, type: "invalid_request_error", code: "unknown_endpoint",
                    message: "The admin side has /metrics, /livez, /readyz, /admin/config, "
                        + "/admin/usage and /admin/reload."))
        }
    }

    private func answerMetrics(_ accept: [UInt8]?) -> AdminAnswer {
        let isOpen =
            accept.map { String(decoding: $0, as: UTF8.self) }?
            .split(separator: ",").contains { $0.contains("application/openmetrics-text") } ?? false
        return AdminAnswer(
            status: 200,
            contentType: isOpen
                ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                : "text/plain; version=0.0.4; charset=utf-8",
            body: metrics.render(openMetrics: isOpen, limits: limits()))
    }

    private func answerUsage(_ query: [UInt8]) -> AdminAnswer {
        do throws(APIError) {
            let report = try usage(UsageQuery(query: query, now: now()))
            return Self.json(200, report.json())
        } catch {
            return Self.error(error)
        }
    }

    private func answerReload() -> AdminAnswer {
        guard let problem = reload() else {
            return Self.json(200, [UInt8](#"{"result":"applied"}"#))
        }
        return Self.error(
            .badRequest(
                "invalid_configuration", param: nil,
                "The configuration was not taken over: \(problem)"))
    }

    private static func methodNotAllowed(_ allowed: StaticString) -> AdminAnswer {
        let error = APIError(
            status: 405, type: "invalid_request_error", code: "method_not_allowed",
            message: "This path takes \(allowed) only.")
        return AdminAnswer(
            status: 405, contentType: "application/json",
            body: ErrorEnvelope.write(error, requestID: ""), allow: allowed)
    }

    private static func error(_ error: APIError) -> AdminAnswer {
        json(error.status, ErrorEnvelope.write(error, requestID: ""))
    }

    private static func json(_ status: Int, _ body: [UInt8]) -> AdminAnswer {
        AdminAnswer(status: status, contentType: "application/json", body: body)
    }

    private static func text(_ status: Int, _ text: String) -> AdminAnswer {
        AdminAnswer(
            status: status, contentType: "text/plain; charset=utf-8", body: Array(text.utf8))
    }
}
