import Wire

/// A chat request that belongs to no dialect: endpoints read into it, providers write from it.
///
/// Turns alternate already, tool results answer calls, names and ids fit every provider. Raw JSON
/// (schemas, tool inputs) stays as it was written.
struct ChatRequest {
    /// Text blocks and cache points, in order.
    var system: [ChatBlock] = []
    /// User and assistant in turn, the user first.
    var turns: [ChatTurn] = []
    var tools = ChatTools()
    var maximumTokens: Int?
    var stop: [[UInt8]] = []
    var sampling = ChatSampling()
    /// A JSON schema that the answer must follow natively; else nil.
    var schema: ChatSchema?
    var serviceTier: String?
    /// Pairs that may be handed on (rule A52).
    var metadata: [(key: [UInt8], value: [UInt8])] = []
    var isStreamed = false
    /// Names of fields that this model cannot honour and that were left out.
    var dropped: [String] = []
    /// The https URLs of images that must be fetched first (rule A15).
    var remoteImages: [[UInt8]] = []
}

struct ChatTurn {
    enum Role { case user, assistant }

    let role: Role
    var blocks: [ChatBlock]
}

enum ChatBlock {
    case text([UInt8])
    /// Standard, padded Base64.
    case image(format: String, base64: [UInt8])
    /// An `s3://` address.
    case imageInS3(format: String, uri: [UInt8])
    case document(format: String, name: [UInt8], base64: [UInt8])
    case audio(format: [UInt8], base64: [UInt8])
    /// `input` is a JSON object.
    case toolUse(id: [UInt8], name: [UInt8], input: [UInt8])
    case toolResult(id: [UInt8], content: [ChatBlock], isError: Bool)
    case reasoning(text: [UInt8], signature: [UInt8])
    case redactedReasoning([UInt8])
    case cachePoint(lifetime: String?)

    var isText: Bool { if case .text = self { true } else { false } }
    var isToolResult: Bool { if case .toolResult = self { true } else { false } }
    var isDocument: Bool { if case .document = self { true } else { false } }
    var isCachePoint: Bool { if case .cachePoint = self { true } else { false } }

    var isReasoning: Bool {
        switch self {
        case .reasoning, .redactedReasoning: true
        default: false
        }
    }
}

/// What the model may call.
struct ChatTools {
    enum Choice {
        /// Whatever the provider does without being told.
        case unspecified
        case auto
        case any
        case named([UInt8])
    }

    struct Tool {
        enum Kind { case function, custom, structuredOutput }

        let kind: Kind
        /// The name that is sent.
        let name: [UInt8]
        let description: [UInt8]?
        /// A JSON schema object.
        let schema: [UInt8]
        let isStrict: Bool
        /// A cache point behind the tool, and its lifetime.
        var cachePoint: String??
    }

    var list: [Tool] = []
    var choice = Choice.unspecified
    /// Whether tools must be declared although none may be called (rules A32 and A33).
    var isSuppressed = false
    /// Only the first call is passed on (rule A34).
    var isFirstCallOnly = false
    /// Answers use `function_call` (rule A25).
    var isLegacy = false
    /// Names that were changed: sent name to the client's.
    var originalNames: [[UInt8]: [UInt8]] = [:]

    /// Whether a call is demanded.
    var isForced: Bool {
        switch choice {
        case .any, .named: true
        case .unspecified, .auto: false
        }
    }

    /// The kind of the tool that was sent under a name.
    func kind(of name: [UInt8]) -> Tool.Kind {
        list.first { $0.name == name }?.kind ?? .function
    }
}

/// Numbers as the client wrote them.
struct ChatNumber {
    let text: [UInt8]
    let value: Double
}

/// Temperature and its like, and how hard to think; what the rules leave of them.
struct ChatSampling {
    var temperature: ChatNumber?
    var topP: ChatNumber?
    var topK: ChatNumber?
    /// `thinking` as JSON, Anthropic's shape.
    var thinking: [UInt8]?
    /// `outputConfig.effort`.
    var effort: String?
    /// Nova's `maxReasoningEffort`.
    var novaEffort: String?
    /// gpt-oss's `reasoning_effort`.
    var reasoningEffort: String?
}

struct ChatSchema {
    let name: [UInt8]
    let description: [UInt8]?
    /// Compact JSON in the client's key order.
    let schema: [UInt8]
}
