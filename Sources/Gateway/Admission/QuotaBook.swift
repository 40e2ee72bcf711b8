public import Primitives
public import Translation

/// What a request will probably use, for its reservation.
public struct Demand: Sendable {
    /// Index of the tenant.
    public var tenant: Int
    /// The model as the client names it.
    public var model: String
    /// The request's `user` field.
    public var user: String?
    /// Estimated prompt tokens.
    public var inputTokens: Int
    /// Estimated generated tokens.
    public var outputTokens: Int
    /// Their price, 0 when it is unknown.
    public var costNanodollars: Int64
    /// The part without the answer, where the answer's length is only a guess: a guess above a
    /// whole limit reserves all of it, and does not refuse the request for ever.
    public var certain: QuotaAmounts?

    /// A demand.
    public init(
        tenant: Int, model: String, user: String?, inputTokens: Int, outputTokens: Int,
        costNanodollars: Int64
    ) {
        self.tenant = tenant
        self.model = model
        self.user = user
        self.inputTokens = inputTokens
        self.outputTokens = outputTokens
        self.costNanodollars = costNanodollars
    }

    /// It as limits count it.
    var amounts: QuotaAmounts {
        QuotaAmounts(
            inputTokens: inputTokens, outputTokens: outputTokens, costNanodollars: costNanodollars)
    }
}

/// Tokens and money as limits count them; never negative, whatever a backend says.
public struct QuotaAmounts: Sendable, Equatable {
    private let inputTokens: Int64
    private let outputTokens: Int64
    private let costNanodollars: Int64

    /// Amounts.
    public init(inputTokens: Int, outputTokens: Int, costNanodollars: Int64) {
        // Far above any real request, and small enough for sums.
        let most = Int64(1) << 60
        self.inputTokens = min(most, max(0, Int64(inputTokens)))
        self.outputTokens = min(most, max(0, Int64(outputTokens)))
        self.costNanodollars = min(most, max(0, costNanodollars))
    }

    /// Nothing, except that a request was made.
    public static let none = QuotaAmounts(inputTokens: 0, outputTokens: 0, costNanodollars: 0)

    /// How much a limit counts.
    func amount(of measure: LimitConfiguration.Measure) -> Int64 {
        switch measure {
        case .requests: 1
        case .tokens: inputTokens + outputTokens
        case .inputTokens: inputTokens
        case .outputTokens: outputTokens
        case .usd: costNanodollars
        }
    }
}

/// What was set aside for one request. It ends in exactly one `settle`.
public struct Reservation: ~Copyable, Sendable {
    let accounts: TenantAccounts
    let shard: Int
    fileprivate(set) var holds: [LimitHold]

    /// What is still set aside, over all limits.
    var reserved: Int64 { holds.reduce(0) { $0 &+ $1.reserved } }
    /// Whether some limit counts what a running answer adds.
    var isMetered: Bool { holds.contains { $0.entry.limit.measure.countsOutput } }
    /// Whether some limit may end the answer.
    var mayBeCut: Bool { holds.contains { $0.entry.limit.onExceed == .cut } }
}

/// The answer to a demand.
public enum Admission: ~Copyable {
    /// It fits all limits, and is set aside in all of them.
    case admitted(Reservation)
    /// It does not fit one of them; nothing is set aside.
    case refused(LimitRefusal)
}

/// What requests have used in a calendar window, summed up by the ledger.
public struct UsageSum: Sendable {
    /// The tenant's name.
    public var tenant = ""
    /// The model as clients named it.
    public var model = ""
    /// The requests' `user` field.
    public var user: String?
    /// How many there were.
    public var requests = 0
    /// Their tokens; only `input`, `output` and `cacheRead` matter.
    public var usage = TokenUsage()
    /// Their cost.
    public var costNanodollars: Int64 = 0
    /// What they were priced by.
    public var priceID: String?

    /// Nothing.
    public init() {}
}

/// Where one limit stands, for the gauges.
public struct LimitReading: Sendable {
    /// The tenant's name.
    public let tenant: String
    /// The limit.
    public let limit: LimitConfiguration
    /// What is used now.
    public let used: Int64
    /// What open requests have set aside.
    public let reserved: Int64
}

/// The accounts of all limits of all tenants; shared by all workers.
///
/// For every limit and at every instant, used + set aside <= amount + Σ max(0, charged - set aside)
/// over the requests that were charged since (ARCHITECTURE.md, "Limits").
public final class QuotaBook: Sendable {
    private struct Tenant: Sendable {
        let name: String
        let accounts: TenantAccounts
        let entries: [LimitEntry]
    }

    /// What requests really need, learned from those that were served.
    public let estimator: Estimator
    private let tenants: [Tenant]
    private let tenantsByName: [String: Tenant]

