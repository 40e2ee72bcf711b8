import Primitives
public import Translation

/// Learns what a model's requests really need: bytes of text for a prompt token and for a token of
/// an answer, and how long answers are.
public final class Estimator: Sendable {
    /// What a request of a model will probably take.
    public struct Estimate: Sendable, Equatable {
        /// Prompt tokens, at least 1.
        public var inputTokens: Int
        /// Tokens of the answer, where the client gives no bound.
        public var outputTokens: Int
        /// Bytes of an answer's text for one token of it.
        public var bytesPerOutputToken: Double
    }

    /// A request that was served, with what its backend counted.
    public struct Sample: Sendable {
        /// The size of the prompt's text; nil when it held attachments, whose tokens are no text.
        public var promptBytes: Int?
        /// The size of the answer's text; nil when it is not known.
        public var answerBytes: Int?
        /// What the backend counted.
        public var usage: TokenUsage

        /// A sample.
        public init(promptBytes: Int?, answerBytes: Int?, usage: TokenUsage) {
            self.promptBytes = promptBytes
            self.answerBytes = answerBytes
            self.usage = usage
        }
    }

    private struct Averages {
        var bytesPerInputToken = Double(Limits.bytesPerTokenGuess)
        var bytesPerOutputToken = Double(Limits.bytesPerTokenGuess)
        var outputTokens: Double?
        var outputDeviation = 0.0
    }

    /// Each new request counts for this share of an average, as in RFC 6298 section 2.3.
    private static let weight = 0.125
    /// And for this of the deviation.
    private static let deviationWeight = 0.25
    private static let firstOutputTokens = 256

    private let models = Locked(LabelledValues<String, Averages>())

    /// Knows nothing yet.
    public init() {}

    /// What a request with so many bytes of text will probably take.
    public func estimate(promptBytes: Int, model: String) -> Estimate {
        let averages = models.withLock { $0.value(of: model) } ?? Averages()
        // The average alone is too little for every second request: the deviation comes on top, as
        // in TCP's timer (RFC 6298).
        let output = averages.outputTokens.map { Int(($0 + averages.outputDeviation).rounded(.up)) }
        return Estimate(
            inputTokens: max(1, Int(Double(promptBytes) / averages.bytesPerInputToken)),
            outputTokens: max(1, output ?? Self.firstOutputTokens),
            bytesPerOutputToken: averages.bytesPerOutputToken)
    }

    /// Takes a served request into account. Names beyond `Limits.estimatedModels` are not kept:
    /// with a route `*` they come from clients.
    public func learn(_ sample: Sample, model: String) {
        guard sample.usage.input > 0 else { return }
        models.withLock { models in
            let isFull = models.rows.count >= Limits.estimatedModels
            guard !isFull || models.value(of: model) != nil else { return }
            models.update(model, from: Averages()) { Self.learn(sample, &$0) }
        }
    }

    private static func learn(_ sample: Sample, _ averages: inout Averages) {
        let isFirst = averages.outputTokens == nil
        if let bytes = sample.promptBytes {
            learn(bytes, sample.usage.input, isFirst, &averages.bytesPerInputToken)
        }
        // Of a few tokens most is syntax.
        if let bytes = sample.answerBytes, sample.usage.output >= 16 {
            learn(bytes, sample.usage.output, isFirst, &averages.bytesPerOutputToken)
        }
        learn(output: sample.usage.output, &averages)
    }

    private static func learn(
        _ bytes: Int, _ tokens: Int, _ isFirst: Bool, _ average: inout Double
    ) {
        // Short requests are mostly syntax and some backends count nonsense: what text can be.
        let ratio = min(max(Double(bytes) / Double(tokens), 1), 64)
        average += (ratio - average) * (isFirst ? 1 : weight)
    }

    private static func learn(output: Int, _ averages: inout Averages) {
        let output = Double(min(max(output, 1), Limits.estimatedOutputTokens))
        guard let average = averages.outputTokens else {
            averages.outputTokens = output
            averages.outputDeviation = output / 2
            return
        }
        let distance = abs(output - average)
        averages.outputDeviation += (distance - averages.outputDeviation) * deviationWeight
        averages.outputTokens = average + (output - average) * weight
    }
}
