import Primitives

/// One limit of one tenant as a plan knows it.
final class LimitEntry: Sendable {
    let limit: LimitConfiguration
    /// The limit's name in errors, counters and `x-sluice-cut`.
    let name: String
    /// Which of the tenant's accounts it is.
    let slot: Int
    /// The account began with this plan: what was used before is known to the ledger only.
    let isNew: Bool
    private let pattern: ModelPattern?

    init(_ limit: LimitConfiguration, slot: Int, isNew: Bool) {
        self.limit = limit
        self.slot = slot
        self.isNew = isNew
        name = limit.name
        pattern = limit.model.map { ModelPattern($0) }
    }

    func matches(_ model: String) -> Bool { pattern?.matches(model) ?? true }
}

/// What one request holds in one limit.
struct LimitHold: Sendable {
    let entry: LimitEntry
    /// The user's account; nil where all users share one.
    var user: Int?
    /// What the request asks for; after its admission, what is still set aside for it.
    var reserved: Int64
    /// What it has been charged with so far.
    var charged: Int64 = 0
}

/// All accounts of one tenant behind one lock, which every plan and every worker shares.
///
/// One lock, and not an atomic word for each account: a demand is then held against all its limits
/// at one instant. With one word each they are taken in turn and given back after a refusal, and
/// what is about to be given back makes others be refused that would have fitted.
final class TenantAccounts: Sendable {
    private struct Slot {
        let window: LimitConfiguration.Window
        var shared: LimitAccount
        var users = UserAccounts()
        /// The sum of what is set aside in the slot's accounts. Like the next one it may wrap:
        /// it is compared and shown, and decides nothing.
        var reserved: Int64 = 0

        init(_ window: LimitConfiguration.Window) {
            self.window = window
            shared = LimitAccount(window)
        }
    }

    private struct Book {
        var slots: [Slot] = []
        /// What each worker's requests have set aside in all slots.
        var reservedByShard: [Int64] = []

        mutating func withAccount<Result>(
            _ hold: LimitHold, _ body: (inout LimitAccount, LimitConfiguration) -> Result
        ) -> Result {
            guard let user = hold.user else {
                return body(&slots[hold.entry.slot].shared, hold.entry.limit)
            }
            return body(&slots[hold.entry.slot].users[user], hold.entry.limit)
        }

        /// Sets more aside, or less.
        mutating func reserve(_ difference: Int64, _ hold: LimitHold, shard: Int) {
            withAccount(hold) { account, _ in
                difference < 0 ? account.release(-difference) : account.reserve(difference)
            }
            slots[hold.entry.slot].reserved &+= difference
            while reservedByShard.count <= shard { reservedByShard.append(0) }
            reservedByShard[shard] &+= difference
        }

        /// Counts that a hold has used `total` by now: first out of what was set aside for it.
        mutating func charge(_ total: Int64, _ hold: inout LimitHold, shard: Int) {
            let difference = total - hold.charged
            hold.charged = total
            guard difference > 0 else {
                return withAccount(hold) { $0.correct(-difference, $1) }
            }
            let covered = min(difference, hold.reserved)
            reserve(-covered, hold, shard: shard)
            hold.reserved -= covered
            withAccount(hold) { $0.charge(difference, $1) }
        }
    }

    private let book = Locked(Book())

    /// Opens an account; it is never closed, since requests of earlier plans may still use it.
    func addSlot(_ window: LimitConfiguration.Window) -> Int {
        book.withLock { book in
            book.slots.append(Slot(window))
            return book.slots.count - 1
        }
    }

    /// Sets aside what all holds ask for, or nothing. nil: it fits.
    func reserve(
        _ holds: inout [LimitHold], user: String?, shard: Int, now: Instant, wall: WallTime
    ) -> LimitRefusal? {
        book.withLock { book in
            var refusal: LimitRefusal?
            for index in holds.indices {
                let entry = holds[index].entry
                if entry.limit.isByUser {
                    holds[index].user = book.slots[entry.slot].users.place(
                        of: UserAccounts.name(user), entry.limit.window)
                }
                let count = holds[index].reserved
                let verdict = book.withAccount(holds[index]) { account, limit in
                    account.advance(limit, now: now, wall: wall)
                    return account.verdict(on: count, limit, wall: wall)
                }
                guard let candidate = LimitRefusal(entry, verdict) else { continue }
                if refusal.map({ candidate.isTighter(than: $0) }) ?? true { refusal = candidate }
            }
            guard refusal == nil else { return refusal }
            for index in holds.indices {
                let entry = holds[index].entry
                if let user = holds[index].user { book.slots[entry.slot].users.requestBegan(user) }
                book.reserve(holds[index].reserved, holds[index], shard: shard)
                // A request is used up by being made, whatever becomes of it.
                if entry.limit.measure == .requests { book.charge(1, &holds[index], shard: shard) }
            }
            return nil
        }
    }

