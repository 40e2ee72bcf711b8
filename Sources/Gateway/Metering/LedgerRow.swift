import Primitives
public import Translation

/// One row of the ledger: one admitted request, whatever became of it (contract section 6).
public struct LedgerRow: Sendable, Equatable {
    /// How the token counts are known.
    public enum UsageSource: String, Sendable {
        /// The backend reported them.
        case upstream
        /// They are estimates: work was done, but nobody said how much.
        case estimated
        /// No work was done.
        case none
    }

    /// Our own unique id.
    public var id = ""
    /// The `x-request-id`, which a client may repeat.
    public var requestID = ""
    /// When the head arrived, Unix milliseconds.
    public var startedAtMilliseconds: Int64 = 0
    /// Who pays.
    public var tenant = ""
    /// The first 12 hexadecimal digits of the key's SHA-256.
    public var keyID = ""
    /// The request's `user` field.
    public var user: String?
    /// Such as `chat.completions`.
    public var endpoint = ""
    /// The route's name or glob.
    public var route = ""
    /// The backend of the last attempt.
    public var backend = ""
    /// The model that the client named.
    public var model = ""
    /// The backend's name of it.
    public var upstreamModel = ""
    /// Whether the answer was streamed.
    public var isStreamed = false
    /// What the client was told.
    public var status = 0
    /// The error's code, or its type when it has none.
    public var errorCode: String?
    /// The finish reason of the first choice.
    public var finishReason: String?
    /// How many targets were tried.
    public var attempts = 0
    /// The tokens.
    public var usage = TokenUsage()
    /// How they are known.
    public var usageSource = UsageSource.none
    /// What it costs; nil when the price is unknown.
    public var costNanodollars: Int64?
    /// Which price was applied.
    public var priceID: String?
    /// Until the first byte for the client.
    public var timeToFirstTokenMilliseconds: Int?
    /// Until the end.
    public var durationMilliseconds = 0
    /// The part of it that was spent in the gateway.
    public var overheadMicroseconds = 0
    /// The request's body.
    public var requestBytes = 0
    /// The answer's body.
    public var responseBytes = 0

    /// An empty row.
    public init() {}

    /// Cuts the texts that others have sent: clients their model and user, backends the rest.
    mutating func clipTexts() {
        Self.clip(&model)
        Self.clip(&upstreamModel)
        Self.clip(&user)
        Self.clip(&errorCode)
        Self.clip(&finishReason)
    }

    private static func clip(_ text: inout String) {
        if text.utf8.count > Limits.ledgerTextBytes { text = clipped(text) }
    }

    private static func clip(_ text: inout String?) {
        if let count = text?.utf8.count, count > Limits.ledgerTextBytes {
            text = text.map { clipped($0) }
        }
    }

    /// The beginning of a text, whole characters of at most `Limits.ledgerTextBytes`.
    static func clipped(_ text: String) -> String {
        guard text.utf8.count > Limits.ledgerTextBytes else { return text }
        var end = text.utf8.index(text.startIndex, offsetBy: Limits.ledgerTextBytes)
        while end > text.startIndex, end.samePosition(in: text.unicodeScalars) == nil {
            end = text.utf8.index(before: end)
        }
        return String(text[..<end])
    }
}
