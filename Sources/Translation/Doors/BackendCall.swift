import Primitives
public import Wire

/// One HTTP request for a backend, before it is signed.
public struct UpstreamRequest: Sendable {
    /// The path and query as they go on the wire, percent-encoded, relative to the backend's URL:
    /// the backend's own base path has not been put in front yet.
    public var path: [UInt8]
    /// Fields besides Host, Content-Length, Connection and the credential.
    public var fields: HeaderFields
    /// The body.
    public var body: [UInt8]

    /// A request; the method is always POST.
    public init(path: [UInt8], fields: HeaderFields, body: [UInt8]) {
        self.path = path
        self.fields = fields
        self.body = body
    }
}

/// One whole answer of a backend.
public struct UpstreamAnswer: Sendable {
    /// The status and header fields.
    public var head: ResponseHead
    /// The body, its content coding removed.
    public var body: [UInt8]

    /// An answer.
    public init(head: ResponseHead, body: [UInt8]) {
        self.head = head
        self.body = body
    }
}

/// What the client gets when a call was not streamed.
public struct CallResult: Sendable {
    /// Fields besides Content-Type, Content-Length and those that every answer has.
    public var fields = HeaderFields()
    /// A JSON body.
    public var body: [UInt8]
    /// The tokens that the backend reported; nil when it reported none.
    public var usage: TokenUsage?
    /// Without a report, the generated output in bytes of text, for an estimate.
    public var outputBytes = 0
    /// The finish reason of the first choice, as the client sees it.
    public var finishReason: String?
    /// The service tier that the backend said it used, for the price.
    public var serviceTier: String?
}

/// What a streamed call has to say after it was shown more bytes. One value is reused for a whole
/// call.
public struct StreamOutput: Sendable {
    /// How far the stream is.
    public enum State: Sendable, Equatable {
        /// More may follow.
        case open
        /// The backend's real terminator came; `[DONE]` is in `bytes` already.
        case finished
        /// The stream failed; nothing of the error is in `bytes`.
        case failed(APIError)
    }

    /// Whole SSE events for the client. The reader takes them and leaves an empty array.
    public var bytes: [UInt8] = []
    /// How far the stream is; `finished` and `failed` are final.
    public var state: State = .open
    /// Whether any event came from the backend: from then on the response head may go out.
    public var hasBegun = false
    /// The tokens reported so far; nil before the first report.
    public var usage: TokenUsage? {
        didSet { reportedOutputBytes = outputBytes }
    }
    /// How much of the output was there when the tokens were reported last.
    public private(set) var reportedOutputBytes = 0
    /// The tokens, where nothing was said since they were reported.
    public var latestUsage: TokenUsage? { outputBytes == reportedOutputBytes ? usage : nil }
    /// Generated output seen so far in bytes of text, for an estimate when no report comes.
    public var outputBytes = 0
    /// The finish reason of the first choice, once known.
    public var finishReason: String?
    /// The service tier that the backend said it used, for the price.
    public var serviceTier: String?
    /// Fields for the response head, read when it goes out.
    public var fields = HeaderFields()

    /// An output before the first byte.
    public init() {}
}

/// One client request at one backend: encodes it, and reads the answer. Made anew for each attempt.
///
/// A class, because it is held by the Exchange as an existential and is called once per chunk.
public protocol BackendCall: AnyObject {
    /// How many HTTP requests this call has: one, or several where the backend takes one input a
    /// time.
    var requestCount: Int { get }
    /// Names of request fields that this backend cannot honour and that were left out.
    var droppedParameters: [String] { get }
    /// URLs of images that must be fetched, and given as `TargetOptions.fetchedImages`, before the
    /// call can be opened for good; its requests mean nothing while there are any.
    var missingImages: [[UInt8]] { get }
    /// One of the requests.
    func request(_ index: Int) -> UpstreamRequest
    /// Reads whole, successful answers, in the order of the requests. Only for calls that are not
    /// streamed. `tape` is memory to parse them into, kept from one call to the next.
    /// - Throws: `upstream_malformed` and the like when the answers make no sense.
    func finish(_ answers: [UpstreamAnswer], tape: inout JSONTape) throws(APIError) -> CallResult
    /// The tokens that the backend reported with answers of which `finish` could make nothing.
    var usageOfNothing: TokenUsage? { get }
    /// Reads the head of a successful answer to a streamed call.
    func begin(_ head: ResponseHead, into output: inout StreamOutput)
    /// Reads more of a streamed answer; any cut is fine.
    func receive(_ bytes: Span<UInt8>, into output: inout StreamOutput)
    /// The streamed answer's body has ended as HTTP, with or without its own terminator.
    func end(into output: inout StreamOutput)
    /// A limit ends the streamed answer here: appends what makes it a proper one that has reached
    /// its length, with `[DONE]`. Only asked where `ClientRequest.mayBeCut`.
    func cut(_ usage: TokenUsage, into output: inout StreamOutput)
    /// What an answer with a status of 300 or more means for the client.
    func classify(_ answer: UpstreamAnswer) -> APIError
}

extension BackendCall {
    /// Most calls need none.
    public var missingImages: [[UInt8]] { [] }
    /// Most backends report none then.
    public var usageOfNothing: TokenUsage? { nil }
}
