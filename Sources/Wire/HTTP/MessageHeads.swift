import Primitives

/// The version a message was written in.
public enum HTTPVersion: Sendable, Equatable {
    /// HTTP/1.0: no chunked bodies, closes by default.
    case http10
    /// HTTP/1.1.
    case http11
    /// HTTP/2.
    case http2
}

/// How a message's body is delimited (RFC 9112 section 6.3).
public enum BodyFraming: Sendable, Equatable {
    /// There is no body.
    case none
    /// That many bytes follow.
    case length(Int)
    /// Chunks follow.
    case chunked
    /// Everything until the connection closes (responses only).
    case untilClose
}

/// The request methods that we tell apart.
public enum HTTPMethod: Sendable, Equatable {
    /// A method of RFC 9110 section 9.3 or RFC 5789.
    case get, head, post, put, delete, options, patch, connect, trace
    /// Any other token.
    case other
}

extension HTTPMethod {
    /// The method of a token; methods are case-sensitive (RFC 9110 section 9.1).
    init(token: Span<UInt8>) {
        switch token.count {
        case 3 where token.equals("GET"): self = .get
        case 3 where token.equals("PUT"): self = .put
        case 4 where token.equals("POST"): self = .post
        case 4 where token.equals("HEAD"): self = .head
        case 5 where token.equals("PATCH"): self = .patch
        case 5 where token.equals("TRACE"): self = .trace
        case 6 where token.equals("DELETE"): self = .delete
        case 7 where token.equals("OPTIONS"): self = .options
        case 7 where token.equals("CONNECT"): self = .connect
        default: self = .other
        }
    }
}

/// The head of a request, valid until the next one is read.
public struct RequestHead: Sendable {
    /// The method.
    public var method: HTTPMethod = .get
    /// The target in origin-form (`/path?query`); an absolute-form target has been reduced to it.
    public var target: [UInt8] = []
    /// The host that the target or `:authority` names; empty where only the Host field does.
    public var authority: [UInt8] = []
    /// The version of the request line.
    public var version: HTTPVersion = .http11
    /// All header fields, in order.
    public var fields = HeaderFields()
    /// How the body is delimited.
    public var framing: BodyFraming = .none
    /// Whether the client wants to go on using the connection.
    public var isKeepAlive = true
    /// Whether the client waits for `100 Continue` before it sends the body.
    public var expectsContinue = false

    /// An empty head.
    public init() {}

    /// The host that the client named; its own word goes before the Host field (RFC 9112 section
    /// 3.2.2).
    public var host: [UInt8] { authority.isEmpty ? fields.value(of: "host") ?? [] : authority }
}

/// The head of a response, valid until the next one is read.
public struct ResponseHead: Sendable {
    /// The status code, 200 to 599 (interim responses are skipped).
    public var status = 0
    /// The version of the status line.
    public var version: HTTPVersion = .http11
    /// All header fields, in order.
    public var fields = HeaderFields()
    /// How the body is delimited.
    public var framing: BodyFraming = .none
    /// Whether the connection can serve another request afterwards.
    public var isKeepAlive = true

    /// An empty head.
    public init() {}
}

/// Why a message was refused.
public struct HTTPFailure: Error, Sendable, Equatable {
    /// The status that tells a client (400, 405, 411, 413, 414, 431, 501, 505); 502 from an
    /// upstream.
    public let status: Int
    /// What is wrong, for people; never text from the message itself.
    public let reason: String

    /// A refusal.
    public init(status: Int, reason: String) {
        self.status = status
        self.reason = reason
    }
}
