import Primitives
public import Translation

/// Learns what a model's requests really need: bytes for a prompt token, and tokens of an answer.
public final class Estimator: Sendable {
    private struct Averages {
        var bytesPerToken: Double
        var outputTokens: Double
    }

    /// Each new request counts for this share of the average.
    private static let weight = 0.1
    private static let firstOutputTokens = 256.0

    private let models = Locked<[String: Averages]>([:])

    /// Knows nothing yet.
    public init() {}

    /// The prompt tokens that a body of that many bytes probably holds; at least 1.
    public func inputTokens(bytes: Int, model: String) -> Int {
        let ratio =
            models.withLock { $0[model]?.bytesPerToken } ?? Double(Limits.bytesPerTokenGuess)
        return max(1, Int(Double(bytes) / ratio))
    }

    /// The tokens that this model's answers usually have.
    public func outputTokens(model: String) -> Int {
        Int(models.withLock { $0[model]?.outputTokens } ?? Self.firstOutputTokens)
    }

    /// Takes a served request into account. Names beyond `Limits.estimatedModels` are not kept:
    /// with a route `*` they come from clients.
    public func learn(model: String, bytes: Int, usage: TokenUsage) {
        guard usage.input > 0 else { return }
        // Long images are few tokens and short requests mostly syntax: keep to what text can be.
        let ratio = min(max(Double(bytes) / Double(usage.input), 1), 64)
        models.withLock { models in
            guard var averages = models[model] else {
                guard models.count < Limits.estimatedModels else { return }
                models[model] = Averages(
                    bytesPerToken: ratio, outputTokens: max(1, Double(usage.output)))
                return
            }
            averages.bytesPerToken += (ratio - averages.bytesPerToken) * Self.weight
            averages.outputTokens += (Double(usage.output) - averages.outputTokens) * Self.weight
            models[model] = averages
        }
    }
}
