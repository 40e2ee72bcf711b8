public import Translation

/// What one model's tokens cost, in pico-dollars per token: 1 US dollar per million is 1,000,000.
///
/// Immutable and shared: requests hand it around.
public final class Price: Sendable {
    /// The figures of one tier, or of the whole table; a missing one falls back to a broader class.
    public struct Figures: Sendable, Equatable {
        /// A prompt token.
        public var input: Int64?
        /// A generated token.
        public var output: Int64?
        /// A prompt token read from a cache; else `input`.
        public var cacheRead: Int64?
        /// A prompt token written to a cache; else `input`.
        public var cacheWrite: Int64?
        /// The same for an hour; else `cacheWrite`.
        public var cacheWriteOneHour: Int64?
        /// A generated token of reasoning; else `output`.
        public var reasoning: Int64?
        /// A prompt token of audio; else `input`.
        public var audioInput: Int64?
        /// A generated token of audio; else `output`.
        public var audioOutput: Int64?

        /// No figures.
        public init() {}

        /// These figures where given, else those of `other`.
        func overlaid(on other: Figures) -> Figures {
            var result = other
            if let input { result.input = input }
            if let output { result.output = output }
            if let cacheRead { result.cacheRead = cacheRead }
            if let cacheWrite { result.cacheWrite = cacheWrite }
            if let cacheWriteOneHour { result.cacheWriteOneHour = cacheWriteOneHour }
            if let reasoning { result.reasoning = reasoning }
            if let audioInput { result.audioInput = audioInput }
            if let audioOutput { result.audioOutput = audioOutput }
            return result
        }
    }

    /// Figures that hold for the whole request once its prompt is longer than the threshold.
    public struct LongContext: Sendable, Equatable {
        /// Prompt tokens, cached ones included, that must be exceeded.
        public var threshold: Int
        /// The figures that change.
        public var figures: Figures

        /// A threshold and its figures.
        public init(threshold: Int, figures: Figures) {
            self.threshold = threshold
            self.figures = figures
        }
    }

    /// The ledger's `price_id`: where the price came from, such as `builtin:gpt-4o`.
    public let id: String
    /// The usual figures.
    public let base: Figures
    /// By rising threshold; the highest one that is exceeded holds.
    public let longContexts: [LongContext]
    /// Figures by service tier; they replace what they name, for long prompts too.
    public let serviceTiers: [String: Figures]

    /// A price.
    public init(
        id: String, base: Figures, longContexts: [LongContext] = [],
        serviceTiers: [String: Figures] = [:]
    ) {
        self.id = id
        self.base = base
        self.longContexts = longContexts.sorted { $0.threshold < $1.threshold }
        self.serviceTiers = serviceTiers
    }

    /// The figures that hold for a request.
    func figures(for usage: TokenUsage, serviceTier: String?) -> Figures {
        var figures = base
        if let long = longContexts.last(where: { usage.input > $0.threshold }) {
            figures = long.figures.overlaid(on: figures)
        }
        if let tier = serviceTier.flatMap({ serviceTiers[$0] }) {
            figures = tier.overlaid(on: figures)
        }
        return figures
    }

    /// The cost in nano-dollars, rounded half up once, at the end; saturates rather than overflows.
    public func cost(of usage: TokenUsage, serviceTier: String?) -> Int64 {
        let figures = figures(for: usage, serviceTier: serviceTier)
        let input = figures.input ?? 0
        let output = figures.output ?? 0
        let cacheWrite = figures.cacheWrite ?? input
        // Parts may overlap, such as audio that was cached, but never exceed the whole.
        let read = min(usage.cacheRead, usage.input)
        let written = min(usage.cacheWrite, usage.input - read)
        let oneHour = min(usage.cacheWriteOneHour, written)
        let audioInput = min(usage.audioInput, usage.input - read - written)
        let reasoning = min(usage.reasoning, usage.output)
        let audioOutput = min(usage.audioOutput, usage.output - reasoning)
        let parts: [8 of (tokens: Int, price: Int64)] = [
            (usage.input - read - written - audioInput, input),
            (read, figures.cacheRead ?? input),
            (written - oneHour, cacheWrite),
            (oneHour, figures.cacheWriteOneHour ?? cacheWrite),
            (audioInput, figures.audioInput ?? input),
            (usage.output - reasoning - audioOutput, output),
            (reasoning, figures.reasoning ?? output),
            (audioOutput, figures.audioOutput ?? output),
        ]
        var picodollars: Int64 = 0
        for index in parts.indices where parts[index].tokens > 0 {
            let part = parts[index]
            let (product, overflow) = Int64(part.tokens).multipliedReportingOverflow(by: part.price)
            let (sum, tooLarge) = picodollars.addingReportingOverflow(product)
            guard !overflow, !tooLarge else { return .max / 1000 }
            picodollars = sum
        }
        return picodollars / 1000 + (picodollars % 1000 >= 500 ? 1 : 0)
    }
}
