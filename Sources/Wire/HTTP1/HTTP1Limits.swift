/// What one HTTP/1 message may ask of our memory.
public struct HTTP1Limits: Sendable, Equatable {
    /// The longest head, start line included; a longer one is 431.
    public var headBytes = 64 << 10
    /// The most header fields; more are 431.
    public var headFields = 128
    /// The longest request target; a longer one is 414.
    public var targetBytes = 16 << 10
    /// The longest request line: method and version need little beside the target.
    var requestLineBytes: Int { targetBytes + 64 }
    /// The longest trailer section.
    public var trailerBytes = 16 << 10
    /// All chunk extensions of one message together: they carry nothing for us (CVE-2023-39326).
    public var chunkExtensionBytes = 16 << 10
    /// Empty lines before a request line that are forgiven (RFC 9112 section 2.2).
    public var leadingEmptyLines = 8
    /// Interim answers before the final one.
    public var interimResponses = 16

    /// The defaults.
    public init() {}
}
