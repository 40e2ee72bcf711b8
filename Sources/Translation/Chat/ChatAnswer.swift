import Primitives

/// Why a model stopped.
enum ChatStopReason {
    case endOfTurn, lengthLimit, toolUse, filtered, malformedOutput, other
}

/// A whole answer that belongs to no dialect.
struct ChatAnswer {
    struct Call {
        let id: [UInt8]
        /// As it was sent.
        let name: [UInt8]
        /// A JSON object.
        let input: [UInt8]
    }

    enum Thinking {
        case signed(text: [UInt8], signature: [UInt8])
        case redacted([UInt8])
    }

    struct Citation {
        let start: Int
        let end: Int
        let title: [UInt8]
        let url: [UInt8]
    }

    /// nil when the answer has no text block.
    var text: [UInt8]?
    var calls: [Call] = []
    var reasoning: [UInt8] = []
    var thinking: [Thinking] = []
    var citations: [Citation] = []
    var stopReason = ChatStopReason.other
    var usage: TokenUsage?
    var serviceTier: String?

    /// How much it says.
    var outputBytes: Int {
        calls.reduce((text?.count ?? 0) + reasoning.count) { $0 + $1.name.count + $1.input.count }
    }

    /// Whether the model spoke nonsense and nothing else (rule R6).
    var isMalformed: Bool {
        stopReason == .malformedOutput && text?.isEmpty ?? true && calls.isEmpty
    }
}

/// One step of a streamed answer that belongs to no dialect.
///
/// Blocks are told apart by the backend's index. Text stays where it has been read: there is a
/// delta for each token.
enum ChatDelta: ~Escapable {
    case begin
    case text(Span<UInt8>)
    /// `isHidden`: the provider runs the tool itself.
    case callBegin(block: Int, id: [UInt8], name: [UInt8], isHidden: Bool)
    case callInput(block: Int, Span<UInt8>)
    case reasoning(block: Int, Span<UInt8>)
    case reasoningSignature(block: Int, Span<UInt8>)
    case redactedReasoning(block: Int, Span<UInt8>)
    case blockEnd(block: Int)
    case finish(ChatStopReason)
    case usage(TokenUsage, serviceTier: String?)
}

extension ChatStopReason {
    /// OpenAI's word for it (rule R6); `hasCalls` says whether the client sees any call.
    func finishReason(hasCalls: Bool, isLegacy: Bool) -> StaticString {
        switch self {
        case .lengthLimit: return "length"
        case .filtered: return "content_filter"
        case .endOfTurn, .toolUse, .malformedOutput, .other:
            guard hasCalls else { return "stop" }
            return isLegacy ? "function_call" : "tool_calls"
        }
    }
}

extension APIError {
    /// The model spoke nonsense where an answer should be (rule R6).
    static let malformedModelOutput: APIError = {
        var error = APIError(
            status: 502, type: "server_error", code: "malformed_model_output",
            message: "the model produced malformed output", origin: .upstream)
        error.isWorthAnotherTarget = true
        return error
    }()

    /// More came than can be kept back until it can be told (`Limits.heldStreamBytes`).
    static let upstreamHoldsTooMuch: APIError = {
        var error = APIError(
            status: 502, type: "server_error", code: "upstream_malformed",
            message: "The backend sent a block that is too long, or too many at once.",
            origin: .upstream)
        error.isWorthAnotherTarget = true
        return error
    }()

    /// The stream's bytes ended, or made no sense, before the answer was complete (rule S9).
    static let upstreamIncomplete: APIError = {
        var error = APIError(
            status: 502, type: "server_error", code: "upstream_incomplete",
            message: "the upstream stream ended before the response was complete",
            origin: .upstream)
        error.isWorthAnotherTarget = true
        return error
    }()
}
