import Primitives
import TestSupport
import Testing
import Translation

@testable import Gateway

@Suite struct PriceTests {
    private let book = PriceBook(overrides: [
        PriceOverride(model: "llama-*", picodollarsPerToken: ["input": 0, "output": 0]),
        PriceOverride(
            model: "mine", picodollarsPerToken: ["input": 1_000_000, "output": 3_333_333]),
    ])

    @Test func `the built-in table is there`() throws {
        let price = try #require(
            book.price(for: "eu.anthropic.claude-3-5-sonnet-20240620-v1:0", kind: "bedrock"))
        #expect(price.id == "builtin:eu.anthropic.claude-3-5-sonnet-20240620-v1:0")
        var usage = TokenUsage(input: 1000, output: 100)
        #expect(price.cost(of: usage, serviceTier: nil) == 4_500_000)
        usage.cacheRead = 400
        usage.cacheWrite = 100
        // 500 × 3.00 + 400 × 0.30 + 100 × 3.75 + 100 × 15.00 dollars per million
        #expect(price.cost(of: usage, serviceTier: nil) == 3_495_000)
    }

    @Test func `a region prefix and an ARN lead to the model's own price`() {
        let plain = book.price(for: "anthropic.claude-3-5-haiku-20241022-v1:0", kind: "bedrock")
        #expect(plain != nil)
        let arn =
            "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-5-haiku-20241022-v1:0"
        #expect(book.price(for: arn, kind: "bedrock")?.id == plain?.id)
        #expect(book.price(for: "no.such-model", kind: "bedrock") == nil)
    }

    @Test func `the configuration's price comes first`() {
        #expect(book.price(for: "llama-3", kind: "vllm")?.id == "config:llama-*")
        #expect(
            book.price(for: "mine", kind: "openai")?.cost(
                of: TokenUsage(input: 1, output: 1), serviceTier: nil) == 4333)
    }

    @Test func `a long prompt reprices the whole request`() throws {
        let price = try #require(
            book.price(for: "anthropic.claude-sonnet-4-5-20250929-v1:0", kind: "bedrock"))
        #expect(
            price.cost(of: TokenUsage(input: 200_000, output: 0), serviceTier: nil) == 600_000_000)
        #expect(
            price.cost(of: TokenUsage(input: 200_001, output: 1), serviceTier: nil)
                == 200_001 * 6000 + 22_500)
    }

    @Test func `a service tier replaces the figures it names`() throws {
        let price = try #require(book.price(for: "amazon.nova-pro-v1:0", kind: "bedrock"))
        let usage = TokenUsage(input: 1000, output: 1000)
        #expect(price.cost(of: usage, serviceTier: nil) == 4_000_000)
        #expect(price.cost(of: usage, serviceTier: "flex") == 2_000_000)
        #expect(price.cost(of: usage, serviceTier: "priority") == 7_000_000)
        #expect(price.cost(of: usage, serviceTier: "unheard-of") == 4_000_000)
    }

    @Test func `a fine-tuned model costs what its base costs when it is fine-tuned`() {
        let name = "ft:gpt-4o-mini-2024-07-18"
        let base = book.price(for: name, kind: "openai")
        #expect(base?.id == "builtin:\(name)")
        for own in ["\(name):team::a1", "\(name):team:bot:a1", "\(name):team:bot:a1:ckpt-step-8"] {
            #expect(book.price(for: own, kind: "openai")?.id == base?.id, "\(own)")
        }
        #expect(book.price(for: "ft:unheard-of:team::a1", kind: "openai") == nil)
        #expect(book.price(for: "gpt-4o:team", kind: "openai") == nil)
    }

    @Test func `parts never cost more tokens than there are in all`() throws {
        let price = try #require(book.price(for: "gpt-4o", kind: "openai"))
        // 2.50 dollars per million, 1.25 from the cache, and 10.00 for the answer.
        var usage = TokenUsage(input: 10, output: 5)
        usage.cacheRead = 8
        usage.audioInput = 6
        #expect(price.cost(of: usage, serviceTier: nil) == 8 * 1250 + 2 * 2500 + 5 * 10_000)
        usage.cacheRead = 20
        usage.reasoning = 30
        #expect(price.cost(of: usage, serviceTier: nil) == 10 * 1250 + 5 * 10_000)
    }

    @Test func `absurd counts saturate instead of overflowing`() throws {
        let price = try #require(book.price(for: "mine", kind: "openai"))
        #expect(price.cost(of: TokenUsage(input: .max, output: .max), serviceTier: nil) > 0)
    }

    @Test(arguments: [
        (0, "0"), (1, "0.000000001"), (1_500_000_000, "1.5"), (447_000, "0.000447"),
        (12_000_000_000, "12"),
    ])
    func `money is written exactly`(_ amount: Int64, _ text: String) {
        #expect(String(decoding: MoneyText.dollars(nanodollars: amount), as: UTF8.self) == text)
    }
}