    /// Books for tenants. Accounts of limits that a former book had too go on, also when their
    /// amount is another now.
    public init(
        tenants: [(name: String, limits: [LimitConfiguration])],
        carryingOverFrom previous: QuotaBook?
    ) {
        estimator = previous?.estimator ?? Estimator()
        let former = previous?.tenantsByName ?? [:]
        self.tenants = tenants.map { tenant in
            let former = former[tenant.name]
            let accounts = former?.accounts ?? TenantAccounts()
            let entries = tenant.limits.map { limit in
                let known = former?.entries.first { $0.name == limit.name }
                return LimitEntry(
                    limit, slot: known?.slot ?? accounts.addSlot(limit.window), isNew: known == nil)
            }
            return Tenant(name: tenant.name, accounts: accounts, entries: entries)
        }
        tenantsByName = Dictionary(
            self.tenants.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// Sets a demand aside in every limit that matches, or in none, at one instant.
    public func reserve(
        _ demand: Demand, shard: Int = 0, now: Instant, wall: WallTime
    ) -> Admission {
        let tenant = tenants[demand.tenant]
        let amounts = demand.amounts
        var holds: [LimitHold] = []
        holds.reserveCapacity(tenant.entries.count)
        for entry in tenant.entries where entry.matches(demand.model) {
            let measure = entry.limit.measure
            var amount = amounts.amount(of: measure)
            if let certain = demand.certain, certain.amount(of: measure) <= entry.limit.amount {
                amount = min(amount, entry.limit.amount)
            }
            holds.append(LimitHold(entry: entry, reserved: amount))
        }
        if !holds.isEmpty,
            let refusal = tenant.accounts.reserve(
                &holds, user: demand.user, shard: shard, now: now, wall: wall)
        {
            return .refused(refusal)
        }
        return .admitted(Reservation(accounts: tenant.accounts, shard: shard, holds: holds))
    }

    /// Charges what a running answer has used by now. Where a limit cuts, `ahead` stays set aside;
    /// the name of the limit in which that does not fit any more, nil when the answer may go on.
    public func meter(
        _ reservation: inout Reservation, used: QuotaAmounts, ahead: QuotaAmounts, now: Instant,
        wall: WallTime
    ) -> String? {
        let (accounts, shard) = (reservation.accounts, reservation.shard)
        return accounts.meter(
            &reservation.holds, used: used, ahead: ahead, shard: shard, now: now, wall: wall)
    }

    /// Replaces what was set aside by what was used. The request itself stays counted.
    public func settle(
        _ reservation: consuming Reservation, used: QuotaAmounts, now: Instant, wall: WallTime
    ) {
        guard !reservation.holds.isEmpty else { return }
        reservation.accounts.settle(
            reservation.holds, used: used, shard: reservation.shard, now: now, wall: wall)
    }

    /// Where a tenant stands in its tightest matching limit of requests and of tokens.
    public func standing(
        tenant: Int, model: String, user: String?, now: Instant, wall: WallTime
    ) -> RateLimitStanding {
        let tenant = tenants[tenant]
        guard !tenant.entries.isEmpty else { return RateLimitStanding() }
        return tenant.accounts.standing(
            tenant.entries, model: model, user: user, now: now, wall: wall)
    }

    // MARK: - Calendar windows after a restart

    /// A calendar window in which limits have begun with this book: what was used in it before must
    /// be restored from the ledger.
    public struct Restoration: Sendable, Equatable {
        /// The window.
        public let window: LimitConfiguration.Window
        /// Whether sums are wanted for each user.
        public let isByUser: Bool

        /// When it began.
        public func start(_ wall: WallTime) -> WallTime {
            WallTime(milliseconds: window.range(wall).lowerBound)
        }
    }

    /// What the ledger must be asked for.
    public var restorations: [Restoration] {
        let limits = tenants.flatMap(\.entries).filter(\.isNew).map(\.limit)
        let windows: [LimitConfiguration.Window] = [.day, .month]
        return windows.compactMap { window in
            let concerned = limits.filter { $0.window == window }
            guard !concerned.isEmpty else { return nil }
            return Restoration(window: window, isByUser: concerned.contains { $0.isByUser })
        }
    }

    /// Adds a sum of the ledger to the limits that have begun with this book.
    public func restore(
        _ sum: UsageSum, _ restoration: Restoration, price: Price?, now: Instant, wall: WallTime
    ) {
        let window = restoration.window
        guard let tenant = tenantsByName[sum.tenant] else { return }
        let amounts = QuotaAmounts(
            sum.usage, costNanodollars: sum.costNanodollars, price: price, serviceTier: nil)
        for entry in tenant.entries
        where entry.isNew && entry.limit.window == window && entry.matches(sum.model) {
            let measure = entry.limit.measure
            let amount =
                measure == .requests
                ? Int64(clamping: sum.requests) : amounts.amount(of: measure)
            tenant.accounts.restore(amount, entry, user: sum.user, now: now, wall: wall)
        }
    }

    // MARK: - Gauges

    /// Where all limits stand.
    public func readings(now: Instant, wall: WallTime) -> [LimitReading] {
        tenants.flatMap { tenant in
            tenant.entries.map { entry in
                let (used, reserved) = tenant.accounts.reading(entry, now: now, wall: wall)
                return LimitReading(
                    tenant: tenant.name, limit: entry.limit, used: used, reserved: reserved)
            }
        }
    }

    /// How far what a worker holds of some tenants is from what is set aside for it: 0.
    func imbalance(_ held: HeldReservations, shard: Int, tenants range: Range<Int>) -> Int {
        tenants[range].reduce(0) { sum, tenant in
            let imbalance = tenant.accounts.imbalance(
                held: held.sum(of: tenant.accounts), shard: shard)
            return Int(clamping: Int128(sum) + Int128(imbalance))
        }
    }

    /// How many tenants there are.
    var tenantCount: Int { tenants.count }
}
