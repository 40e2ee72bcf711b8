import Foundation
import Primitives
import TestSupport
import Testing
import Translation

@testable import Gateway

@Suite struct QuotaTests {
    private let wall = WallTime(milliseconds: 1_767_323_045_000)

    private func book(_ limits: LimitConfiguration...) -> QuotaBook {
        QuotaBook(tenants: [(name: "t", limits: limits)], carryingOverFrom: nil)
    }

    private func demand(_ input: Int = 0, _ output: Int = 0, user: String? = nil) -> Demand {
        Demand(
            tenant: 0, model: "m", user: user, inputTokens: input, outputTokens: output,
            costNanodollars: 0)
    }

    private func at(_ milliseconds: Int) -> Instant {
        Instant(nanoseconds: 1_000_000_000_000).advanced(byMilliseconds: milliseconds)
    }

    /// nil when admitted (and settled with what was reserved), else the refusal.
    private func ask(
        _ book: QuotaBook, _ demand: Demand, _ now: Instant, actual: TokenUsage? = nil
    ) -> LimitRefusal? {
        switch book.reserve(demand, now: now, wall: wall) {
        case .admitted(let reservation):
            let used = actual ?? TokenUsage(input: demand.inputTokens, output: demand.outputTokens)
            book.settle(
                reservation,
                used: QuotaAmounts(
                    used, costNanodollars: demand.costNanodollars, price: nil, serviceTier: nil),
                now: now, wall: wall)
            return nil
        case .refused(let refusal): return refusal
        }
    }

    @Test func `a limit admits its amount at once, and then as it leaks`() {
        let book = book(LimitConfiguration(measure: .requests, amount: 3, window: .minute))
        for _ in 0..<3 { #expect(ask(book, demand(), at(0)) == nil) }
        let refusal = ask(book, demand(), at(0))
        #expect(refusal?.retryAfterMilliseconds == 20_000)
        #expect(ask(book, demand(), at(19_999)) != nil)
        #expect(ask(book, demand(), at(20_000)) == nil)
    }

    @Test func `settling gives back what was not used`() {
        let book = book(LimitConfiguration(measure: .tokens, amount: 1000, window: .minute))
        #expect(
            ask(book, demand(100, 900), at(0), actual: TokenUsage(input: 50, output: 50)) == nil)
        #expect(ask(book, demand(100, 800), at(0)) == nil)
        #expect(ask(book, demand(1, 0), at(0)) != nil)
    }

    @Test func `a refusal takes nothing from the other limits`() {
        let book = book(
            LimitConfiguration(measure: .requests, amount: 10, window: .minute),
            LimitConfiguration(measure: .tokens, amount: 100, window: .minute))
        for _ in 0..<20 { #expect(ask(book, demand(60, 50), at(0)) != nil) }
        #expect(
            book.standing(tenant: 0, model: "m", user: nil, now: at(0), wall: wall).requests?
                .remaining == 10)
    }

    @Test func `a demand above the whole limit is told that it never fits`() {
        let book = book(LimitConfiguration(measure: .tokens, amount: 100, window: .minute))
        let refusal = ask(book, demand(101), at(0))
        #expect(refusal != nil)
        #expect(refusal?.retryAfterMilliseconds == nil)
        #expect(refusal?.error().shouldRetry == false)
        #expect(refusal?.error().retryAfterSeconds == 60)
    }

    @Test func `a guess above the whole limit waits until all of it is free`() {
        let book = book(LimitConfiguration(measure: .tokens, amount: 100, window: .minute))
        var guess = demand(20, 500)
        guess.certain = QuotaAmounts(inputTokens: 20, outputTokens: 0, costNanodollars: 0)
        let used = TokenUsage(input: 20, output: 10)
        #expect(ask(book, guess, at(0), actual: used) == nil)
        #expect(ask(book, guess, at(0), actual: used)?.retryAfterMilliseconds == 18_000)
        #expect(ask(book, guess, at(18_000), actual: used) == nil)
        guess.certain = QuotaAmounts(inputTokens: 101, outputTokens: 0, costNanodollars: 0)
        #expect(ask(book, guess, at(90_000))?.retryAfterMilliseconds == nil)
    }

    @Test func `users have buckets of their own`() {
        var limit = LimitConfiguration(measure: .requests, amount: 1, window: .hour)
        limit.isByUser = true
        let book = book(limit)
        #expect(ask(book, demand(user: "a"), at(0)) == nil)
        #expect(ask(book, demand(user: "b"), at(0)) == nil)
        #expect(ask(book, demand(user: "a"), at(0)) != nil)
    }

    @Test func `a limit for a model counts that model only`() {
        var limit = LimitConfiguration(measure: .requests, amount: 1, window: .day)
        limit.model = "claude-*"
        let book = book(limit)
        for _ in 0..<5 { #expect(ask(book, demand(), at(0)) == nil) }
        var claude = demand()
        claude.model = "claude-3"
        #expect(ask(book, claude, at(0)) == nil)
        let refusal = ask(book, claude, at(0))
        #expect(refusal?.error().code == "insufficient_quota")
        #expect(refusal?.error().type == "requests")
    }

    @Test func `a new plan goes on with the accounts of the old one`() {
        var limit = LimitConfiguration(measure: .requests, amount: 1, window: .minute)
        let old = book(limit)
        #expect(ask(old, demand(), at(0)) == nil)
        let new = QuotaBook(tenants: [(name: "t", limits: [limit])], carryingOverFrom: old)
        #expect(ask(new, demand(), at(0)) != nil)
        // Another amount is the same limit: what is used stays used.
        limit.amount = 2
        let larger = QuotaBook(tenants: [(name: "t", limits: [limit])], carryingOverFrom: new)
        #expect(ask(larger, demand(), at(0)) == nil)
        #expect(ask(larger, demand(), at(0)) != nil)
    }

    @Test func `many threads together never get more than the limit`() async {
        let book = book(LimitConfiguration(measure: .tokens, amount: 10_000, window: .minute))
        let admitted = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<16 {
                group.addTask {
                    (0..<200).count { _ in
                        self.ask(book, self.demand(5, 5), self.at(0)) == nil
                    }
                }
            }
            return await group.reduce(0, +)
        }
        #expect(admitted == 1000)
    }

    @Test(arguments: [
        (0, "0ms"), (20, "20ms"), (1000, "1s"), (1500, "1.5s"), (360_000, "6m0s"),
        (3_661_000, "1h1m1s"),
    ])
    func `durations are written as OpenAI does`(_ milliseconds: Int, _ text: String) {
        let duration = [UInt8](atMost: RateLimitStanding.durationCapacity) { output in
            RateLimitStanding.append(milliseconds, to: &output)
        }
        #expect(String(decoding: duration, as: UTF8.self) == text)
    }
}
