public import Primitives
public import Wire

/// What a request asks for, read in one validating pass over its body.
public struct RequestSummary: Sendable, Equatable {
    /// The model the client named.
    public var model = ""
    /// Whether the answer is to be streamed.
    public var isStreamed = false
    /// Whether the client asked for the usage chunk of a stream.
    public var wantsUsage = false
    /// Whether the gateway must ask for it, to know what a stream has used.
    public var lacksUsage: Bool { isStreamed && !wantsUsage }
    /// `max_completion_tokens`, else `max_tokens`.
    public var maximumOutputTokens: Int?
    /// How many answers were asked for (`n`), at least 1.
    public var candidates = 1
    /// The `user` field.
    public var user: String?
    /// The `service_tier` field.
    public var serviceTier: String?
    /// Bytes of the body that are images, sound or files as Base64, and no text.
    public var attachmentBytes = 0
    /// What they probably take in tokens.
    public var attachmentTokens = 0
    /// Where the value of the top-level `model` lies in the body, quotes included.
    public var modelRange: Range<Int> = 0..<0

    /// An empty summary.
    public init() {}
}

/// One client request after its endpoint has read it; shared by all attempts.
public final class ClientRequest: Sendable {
    /// The endpoint that was called.
    public let endpoint: Endpoint
    /// The body as it came.
    public let body: [UInt8]
    /// What it asks for.
    public let summary: RequestSummary
    /// Our own unique part of answer ids: 24 characters of `[0-9a-f]`.
    public let uniqueID: String
    /// Unix seconds for `created`.
    public let createdSeconds: Int64
    /// What client, log and backends know the request by (`x-request-id`).
    public let requestID: String
    /// The client's `traceparent` and `tracestate` (W3C Trace Context).
    public let traceFields: HeaderFields
    /// A limit may end the answer before the backend does: `BackendCall.cut`.
    public let mayBeCut: Bool
    private let tape: JSONTape?

    /// The body as JSON.
    public var document: JSONDocument? {
        tape.map { JSONDocument(body, tape: $0) } ?? (try? JSONDocument(body))
    }

    /// A request; `tape` is what its body was parsed into, where that is still at hand.
    public init(
        endpoint: Endpoint, body: [UInt8], tape: JSONTape? = nil, summary: RequestSummary,
        uniqueID: String, requestID: String, createdSeconds: Int64, traceFields: HeaderFields,
        mayBeCut: Bool = false
    ) {
        self.endpoint = endpoint
        self.body = body
        self.tape = tape
        self.summary = summary
        self.uniqueID = uniqueID
        self.createdSeconds = createdSeconds
        self.requestID = requestID
        self.traceFields = traceFields
        self.mayBeCut = mayBeCut
    }
}

/// An endpoint of the clients' side: a path and how its body is peeked at. There are few, and each
/// is there once.
public final class Endpoint: Sendable, Equatable {
    /// The name in ledger and log, such as `chat.completions`.
    public let name: String
    /// The path, such as `/v1/chat/completions`.
    public let path: StaticString
    /// The path behind the base URL of a backend that speaks OpenAI's dialect, which holds the
    /// `/v1` already.
    let pathBehindBase: [UInt8]
    /// OpenTelemetry's `gen_ai.operation.name`: `chat`, `text_completion` or `embeddings`.
    public let operation: String
    /// Whether an answer can be streamed.
    public let canStream: Bool

    /// An endpoint.
    public init(name: String, path: StaticString, operation: String, canStream: Bool) {
        self.name = name
        self.path = path
        pathBehindBase = Array([UInt8](path).dropFirst("/v1".utf8.count))
        self.operation = operation
        self.canStream = canStream
    }

    /// Each is there once.
    public static func == (left: Endpoint, right: Endpoint) -> Bool { left === right }

    /// `POST /v1/chat/completions`.
    public static let chatCompletions = Endpoint(
        name: "chat.completions", path: "/v1/chat/completions", operation: "chat",
        canStream: true)
    /// `POST /v1/completions`.
    public static let completions = Endpoint(
        name: "completions", path: "/v1/completions", operation: "text_completion",
        canStream: true)
    /// `POST /v1/embeddings`.
    public static let embeddings = Endpoint(
        name: "embeddings", path: "/v1/embeddings", operation: "embeddings", canStream: false)

    /// The endpoint of a path; nil when there is none.
    public static func at(_ path: Span<UInt8>) -> Endpoint? {
        for endpoint in catalogue where path.equals(endpoint.path) { return endpoint }
        return nil
    }

    /// Every endpoint that takes a body.
    public static let catalogue = [chatCompletions, completions, embeddings]
}

