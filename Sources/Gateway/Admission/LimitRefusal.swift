import Primitives
public import Translation
public import Wire

/// A limit that a request did not fit.
public struct LimitRefusal: Sendable {
    /// The limit.
    public let limit: LimitConfiguration
    /// When it would fit; nil when it never can.
    public let retryAfterMilliseconds: Int?
    /// Only what others have set aside stands in the way: it may be given back at any time.
    let isHeldByOthers: Bool

    /// nil when there is nothing to refuse.
    init?(_ entry: LimitEntry, _ verdict: LimitAccount.Verdict) {
        switch verdict {
        case .fits: return nil
        case .never: retryAfterMilliseconds = nil
        case .after(let milliseconds), .whenOthersEnd(let milliseconds):
            retryAfterMilliseconds = max(1, milliseconds)
        }
        if case .whenOthersEnd = verdict { isHeldByOthers = true } else { isHeldByOthers = false }
        limit = entry.limit
    }

    /// The limit's name in errors and counters.
    public var name: String { limit.name }

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
            error.retryAfterSeconds = Limits.hopelessRetrySeconds
            return error
        }
        var error = APIError(
            status: 429, type: type, code: isBudget ? "insufficient_quota" : "rate_limit_exceeded",
            message: isHeldByOthers
                ? "What is left of the limit \(name) of \(amountText) is set aside for requests "
                    + "under way; try again in \((wait + 999) / 1000) s."
                : "The limit \(name) of \(amountText) is used up; try again in "
                    + "\((wait + 999) / 1000) s.")
        error.retryAfterMilliseconds = wait
        error.retryAfterSeconds = (wait + 999) / 1000
        if isBudget, !isHeldByOthers { error.shouldRetry = false }
        return error
    }

    private var amountText: String {
        guard limit.measure == .usd else { return limit.amount.description }
        return String(decoding: MoneyText.dollars(nanodollars: limit.amount), as: UTF8.self)
            + " USD"
    }
}

extension LimitConfiguration {
    /// What it is called in errors, counters and `x-sluice-cut`, such as `tokens/minute` or
    /// `usd/month(gpt-*)`. A tenant has no two limits of one name.
    var name: String {
        let model = model.map { "(\($0))" } ?? ""
        return "\(measure.rawValue)/\(window.rawValue)" + model + (isByUser ? "/user" : "")
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

    /// Takes an account into consideration.
    mutating func add(_ line: Line, _ measure: LimitConfiguration.Measure) {
        switch measure {
        case .requests: requests = line.tighter(than: requests)
        case .tokens, .inputTokens, .outputTokens: tokens = line.tighter(than: tokens)
        case .usd: break
        }
    }

    /// No limits.
    public init() {}

    /// Appends the fields that OpenAI sends.
    public func append(to fields: inout HeaderFields) {
        if let requests {
            fields.append("x-ratelimit-limit-requests", decimal: Int(requests.limit))
            fields.append("x-ratelimit-remaining-requests", decimal: Int(requests.remaining))
            fields.append("x-ratelimit-reset-requests", capacity: Self.durationCapacity) {
                Self.append(requests.resetMilliseconds, to: &$0)
            }
        }
        if let tokens {
            fields.append("x-ratelimit-limit-tokens", decimal: Int(tokens.limit))
            fields.append("x-ratelimit-remaining-tokens", decimal: Int(tokens.remaining))
            fields.append("x-ratelimit-reset-tokens", capacity: Self.durationCapacity) {
                Self.append(tokens.resetMilliseconds, to: &$0)
            }
        }
    }

    /// More than any duration takes.
    static let durationCapacity = 64

    /// Writes a duration as OpenAI does: `20ms`, `1s`, `1.5s`, `6m0s`, `1h0m0s`.
    static func append(_ milliseconds: Int, to output: inout OutputSpan<UInt8>) {
        if milliseconds < 1000 {
            output.append(decimal: milliseconds)
            output.append("ms")
        } else if milliseconds < 60_000 {
            output.append(decimal: milliseconds / 1000)
            var rest = milliseconds % 1000
            var digits = 3
            while rest > 0, rest % 10 == 0 { (rest, digits) = (rest / 10, digits - 1) }
            if rest > 0 {
                output.append(".")
                output.append(decimal: UInt64(rest), width: digits)
            }
            output.append("s")
        } else {
            let seconds = (milliseconds + 999) / 1000
            let minutes = seconds / 60
            if minutes >= 60 {
                output.append(decimal: minutes / 60)
                output.append("h")
            }
            output.append(decimal: minutes >= 60 ? minutes % 60 : minutes)
            output.append("m")
            output.append(decimal: seconds % 60)
            output.append("s")
        }
    }
}
