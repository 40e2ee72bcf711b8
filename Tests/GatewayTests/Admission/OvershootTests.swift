import Primitives
import Testing
import Translation

@testable import Gateway

/// The theorem of ARCHITECTURE.md: used + set aside <= amount + what was charged beyond what had
/// been set aside. And its other half: what fits is not refused.
@Suite struct OvershootTests {
    private let start = Instant(nanoseconds: 1_000_000_000_000)
    private let wall = WallTime(milliseconds: 1_767_398_300_000)

    private struct Open: ~Copyable {
        var reservation: Reservation
        let demand: Demand
        var output = 0
        let finalOutput: Int
    }

    /// Random requests, some longer than they said, some shorter, some without any work, over
    /// leaking windows and over ends of calendar windows.
    @Test(arguments: LimitConfiguration.Window.allCases)
    func `no order of requests breaks a limit by more than the theorem says`(
        _ window: LimitConfiguration.Window
    ) {
        for seed in UInt64(1)...60 {
            var random = SeededGenerator(seed: seed)
            var limit = LimitConfiguration(measure: .tokens, amount: 10_000, window: window)
            limit.onExceed = seed % 2 == 0 ? .cut : .finish
            let book = QuotaBook(tenants: [(name: "t", limits: [limit])], carryingOverFrom: nil)
            var open = Slab<Open>()
            var (now, wall) = (start, wall)
            var beyond: Int64 = 0
            for step in 0..<600 {
                let pause = Int.random(in: 0..<2_000, using: &random)
                now = now.advanced(byMilliseconds: pause)
                wall = WallTime(milliseconds: wall.milliseconds + Int64(pause))
                let handles = open.handles
                if let handle = handles.randomElement(using: &random), Bool.random(using: &random) {
                    beyond += advance(handle, &open, book, now, wall, &random)
                } else if handles.count < 12 {
                    begin(&open, book, limit, now, wall, &random)
                }
                let reading = book.readings(now: now, wall: wall)[0]
                #expect(
                    reading.used + reading.reserved <= limit.amount + beyond,
                    "SEED=\(seed) step \(step)")
            }
            for handle in open.handles {
                beyond += settle(open.remove(handle), book, now, wall)
            }
            #expect(book.readings(now: now, wall: wall)[0].reserved == 0, "SEED=\(seed)")
            var audit = ReservationAudit(shard: 0)
            #expect(audit.look(at: book, HeldReservations()) == 0)
        }
    }

    private func begin(
        _ open: inout Slab<Open>, _ book: QuotaBook, _ limit: LimitConfiguration, _ now: Instant,
        _ wall: WallTime, _ random: inout SeededGenerator
    ) {
        let demand = Demand(
            tenant: 0, model: "m", user: nil,
            inputTokens: Int.random(in: 1..<1500, using: &random),
            outputTokens: Int.random(in: 0..<1500, using: &random), costNanodollars: 0)
        let before = book.readings(now: now, wall: wall)[0]
        let fits =
            before.used + before.reserved + demand.amounts.amount(of: .tokens) <= limit.amount
        switch book.reserve(demand, now: now, wall: wall) {
        case .admitted(let reservation):
            #expect(fits)
            let final = Int.random(in: 0..<3000, using: &random)
            _ = open.insert(Open(reservation: reservation, demand: demand, finalOutput: final))
        case .refused: #expect(!fits)
        }
    }

    /// A stream produces another step, or ends. What was charged beyond what was set aside.
    private func advance(
        _ handle: Handle, _ open: inout Slab<Open>, _ book: QuotaBook, _ now: Instant,
        _ wall: WallTime, _ random: inout SeededGenerator
    ) -> Int64 {
        guard open[handle].output < open[handle].finalOutput else {
            return settle(open.remove(handle), book, now, wall)
        }
        let set = open[handle].reservation.reserved
        open[handle].output += 64
        let used = QuotaAmounts(
            inputTokens: 0, outputTokens: open[handle].output, costNanodollars: 0)
        let ahead = QuotaAmounts(
            inputTokens: open[handle].demand.inputTokens, outputTokens: 64, costNanodollars: 0)
        let cut = book.meter(
            &open[handle].reservation, used: used, ahead: ahead, now: now, wall: wall)
        let beyond = max(0, 64 - set)
        guard cut != nil else { return beyond }
        return beyond + settle(open.remove(handle), book, now, wall)
    }

    private func settle(
        _ open: consuming Open, _ book: QuotaBook, _ now: Instant, _ wall: WallTime
    ) -> Int64 {
        // Some prompts turn out longer than estimated, and some requests never ran.
        let input = open.output == 0 ? 0 : open.demand.inputTokens * 5 / 4
        let output = open.output
        let covered = open.reservation.holds[0].charged + open.reservation.reserved
        book.settle(
            open.reservation,
            used: QuotaAmounts(inputTokens: input, outputTokens: output, costNanodollars: 0),
            now: now, wall: wall)
        return max(0, Int64(input + output) - covered)
    }

    private func demand(_ tokens: Int, model: String = "m", user: String? = nil) -> Demand {
        Demand(
            tenant: 0, model: model, user: user, inputTokens: tokens, outputTokens: 0,
            costNanodollars: 0)
    }

    @Test func `refusals by one limit make no request be refused by another`() async {
        let shared = LimitConfiguration(measure: .tokens, amount: 1000, window: .day)
        var narrow = LimitConfiguration(measure: .inputTokens, amount: 10, window: .day)
        narrow.model = "narrow"
        let book = QuotaBook(
            tenants: [(name: "t", limits: [shared, narrow])], carryingOverFrom: nil)
        let refusals = await withTaskGroup(of: Int.self) { group in
            // These never fit the narrow limit, and take half of the shared one until that shows.
            for _ in 0..<6 {
                group.addTask {
                    for _ in 0..<1500 { _ = self.ask(book, self.demand(500, model: "narrow")) }
                    return 0
                }
            }
            // This one always fits.
            group.addTask { (0..<6_000).count { _ in !self.ask(book, self.demand(600)) } }
            return await group.reduce(0, +)
        }
        #expect(refusals == 0)
    }

    /// Asks and settles without work. Whether it was admitted.
    private func ask(_ book: QuotaBook, _ demand: Demand) -> Bool {
        guard
            case .admitted(let reservation) = book.reserve(demand, now: start, wall: wall)
        else { return false }
        book.settle(reservation, used: .none, now: start, wall: wall)
        return true
    }

    @Test func `workers together leave nothing behind, and each can account for its share`() async {
        var byUser = LimitConfiguration(measure: .tokens, amount: 300, window: .month)
        byUser.isByUser = true
        let shared = LimitConfiguration(measure: .tokens, amount: 2000, window: .month)
        let book = QuotaBook(
            tenants: [(name: "t", limits: [shared, byUser])], carryingOverFrom: nil)
        let charged = await withTaskGroup(of: Int64.self) { group in
            for shard in 0..<8 { group.addTask { self.work(book, shard: shard) } }
            return await group.reduce(0, +)
        }
        let readings = book.readings(now: start, wall: wall)
        #expect(readings.map(\.reserved) == [0, 0])
        #expect(readings.map(\.used) == [charged, charged])
        #expect(charged <= 2000)
        #expect(charged > 1900)
    }

    /// Keeps a few requests open, and looks at its own balance meanwhile.
    private func work(_ book: QuotaBook, shard: Int) -> Int64 {
        var random = SeededGenerator(seed: UInt64(shard))
        var open = Slab<Open>()
        var charged: Int64 = 0
        for _ in 0..<800 {
            let demand = demand(
                Int.random(in: 1...40, using: &random),
                user: "u\(Int.random(in: 0..<20, using: &random))")
            if case .admitted(let reservation) = book.reserve(
                demand, shard: shard, now: start, wall: wall)
            {
                let kept = Open(reservation: reservation, demand: demand, finalOutput: 0)
                _ = open.insert(kept)
            }
            var held = HeldReservations()
            for handle in open.handles { held.add(open[handle].reservation) }
            var audit = ReservationAudit(shard: shard)
            #expect(audit.look(at: book, held) == 0)
            if open.count > 4, let handle = open.handles.randomElement(using: &random) {
                let last = open.remove(handle)
                let tokens = Bool.random(using: &random) ? last.demand.inputTokens : 0
                charged += Int64(tokens)
                settle(last, book, tokens)
            }
        }
        for handle in open.handles { settle(open.remove(handle), book, 0) }
        return charged
    }

    private func settle(_ open: consuming Open, _ book: QuotaBook, _ tokens: Int) {
        book.settle(
            open.reservation,
            used: QuotaAmounts(inputTokens: tokens, outputTokens: 0, costNanodollars: 0),
            now: start, wall: wall)
    }

    @Test func `64 clients get as many requests as fit, and not one more`() async {
        let limit = LimitConfiguration(measure: .tokens, amount: 100_000, window: .minute)
        let book = QuotaBook(tenants: [(name: "t", limits: [limit])], carryingOverFrom: nil)
        let admitted = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<64 {
                group.addTask {
                    (0..<10).count { _ in
                        guard
                            case .admitted(let reservation) = book.reserve(
                                self.demand(777), now: self.start, wall: self.wall)
                        else { return false }
                        book.settle(
                            reservation, used: self.demand(777).amounts, now: self.start,
                            wall: self.wall)
                        return true
                    }
                }
            }
            return await group.reduce(0, +)
        }
        #expect(admitted == 100_000 / 777)
    }
}

