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

    /// How much of it a limit counts.
    func amount(of measure: LimitConfiguration.Measure) -> Int64 {
        switch measure {
        case .requests: 1
        case .tokens: Int64(inputTokens) + Int64(outputTokens)
        case .inputTokens: Int64(inputTokens)
        case .outputTokens: Int64(outputTokens)
        case .usd: costNanodollars
        }
    }
}

/// What was set aside for one request. It ends in exactly one `settle`.
public struct Reservation: ~Copyable, Sendable {
    let accounts: [(account: LimitAccount, measure: LimitConfiguration.Measure)]
    let demand: Demand
}

/// The answer to a demand.
public enum Admission: ~Copyable {
    /// It fits all limits, and is set aside in all of them.
    case admitted(Reservation)
    /// It does not fit one of them; nothing is set aside.
    case refused(LimitRefusal)
}

/// The accounts of all limits of all tenants; shared by all workers.
public final class QuotaBook: Sendable {
    private struct LimitEntry: Sendable {
        let limit: LimitConfiguration
        let pattern: ModelPattern?
        let shared: LimitAccount
        let byUser: UserAccounts?
    }

    /// What requests really need, learned from those that were served.
    public let estimator: Estimator
    private let tenants: [[LimitEntry]]
    private let names: [String]

    /// Books for tenants; accounts of limits that a former book had too go on.
    public init(
        tenants: [(name: String, limits: [LimitConfiguration])],
        carryingOverFrom previous: QuotaBook?
    ) {
        names = tenants.map(\.name)
        estimator = previous?.estimator ?? Estimator()
        self.tenants = tenants.map { tenant in
            let former = previous?.entries(ofTenant: tenant.name) ?? []
            return tenant.limits.map { limit in
                former.first { $0.limit == limit }
                    ?? LimitEntry(
                        limit: limit, pattern: limit.model.map { ModelPattern($0) },
                        shared: LimitAccount(limit),
                        byUser: limit.isByUser ? UserAccounts(limit) : nil)
            }
        }
    }

    /// Sets a demand aside in every limit that matches, or in none.
    public func reserve(_ demand: Demand, now: Instant, wall: WallTime) -> Admission {
        var taken: [(account: LimitAccount, measure: LimitConfiguration.Measure)] = []
        var refusal: LimitRefusal?
        for entry in tenants[demand.tenant] where matches(entry, demand.model) {
            let account = account(entry, user: demand.user)
            let amount = demand.amount(of: entry.limit.measure)
            switch account.take(amount, now: now, wall: wall) {
            case .taken: taken.append((account, entry.limit.measure))
            case .refused(let wait):
                let candidate = LimitRefusal(limit: entry.limit, retryAfterMilliseconds: wait)
                if refusal.map({ candidate.isTighter(than: $0) }) ?? true { refusal = candidate }
            }
        }
        guard let refusal else { return .admitted(Reservation(accounts: taken, demand: demand)) }
        for (account, measure) in taken {
            account.adjust(by: -demand.amount(of: measure), now: now, wall: wall)
        }
        return .refused(refusal)
    }

    /// Replaces what was set aside by what was used. The request itself stays counted.
    public func settle(
        _ reservation: consuming Reservation, usage: TokenUsage, costNanodollars: Int64,
        now: Instant, wall: WallTime
    ) {
        var actual = reservation.demand
        actual.inputTokens = usage.input
        actual.outputTokens = usage.output
        actual.costNanodollars = costNanodollars
        for (account, measure) in reservation.accounts {
            let difference = actual.amount(of: measure) - reservation.demand.amount(of: measure)
            account.adjust(by: difference, now: now, wall: wall)
        }
    }

    /// Where a tenant stands in its tightest matching limit of requests and of tokens.
    public func standing(
        tenant: Int, model: String, user: String?, now: Instant, wall: WallTime
    ) -> RateLimitStanding {
        var standing = RateLimitStanding()
        for entry in tenants[tenant] where matches(entry, model) {
            let (remaining, reset) = account(entry, user: user).standing(now: now, wall: wall)
            let line = RateLimitStanding.Line(
                limit: entry.limit.amount, remaining: remaining, resetMilliseconds: reset)
            switch entry.limit.measure {
            case .requests: standing.requests = line.tighter(than: standing.requests)
            case .tokens, .inputTokens, .outputTokens:
                standing.tokens = line.tighter(than: standing.tokens)
            case .usd: break
            }
        }
        return standing
    }

    private func entries(ofTenant name: String) -> [LimitEntry] {
        names.firstIndex(of: name).map { tenants[$0] } ?? []
    }

    private func matches(_ entry: LimitEntry, _ model: String) -> Bool {
        entry.pattern?.matches(model) ?? true
    }

    private func account(_ entry: LimitEntry, user: String?) -> LimitAccount {
        entry.byUser?.account(of: user ?? "") ?? entry.shared
    }
}

/// The accounts of a limit that is counted by user: bounded, the longest unused one goes first.
final class UserAccounts: Sendable {
    private struct Book {
        var accounts: [String: (account: LimitAccount, used: UInt64)] = [:]
        var clock: UInt64 = 0
    }

    private let limit: LimitConfiguration
    private let book = Locked(Book())

    init(_ limit: LimitConfiguration) { self.limit = limit }

    func account(of user: String) -> LimitAccount {
        book.withLock { book in
            book.clock += 1
            if let known = book.accounts[user]?.account {
                book.accounts[user] = (known, book.clock)
                return known
            }
            if book.accounts.count >= Limits.userAccounts { Self.evict(&book) }
            let account = LimitAccount(limit)
            book.accounts[user] = (account, book.clock)
            return account
        }
    }

    /// Drops the older half: rare, and then cheap for long.
    private static func evict(_ book: inout Book) {
        let times = book.accounts.values.map(\.used).sorted()
        let middle = times[times.count / 2]
        book.accounts = book.accounts.filter { $0.value.used > middle }
    }
}