    /// Charges what a request has used by now, and keeps `ahead` set aside where a limit cuts.
    /// The name of the first limit in which that does not fit; nil: the request may go on.
    func meter(
        _ holds: inout [LimitHold], used: QuotaAmounts, ahead: QuotaAmounts, shard: Int,
        now: Instant, wall: WallTime
    ) -> String? {
        book.withLock { book in
            var cut: String?
            for index in holds.indices {
                let entry = holds[index].entry
                let measure = entry.limit.measure
                book.withAccount(holds[index]) { $0.advance($1, now: now, wall: wall) }
                book.charge(used.amount(of: measure), &holds[index], shard: shard)
                guard entry.limit.onExceed == .cut else { continue }
                let missing = ahead.amount(of: measure) - holds[index].reserved
                guard missing > 0 else { continue }
                let verdict = book.withAccount(holds[index]) {
                    $0.verdict(on: missing, $1, wall: wall)
                }
                guard verdict == .fits else {
                    cut = cut ?? entry.name
                    continue
                }
                book.reserve(missing, holds[index], shard: shard)
                holds[index].reserved += missing
            }
            return cut
        }
    }

    /// Replaces what is still set aside by what was used.
    func settle(
        _ holds: [LimitHold], used: QuotaAmounts, shard: Int, now: Instant, wall: WallTime
    ) {
        book.withLock { book in
            for var hold in holds {
                book.withAccount(hold) { $0.advance($1, now: now, wall: wall) }
                book.charge(used.amount(of: hold.entry.limit.measure), &hold, shard: shard)
                book.reserve(-hold.reserved, hold, shard: shard)
                guard let user = hold.user else { continue }
                book.slots[hold.entry.slot].users.requestEnded(user)
            }
        }
    }

    /// Where the accounts of some limits stand.
    func standing(
        _ entries: [LimitEntry], model: String, user: String?, now: Instant, wall: WallTime
    ) -> RateLimitStanding {
        book.withLock { book in
            var standing = RateLimitStanding()
            for entry in entries where entry.matches(model) {
                var hold = LimitHold(entry: entry, reserved: 0)
                if entry.limit.isByUser {
                    hold.user = book.slots[entry.slot].users.place(
                        of: UserAccounts.name(user), entry.limit.window)
                }
                let line = book.withAccount(hold) { account, limit in
                    account.advance(limit, now: now, wall: wall)
                    let taken = Int128(account.used(limit)) + Int128(account.reserved)
                    return RateLimitStanding.Line(
                        limit: limit.amount,
                        remaining: max(0, Int64(clamping: Int128(limit.amount) - taken)),
                        resetMilliseconds: account.resetMilliseconds(limit, wall: wall))
                }
                standing.add(line, entry.limit.measure)
            }
            return standing
        }
    }

    /// Adds what the ledger knows of the current window.
    func restore(
        _ amount: Int64, _ entry: LimitEntry, user: String?, now: Instant, wall: WallTime
    ) {
        book.withLock { book in
            var hold = LimitHold(entry: entry, reserved: 0)
            if entry.limit.isByUser {
                hold.user = book.slots[entry.slot].users.place(
                    of: UserAccounts.name(user), entry.limit.window)
            }
            book.withAccount(hold) { account, limit in
                account.advance(limit, now: now, wall: wall)
                account.charge(amount, limit)
            }
        }
    }

    /// What is used and set aside in a limit, over all its users.
    func reading(
        _ entry: LimitEntry, now: Instant, wall: WallTime
    ) -> (used: Int64, reserved: Int64) {
        let reserved = book.withLock { $0.slots[entry.slot].reserved }
        guard entry.limit.isByUser else {
            let used = book.withLock { book in
                book.slots[entry.slot].shared.advance(entry.limit, now: now, wall: wall)
                return book.slots[entry.slot].shared.used(entry.limit)
            }
            return (used, reserved)
        }
        // Requests must not wait until a hundred thousand accounts are added up.
        var used: Int64 = 0
        var start = 0
        while start < book.withLock({ $0.slots[entry.slot].users.count }) {
            let next = book.withLock { book in
                book.slots[entry.slot].users.used(
                    from: start, count: Limits.userAccountsPerLook, entry.limit, now: now,
                    wall: wall)
            }
            used = used.addingClamped(next)
            start += Limits.userAccountsPerLook
        }
        return (used, reserved)
    }

    /// How far what a worker's requests hold is from what is set aside for them, and the workers'
    /// sums from those of the limits: 0.
    func imbalance(held: Int64, shard: Int) -> Int64 {
        book.withLock { book in
            let known = shard < book.reservedByShard.count ? book.reservedByShard[shard] : 0
            let byShard = book.reservedByShard.reduce(0, &+)
            let bySlot = book.slots.reduce(0) { $0 &+ $1.reserved }
            return known == held && byShard == bySlot
                ? 0 : max(1, Int64(clamping: (known &- held).magnitude))
        }
    }
}
