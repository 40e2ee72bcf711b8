public import Translation
public import Wire

/// A limit that a request did not fit.
public struct LimitRefusal: Sendable {
    /// The limit.
    public let limit: LimitConfiguration
    /// When it would fit; nil when it never can.
    public let retryAfterMilliseconds: Int?

    /// The limit's name in errors and counters, such as `tokens/minute` or `usd/month(gpt-*)`.
    public var name: String {
        let base = "\(limit.measure.rawValue)/\(limit.window.rawValue)"
        let model = limit.model.map { "(\($0))" } ?? ""
        return base + model + (limit.isByUser ? "/user" : "")
    }

    /// The tightest limit is the one that lets the request through last.
    func isTighter(than other: LimitRefusal) -> Bool {
        guard let mine = retryAfterMilliseconds else { return true }
        guard let theirs = other.retryAfterMilliseconds else { return false }
        return mine > theirs
    }

    /// The refusal as the client sees it (contract section 4, rule E5).
    public func error() -> APIError {
        let isBudget = limit.measure == .usd || limit.window == .day || limit.window == .month
        let type =
            switch limit.measure {
            case .requests: "requests"
            case .tokens, .inputTokens, .outputTokens: "tokens"
            case .usd: "usd"
            }
        guard let wait = retryAfterMilliseconds else {
            var error = APIError(
                status: 429, type: type,
                code: isBudget ? "insufficient_quota" : "rate_limit_exceeded",
                message: "This request alone is larger than the limit \(name) of "
                    + "\(amountText). Ask for less, such as a lower max_tokens.",
                origin: .client)
            error.shouldRetry = false
            return error
        }
        var error = APIError(
            status: 429, type: type, code: isBudget ? "insufficient_quota" : "rate_limit_exceeded",
            message: "The limit \(name) of \(amountText) is used up; try again in "
                + "\((wait + 999) / 1000) s.")
        error.retryAfterMilliseconds = wait
        error.retryAfterSeconds = (wait + 999) / 1000
        if isBudget { error.shouldRetry = false }
        return error
    }

    private var amountText: String {
        guard limit.measure == .usd else { return limit.amount.description }
        return String(decoding: MoneyText.dollars(nanodollars: limit.amount), as: UTF8.self)
            + " USD"
    }
}

/// Where a tenant stands, for the `x-ratelimit-*` fields.
public struct RateLimitStanding: Sendable {
    struct Line: Sendable {
        var limit: Int64
        var remaining: Int64
        var resetMilliseconds: Int

        /// The line that leaves less.
        func tighter(than other: Line?) -> Line {
            guard let other, other.remaining <= remaining else { return self }
            return other
        }
    }

    var requests: Line?
    var tokens: Line?

    /// No limits.
    public init() {}

    /// Appends the fields that OpenAI sends.
    public func append(to fields: inout HeaderFields) {
        if let requests {
            fields.append("x-ratelimit-limit-requests", decimal: Int(requests.limit))
            fields.append("x-ratelimit-remaining-requests", decimal: Int(requests.remaining))
            fields.append(
                "x-ratelimit-reset-requests", text: Self.duration(requests.resetMilliseconds))
        }
        if let tokens {
            fields.append("x-ratelimit-limit-tokens", decimal: Int(tokens.limit))
            fields.append("x-ratelimit-remaining-tokens", decimal: Int(tokens.remaining))
            fields.append("x-ratelimit-reset-tokens", text: Self.duration(tokens.resetMilliseconds))
        }
    }

    /// Durations as OpenAI writes them: `20ms`, `1s`, `1.5s`, `6m0s`, `1h0m0s`.
    static func duration(_ milliseconds: Int) -> String {
        guard milliseconds >= 1000 else { return "\(milliseconds)ms" }
        guard milliseconds >= 60_000 else {
            let rest = milliseconds % 1000
            guard rest > 0 else { return "\(milliseconds / 1000)s" }
            var fraction = String(rest + 1000).dropFirst()
            while fraction.last == "0" { fraction.removeLast() }
            return "\(milliseconds / 1000).\(fraction)s"
        }
        let seconds = (milliseconds + 999) / 1000
        let minutes = seconds / 60
        guard minutes >= 60 else { return "\(minutes)m\(seconds % 60)s" }
        return "\(minutes / 60)h\(minutes % 60)m\(seconds % 60)s"
    }
}
