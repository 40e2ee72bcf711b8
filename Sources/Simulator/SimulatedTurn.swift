import Primitives
import Wire

/// What a model says to a conversation: decided here, written by the dialects.
struct SimulatedTurn {
    enum Content: Equatable {
        /// Words, each with the blank before it.
        case text([String])
        case call(name: [UInt8], arguments: [UInt8])
    }

    enum Failure: CaseIterable {
        case overloaded, serverError, unavailable, reset, cutStream, errorInStream
    }

    let content: Content
    let isCutShort: Bool
    let inputTokens: Int
    let outputTokens: Int
    /// For ids: 16 hexadecimal digits.
    let identity: [UInt8]
    let failure: Failure?

    /// What a reply without a failure tells of its tokens.
    var tokens: SimulatedReply.Tokens {
        SimulatedReply.Tokens(input: inputTokens, output: outputTokens)
    }

    private static let words = [
        "the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "rain",
        "falls", "on", "New", "York", "and", "somebody", "reads", "this",
    ]

    init(
        conversation: Conversation, body: [UInt8], options: SimulatorOptions
    ) {
        let digest = SHA256.digest((Array("\(options.seed):".utf8) + body).span)
        var random = SeededGenerator(
            seed: (0..<8).reduce(0) { $0 << 8 | UInt64(digest.bytes[$1]) })
        identity = Array(digest.hexadecimal(prefix: 8).utf8)
        let roll = Double.random(in: 0..<1, using: &random)
        failure = roll < options.failureRate ? Failure.allCases.randomElement(using: &random) : nil
        var words = conversation.fixedText?.split(separator: " ").map(String.init) ?? []
        if let tool = conversation.tool, conversation.fixedText == nil {
            content = .call(name: tool.name, arguments: SchemaExample.write(tool.schema))
            isCutShort = false
            outputTokens = 12
        } else {
            while words.isEmpty || conversation.fixedText == nil && words.count < options.chunkCount
            {
                words.append(Self.words.randomElement(using: &random) ?? "word")
            }
            let limit = max(1, conversation.maximumTokens ?? words.count)
            isCutShort = words.count > limit
            words = Array(words.prefix(limit))
            outputTokens = words.count
            content = .text(words.enumerated().map { $0 == 0 ? $1 : " " + $1 })
        }
        inputTokens = max(1, body.count / Limits.bytesPerTokenGuess)
    }
}

/// What matters of a conversation, whichever dialect it came in.
struct Conversation {
    struct Tool {
        let name: [UInt8]
        let schema: JSONValue?
    }

    /// The tool to call; nil when there is none, none may be called, or a result has just come.
    var tool: Tool?
    /// Text that must be said: a quoted tool result, or an example of a schema.
    var fixedText: String?
    var maximumTokens: Int?
}
