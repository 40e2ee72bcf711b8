import Primitives
import Testing
import Translation
import Wire

@testable import Gateway

@Suite struct LimitAccountTests {
    private let start = Instant(nanoseconds: 1_000_000_000_000)
    /// 2026-01-02T03:04:05Z.
    private let wall = WallTime(milliseconds: 1_767_323_045_000)

    private func limit(
        _ amount: Int64, _ window: LimitConfiguration.Window
    ) -> LimitConfiguration {
        LimitConfiguration(measure: .tokens, amount: amount, window: window)
    }

    @Test(arguments: [1, 3, 7, 600, 100_000, 999_999_999_989, Int64.max])
    func `leaking is exact, whatever the amount`(_ amount: Int64) {
        let limit = limit(amount, .minute)
        var account = LimitAccount(.minute)
        account.advance(limit, now: start, wall: wall)
        account.charge(amount, limit)
        // In uneven steps that add up to a period less a nanosecond.
        var elapsed: UInt64 = 0
        for step in [1, 7, 999_999_937, 12_345_678_901, 59_999_999_999] as [UInt64] {
            elapsed = max(elapsed, step)
            account.advance(
                limit, now: Instant(nanoseconds: start.nanoseconds + elapsed), wall: wall)
        }
        // What leaks in a nanosecond is left, rounded up.
        let rest = amount / 60_000_000_000 + (amount % 60_000_000_000 > 0 ? 1 : 0)
        #expect(account.used(limit) == rest)
        account.advance(
            limit, now: Instant(nanoseconds: start.nanoseconds + 60_000_000_000), wall: wall)
        #expect(account.used(limit) == 0)
    }

    @Test func `what is set aside does not leak, and is given back whole`() {
        let limit = limit(100, .minute)
        var account = LimitAccount(.minute)
        account.advance(limit, now: start, wall: wall)
        account.reserve(60)
        account.advance(limit, now: start.advanced(byMilliseconds: 600_000), wall: wall)
        #expect(account.verdict(on: 41, limit, wall: wall) == .after(milliseconds: 600))
        #expect(account.verdict(on: 40, limit, wall: wall) == .fits)
        account.release(60)
        #expect(account.verdict(on: 100, limit, wall: wall) == .fits)
        #expect(account.verdict(on: 101, limit, wall: wall) == .never)
    }

    @Test func `a debt is waited for`() {
        let limit = limit(60, .minute)
        var account = LimitAccount(.minute)
        account.advance(limit, now: start, wall: wall)
        account.charge(180, limit)
        #expect(account.verdict(on: 1, limit, wall: wall) == .after(milliseconds: 121_000))
    }

    @Test func `a wait for ever is one that can be told`() {
        let limit = limit(1, .hour)
        var account = LimitAccount(.hour)
        account.advance(limit, now: start, wall: wall)
        account.charge(.max, limit)
        let entry = LimitEntry(limit, slot: 0, isNew: true)
        let refusal = LimitRefusal(entry, account.verdict(on: 1, limit, wall: wall))
        #expect(refusal?.error().retryAfterSeconds.map { $0 > 1_000_000_000 } == true)
        var fields = HeaderFields()
        var standing = RateLimitStanding()
        let reset = account.resetMilliseconds(limit, wall: wall)
        standing.add(
            RateLimitStanding.Line(limit: 1, remaining: 0, resetMilliseconds: reset), .tokens)
        standing.append(to: &fields)
        #expect(fields.count == 3)
    }