@Suite struct CutTests {
    private let start = Instant(nanoseconds: 1_000_000_000_000)
    private let wall = WallTime(milliseconds: 1_767_398_300_000)

    private func amounts(_ input: Int, _ output: Int) -> QuotaAmounts {
        QuotaAmounts(inputTokens: input, outputTokens: output, costNanodollars: 0)
    }

    @Test(arguments: LimitConfiguration.OnExceed.allCases)
    func `a stream that grows beyond its limit ends, or makes debts`(
        _ onExceed: LimitConfiguration.OnExceed
    ) throws {
        var limit = LimitConfiguration(measure: .tokens, amount: 1000, window: .minute)
        limit.onExceed = onExceed
        let book = QuotaBook(tenants: [(name: "t", limits: [limit])], carryingOverFrom: nil)
        let demand = Demand(
            tenant: 0, model: "m", user: nil, inputTokens: 100, outputTokens: 200,
            costNanodollars: 0)
        guard case .admitted(var reservation) = book.reserve(demand, now: start, wall: wall) else {
            Issue.record("it fits")
            return
        }
        var produced = 0
        var cut: String?
        while cut == nil, produced < 2000 {
            produced += 50
            cut = book.meter(
                &reservation, used: amounts(0, produced), ahead: amounts(100, 64), now: start,
                wall: wall)
            let reading = book.readings(now: start, wall: wall)[0]
            #expect(reading.used == produced)
            if onExceed == .cut { #expect(reading.used + reading.reserved <= 1000) }
        }
        #expect(cut == (onExceed == .cut ? "tokens/minute" : nil))
        if onExceed == .cut { #expect((800...900).contains(produced)) }
        book.settle(reservation, used: amounts(100, produced), now: start, wall: wall)
        let reading = book.readings(now: start, wall: wall)[0]
        #expect(reading.reserved == 0)
        #expect(reading.used == 100 + produced)
        if onExceed == .finish {
            guard case .refused(let refusal) = book.reserve(demand, now: start, wall: wall) else {
                Issue.record("there are debts")
                return
            }
            #expect(refusal.retryAfterMilliseconds == (2100 + 300 - 1000) * 60)
        }
    }
}

@Suite struct RestoreTests {
    private let now = Instant(nanoseconds: 1_000_000_000_000)
    private let wall = WallTime(milliseconds: 1_767_398_300_000)

    @Test func `what the ledger knows is used already, in the limits that are new`() throws {
        var narrow = LimitConfiguration(measure: .requests, amount: 10, window: .month)
        narrow.model = "claude-*"
        var byUser = LimitConfiguration(measure: .outputTokens, amount: 500, window: .day)
        byUser.isByUser = true
        let limits = [
            LimitConfiguration(measure: .tokens, amount: 1000, window: .day), narrow, byUser,
            LimitConfiguration(measure: .usd, amount: 5_000_000_000, window: .month),
            LimitConfiguration(measure: .tokens, amount: 100, window: .minute),
        ]
        let book = QuotaBook(tenants: [(name: "t", limits: limits)], carryingOverFrom: nil)
        #expect(book.restorations.map(\.window) == [.day, .month])
        #expect(book.restorations.map(\.isByUser) == [true, false])
        var sum = UsageSum()
        sum.tenant = "t"
        sum.model = "claude-3"
        sum.user = "alice"
        sum.requests = 4
        sum.usage = TokenUsage(input: 300, output: 200)
        sum.costNanodollars = 1_500_000_000
        for restoration in book.restorations {
            book.restore(sum, restoration, price: nil, now: now, wall: wall)
            sum.tenant = "stranger"
            book.restore(sum, restoration, price: nil, now: now, wall: wall)
            sum.tenant = "t"
        }
        let used = book.readings(now: now, wall: wall).map(\.used)
        #expect(used == [500, 4, 200, 1_500_000_000, 0])
        // After a reload nothing of it is new any more.
        let next = QuotaBook(tenants: [(name: "t", limits: limits)], carryingOverFrom: book)
        #expect(next.restorations.isEmpty)
        #expect(next.readings(now: now, wall: wall).map(\.used) == used)
    }
}