/// What the configuration says about one target, for the provider that serves it.
public struct TargetOptions: Sendable {
    /// A guardrail of Bedrock, sent as `guardrailConfig` (rule A51).
    public struct Guardrail: Sendable, Equatable {
        /// Id or ARN.
        public var identifier: String
        /// `DRAFT` or a number.
        public var version: String
        /// `enabled`, `disabled` or `enabled_full`.
        public var trace: String?
        /// `sync` or `async`; streams only.
        public var streamProcessingMode: String?

        /// A guardrail.
        public init(
            identifier: String, version: String, trace: String?, streamProcessingMode: String?
        ) {
            self.identifier = identifier
            self.version = version
            self.trace = trace
            self.streamProcessingMode = streamProcessingMode
        }
    }

    /// The backend's name of the model; nil sends the client's own name on.
    public var model: String?
    /// Refuse what would otherwise be dropped and named (`policy: strict`).
    public var isStrict = false
    /// The guardrail to apply.
    public var guardrail: Guardrail?
    /// Send `metadata` on as `requestMetadata` (rule A52).
    public var forwardsMetadata = false
    /// Accept `s3://` image URLs (rule A16).
    public var allowsS3 = false
    /// Fetch images that are named by https URLs (rule A15).
    public var fetchesImages = false
    /// Images that have been fetched, by URL.
    public var fetchedImages: [[UInt8]: [UInt8]] = [:]
    /// Overrides of the model profile (rule A.1), by field name: text, or `true`/`false` as text.
    public var profile: [String: String] = [:]
    /// The backend knows neither `max_completion_tokens` nor the developer role (rule F4).
    public var isLegacyDialect = false
    /// Write the client's model name into answers of OpenAI-shaped backends (rule F2).
    public var rewritesModel = false
    /// Cohere's `input_type` (rule D2).
    public var embeddingInputType = "search_document"

    /// Options with every default.
    public init() {}
}

/// The credential for one attempt.
public enum BackendCredential: Sendable {
    /// None is needed.
    case none
    /// `Authorization: Bearer …`.
    case bearer(Secret)
    /// Signature version 4.
    case aws(AWSCredentials)
}

/// AWS credentials as they are used for signing.
public struct AWSCredentials: Sendable {
    /// The access key id.
    public let accessKeyID: String
    /// The secret access key.
    public let secretAccessKey: Secret
    /// The session token of temporary credentials.
    public let sessionToken: Secret?
    /// When they stop being valid; nil for long-lived ones.
    public let expiration: WallTime?
    /// Keys that were derived from the secret.
    public let signingKeys = SigningKeyCache()

    /// Credentials.
    public init(
        accessKeyID: String, secretAccessKey: Secret, sessionToken: Secret?, expiration: WallTime?
    ) {
        self.accessKeyID = accessKeyID
        self.secretAccessKey = secretAccessKey
        self.sessionToken = sessionToken
        self.expiration = expiration
    }
}

/// What a signature covers besides the request itself.
public struct SigningContext: Sendable {
    /// The Host field as it goes on the wire, with the port when it is not the scheme's default.
    public var host: [UInt8]
    /// The full path and query as they go on the wire.
    public var path: [UInt8]
    /// The AWS region of the backend; empty for others.
    public var region: String
    /// The time to sign with.
    public var now: WallTime

    /// A context.
    public init(host: [UInt8], path: [UInt8], region: String, now: WallTime) {
        self.host = host
        self.path = path
        self.region = region
        self.now = now
    }
}

/// A kind of backend: one folder under `Providers/` and one line in `ProviderCatalogue`.
public final class Provider: Sendable {
    /// The `kind` in gateway.yaml.
    public let kind: String
    /// OpenTelemetry's `gen_ai.provider.name`.
    public let telemetryName: String
    /// The endpoints it can serve.
    public let endpoints: [Endpoint]
    /// Whether a stream's failure comes as an exception frame; else it is an error chunk.
    public let framesExceptions: Bool
    /// Whether it reads a client's body, rather than passing it on.
    public let readsBodies: Bool
    /// Opens one attempt.
    public let open:
        @Sendable (_ request: ClientRequest, _ target: TargetOptions) throws(APIError) ->
            any BackendCall
    /// Puts the credential into a request; called anew for each attempt, right before it is sent.
    public let authorize:
        @Sendable (
            _ request: inout UpstreamRequest, _ credential: BackendCredential,
            _ context: SigningContext
        ) -> Void

    /// A provider.
    public init(
        kind: String, telemetryName: String, endpoints: [Endpoint], framesExceptions: Bool = false,
        readsBodies: Bool = false,
        open:
            @escaping @Sendable (ClientRequest, TargetOptions) throws(APIError) -> any BackendCall,
        authorize:
            @escaping @Sendable (inout UpstreamRequest, BackendCredential, SigningContext) -> Void
    ) {
        self.kind = kind
        self.telemetryName = telemetryName
        self.endpoints = endpoints
        self.framesExceptions = framesExceptions
        self.readsBodies = readsBodies
        self.open = open
        self.authorize = authorize
    }
}
