public import Wire

/// What the simulated backend was asked.
public struct SimulatedRequest: Sendable {
    /// The head.
    public let head: RequestHead
    /// The whole body.
    public let body: [UInt8]

    /// A request.
    public init(head: RequestHead, body: [UInt8]) {
        self.head = head
        self.body = body
    }

    /// The path without query.
    var path: [UInt8] { Array(head.target.prefix { $0 != UInt8(ascii: "?") }) }
}

/// What it answers: a head, and writes with pauses before them. Pure data: a socket or a test plays
/// it.
public struct SimulatedReply: Sendable {
    /// How the reply ends after its writes.
    public enum Ending: Sendable, Equatable {
        /// As HTTP wants it.
        case complete
        /// The connection is reset.
        case reset
    }

    /// One write.
    public struct Write: Sendable, Equatable {
        /// The pause before it.
        public var afterMilliseconds: Int
        /// Its bytes: a piece of the body.
        public var bytes: [UInt8]
    }

    /// What an answer has taken and made.
    struct Tokens: Sendable {
        let input: Int
        let output: Int
    }

    /// The status.
    public var status = 200
    /// The fields without framing.
    public var fields = HeaderFields()
    /// Whether the body goes out in chunks as it comes; else it has a length.
    public var isStreamed = false
    /// The body.
    public var writes: [Write] = []
    /// How it ends.
    public var ending = Ending.complete
    /// The tokens that it tells, when it is an answer that ends well.
    var tokens: Tokens?

    /// A whole JSON answer.
    static func json(_ body: [UInt8], status: Int = 200) -> SimulatedReply {
        var reply = SimulatedReply()
        reply.status = status
        reply.fields.append("content-type", "application/json")
        reply.writes = [Write(afterMilliseconds: 0, bytes: body)]
        return reply
    }
}

/// How the simulator behaves; the same options and requests give the same answers.
public struct SimulatorOptions: Sendable {
    /// Silence before the first byte of an answer.
    public var firstTokenMilliseconds = 0
    /// Silence between two chunks of a stream.
    public var chunkMilliseconds = 0
    /// How many words an answer has.
    public var chunkCount = 12
    /// The share of requests that fail, 0 to 1.
    public var failureRate = 0.0
    /// Which ones, and what is said.
    public var seed: UInt64 = 1
    /// The length of embedding vectors.
    public var embeddingDimensions = 8
    /// The access key whose SigV4 signatures are checked; nil checks none.
    public var accessKeyID: String?
    /// Its secret.
    public var secretAccessKey: String?
    /// The bearer key that OpenAI-shaped requests must have; nil takes any.
    public var apiKey: String?

    /// The defaults.
    public init() {}
}
