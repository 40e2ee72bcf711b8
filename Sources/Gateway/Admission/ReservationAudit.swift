import Primitives

/// What a worker's open requests have set aside, by tenant.
public struct HeldReservations: Sendable {
    private var sums: [ObjectIdentifier: Int64] = [:]

    /// None.
    public init() {}

    mutating func add(_ reservation: borrowing Reservation) {
        sums[ObjectIdentifier(reservation.accounts), default: 0] &+= reservation.reserved
    }

    func sum(of accounts: TenantAccounts) -> Int64 { sums[ObjectIdentifier(accounts)] ?? 0 }
}

/// A worker's comparison of what its open requests hold with what is set aside for them.
///
/// Only the worker itself changes its share, so there is no race. It looks at so many tenants at a
/// time and goes on with the next ones: ten thousand of them stall nobody.
public struct ReservationAudit: Sendable {
    private let shard: Int
    private var next = 0
    private var found = 0

    /// An audit of the worker with this shard.
    public init(shard: Int) { self.shard = shard }

    /// Looks at the next tenants. Where it has come round, the sum over all of them, which is 0;
    /// nil before.
    public mutating func look(at quota: QuotaBook, _ held: HeldReservations) -> Int? {
        let start = next < quota.tenantCount ? next : 0
        let end = min(start + Limits.tenantsPerAudit, quota.tenantCount)
        let imbalance = quota.imbalance(held, shard: shard, tenants: start..<end)
        found = Int(clamping: Int128(found) + Int128(imbalance))
        next = end
        guard end == quota.tenantCount else { return nil }
        defer { (next, found) = (0, 0) }
        return found
    }
}
