import Primitives
import Testing
import Translation

@testable import Gateway

@Suite struct EstimatorTests {
    private func sample(_ promptBytes: Int?, _ answerBytes: Int?, _ input: Int, _ output: Int)
        -> Estimator.Sample
    {
        Estimator.Sample(
            promptBytes: promptBytes, answerBytes: answerBytes,
            usage: TokenUsage(input: input, output: output))
    }

    @Test func `ratios and lengths are learned, by model`() {
        let estimator = Estimator()
        let first = estimator.estimate(promptBytes: 4000, model: "m")
        #expect(first.inputTokens == 1000)
        #expect(first.outputTokens == 256)
        for _ in 0..<50 { estimator.learn(sample(4000, 600, 2000, 200), model: "m") }
        let learned = estimator.estimate(promptBytes: 4000, model: "m")
        #expect(learned.inputTokens == 2000)
        #expect(learned.bytesPerOutputToken == 3)
        #expect((200...210).contains(learned.outputTokens))
        #expect(estimator.estimate(promptBytes: 4000, model: "other") == first)
    }

    @Test func `answers of changing length are reserved above their average`() {
        let estimator = Estimator()
        var random = SeededGenerator(seed: 1)
        let lengths = (0..<2000).map { _ in Int.random(in: 0...1000, using: &random) }
        for length in lengths { estimator.learn(sample(100, nil, 25, length), model: "m") }
        let enough = estimator.estimate(promptBytes: 1, model: "m").outputTokens
        #expect((600...1000).contains(enough))
    }

    @Test func `what is no text and what makes no sense teaches nothing wrong`() {
        let estimator = Estimator()
        for _ in 0..<20 { estimator.learn(sample(nil, nil, 1500, 100), model: "m") }
        #expect(estimator.estimate(promptBytes: 4000, model: "m").inputTokens == 1000)
        for _ in 0..<20 { estimator.learn(sample(.max, .max, 1, .max), model: "m") }
        let estimate = estimator.estimate(promptBytes: 6400, model: "m")
        #expect(estimate.inputTokens >= 100)
        #expect(estimate.outputTokens <= 2 * Limits.estimatedOutputTokens)
        estimator.learn(sample(10, 10, .min, .min), model: "m")
    }

    @Test func `names from clients are not kept without end`() {
        let estimator = Estimator()
        for index in 0..<Limits.estimatedModels + 10 {
            estimator.learn(sample(100, nil, 100, 7), model: "m\(index)")
        }
        #expect(estimator.estimate(promptBytes: 1, model: "m0").outputTokens < 256)
        let late = "m\(Limits.estimatedModels + 5)"
        #expect(estimator.estimate(promptBytes: 1, model: late).outputTokens == 256)
    }
}

@Suite struct CacheWeightTests {
    private func price(_ figures: [String: Int64]) -> Price {
        var base = Price.Figures()
        for (name, amount) in figures { base.set(name, amount) }
        return Price(id: "x", base: base)
    }

    @Test(arguments: [
        (["input": 3_000_000, "cache_read": 300_000], 1001, 101),
        (["input": 3_000_000, "cache_read": 0], 1001, 0),
        (["input": 3_000_000], 1001, 1001), (["input": 0, "cache_read": 0], 1001, 1001),
        (["input": 1, "cache_read": 5], 1001, 1001),
    ])
    func `cached tokens count by their price`(
        _ figures: [String: Int64], _ cached: Int, _ counted: Int64
    ) {
        var usage = TokenUsage(input: 2000, output: 10)
        usage.cacheRead = cached
        let amounts = QuotaAmounts(
            usage, costNanodollars: 0, price: price(figures), serviceTier: nil)
        #expect(amounts.amount(of: .inputTokens) == 2000 - Int64(cached) + counted)
        #expect(amounts.amount(of: .tokens) == 2010 - Int64(cached) + counted)
    }

    @Test func `without a price a token is a token, and figures are kept in bounds`() {
        var usage = TokenUsage(input: 5, output: 0)
        usage.cacheRead = .max
        let amounts = QuotaAmounts(usage, costNanodollars: 0, price: nil, serviceTier: nil)
        #expect(amounts.amount(of: .inputTokens) == 5)
    }
}
