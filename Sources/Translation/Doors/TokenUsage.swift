/// Tokens of one request by class, as OpenAI counts them.
///
/// `input` includes cache reads and writes, `output` includes reasoning: the smaller figures are
/// parts of the larger ones and are never added to them.
public struct TokenUsage: Sendable, Equatable {
    /// All prompt tokens, cached ones included.
    public var input = 0
    /// All generated tokens, reasoning included.
    public var output = 0
    /// Prompt tokens read from a cache.
    public var cacheRead = 0
    /// Prompt tokens written to a cache, whatever their lifetime.
    public var cacheWrite = 0
    /// The part of `cacheWrite` with a lifetime of one hour.
    public var cacheWriteOneHour = 0
    /// Generated tokens that were reasoning.
    public var reasoning = 0
    /// Prompt tokens that were audio.
    public var audioInput = 0
    /// Generated tokens that were audio.
    public var audioOutput = 0

    /// Whether the backend reported cache counters at all, zero or not.
    public var hasCacheCounts = false

    /// No tokens.
    public init() {}

    /// A count that a backend claims: not negative, and so small that sums cannot overflow.
    static func claimed(_ count: Int?) -> Int { min(max(count ?? 0, 0), Int(Int32.max)) }

    /// A plain prompt and answer.
    public init(input: Int, output: Int) {
        self.input = input
        self.output = output
    }
}