    @Test func `another window forgets what was used, and not what is set aside`() {
        let limit = limit(100, .day)
        let midnight = WallTime(milliseconds: 1_767_398_400_000)
        var account = LimitAccount(.day)
        account.advance(limit, now: start, wall: wall)
        account.charge(50, limit)
        account.reserve(30)
        #expect(account.verdict(on: 21, limit, wall: wall) == .whenOthersEnd(milliseconds: 1000))
        #expect(
            account.verdict(on: 51, limit, wall: wall)
                == .after(milliseconds: Int(midnight.milliseconds - wall.milliseconds)))
        account.advance(limit, now: start, wall: midnight)
        #expect(account.used(limit) == 0)
        #expect(account.verdict(on: 71, limit, wall: midnight) != .fits)
        // A refund of what was set aside yesterday gives today nothing that it did not have.
        account.release(30)
        #expect(account.verdict(on: 100, limit, wall: midnight) == .fits)
    }

    @Test func `a clock that steps back a little does not begin a window twice`() {
        let limit = limit(100, .day)
        let midnight = WallTime(milliseconds: 1_767_398_400_000)
        var account = LimitAccount(.day)
        account.advance(limit, now: start, wall: midnight)
        account.charge(80, limit)
        for step in [-1, -60, 0, 5] as [Int64] {
            account.advance(limit, now: start, wall: midnight.advanced(bySeconds: step))
            #expect(account.used(limit) == 80)
        }
    }

    @Test func `a clock that was far ahead does not hold a window for ever`() {
        let limit = limit(100, .month)
        var account = LimitAccount(.month)
        account.advance(limit, now: start, wall: wall.advanced(bySeconds: 86_400 * 400))
        account.charge(80, limit)
        account.advance(limit, now: start, wall: wall)
        #expect(account.used(limit) == 80)
        account.advance(limit, now: start, wall: wall.advanced(bySeconds: 86_400 * 31))
        #expect(account.used(limit) == 0)
    }

    @Test(arguments: [LimitConfiguration.Window.minute, .hour, .day, .month])
    func `figures without sense do not make us trap`(_ window: LimitConfiguration.Window) {
        let limit = limit(.max, window)
        var account = LimitAccount(window)
        let now = Instant(nanoseconds: .max)
        for instant in [now, Instant(nanoseconds: 0), now] {
            account.advance(limit, now: instant, wall: WallTime(milliseconds: 0))
            for _ in 0..<4 { account.charge(.max, limit) }
            #expect(account.used(limit) == .max)
            #expect(account.verdict(on: .max, limit, wall: wall) != .fits)
            account.correct(1, limit)
        }
        let usage = TokenUsage(input: .max, output: .max)
        let amounts = QuotaAmounts(
            usage, costNanodollars: .min, price: nil, serviceTier: nil)
        #expect(amounts.amount(of: .tokens) == 1 << 61)
        #expect(amounts.amount(of: .usd) == 0)
    }
}

@Suite struct UserAccountsTests {
    private let limit = LimitConfiguration(measure: .tokens, amount: 10, window: .day)

    private func used(_ accounts: inout UserAccounts, _ user: String) -> Int64 {
        accounts[accounts.place(of: user, .day)].used(limit)
    }

    private func charge(_ accounts: inout UserAccounts, _ user: String) {
        let place = accounts.place(of: user, .day)
        accounts[place].charge(1, limit)
    }

    @Test func `the longest unused user starts afresh`() {
        var accounts = UserAccounts(capacity: 3)
        for user in ["a", "b", "c"] { charge(&accounts, user) }
        #expect(used(&accounts, "a") == 1)
        charge(&accounts, "d")
        #expect(accounts.count == 3)
        #expect(["a", "c", "d"].map { used(&accounts, $0) } == [1, 1, 1])
        #expect(used(&accounts, "b") == 0)
    }

    @Test func `a user with a request under way keeps its account`() {
        var accounts = UserAccounts(capacity: 2)
        charge(&accounts, "a")
        let place = accounts.place(of: "a", .day)
        accounts.requestBegan(place)
        accounts.requestBegan(place)
        for user in ["b", "c", "d"] { charge(&accounts, user) }
        #expect(used(&accounts, "a") == 1)
        accounts.requestEnded(place)
        charge(&accounts, "e")
        #expect(used(&accounts, "a") == 1)
        accounts.requestEnded(place)
        for user in ["f", "g"] { charge(&accounts, user) }
        #expect(used(&accounts, "a") == 0)
        #expect(accounts.count == 2)
    }

    @Test func `it does what a plain list would do`() {
        for seed in UInt64(1)...20 {
            var random = SeededGenerator(seed: seed)
            var accounts = UserAccounts(capacity: 5)
            var list: [(user: String, used: Int64)] = []
            for _ in 0..<400 {
                let user = "u\(Int.random(in: 0..<9, using: &random))"
                let known = list.firstIndex { $0.user == user }
                let entry = known.map { list.remove(at: $0) } ?? (user: user, used: 0)
                if list.count == 5 { list.removeFirst() }
                #expect(used(&accounts, user) == entry.used, "SEED=\(seed)")
                charge(&accounts, user)
                list.append((user, entry.used + 1))
            }
        }
    }

    @Test func `a long name is kept short and stays itself`() {
        let long = String(repeating: "x", count: 1 << 20)
        #expect(UserAccounts.name(long).utf8.count == 71)
        #expect(UserAccounts.name(long) == UserAccounts.name(long))
        #expect(UserAccounts.name(long) != UserAccounts.name(long + "y"))
        #expect(UserAccounts.name("alice") == "alice")
        #expect(UserAccounts.name(nil) == "")
    }
}
