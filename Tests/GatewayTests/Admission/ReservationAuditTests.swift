import Primitives
import TestSupport
import Testing
import Translation

@testable import Gateway

@Suite struct ReservationAuditTests {
    private static let count = 2 * Limits.tenantsPerAudit + 1
    private let wall = WallTime(milliseconds: 1_767_323_045_000)
    private let now = Instant(nanoseconds: 1_000_000_000_000)

    private func book(tenants count: Int) -> QuotaBook {
        let limit = LimitConfiguration(measure: .tokens, amount: 1000, window: .minute)
        return QuotaBook(
            tenants: (0..<count).map { (name: "t\($0)", limits: [limit]) }, carryingOverFrom: nil)
    }

    private func reservation(of tenant: Int, in book: QuotaBook) throws -> Reservation {
        let demand = Demand(
            tenant: tenant, model: "m", user: nil, inputTokens: 10, outputTokens: 20,
            costNanodollars: 0)
        guard case .admitted(let reservation) = book.reserve(demand, now: now, wall: wall) else {
            throw ReservationAuditTests.Refused()
        }
        return reservation
    }

    private struct Refused: Error {}

    /// What audits find, of a worker that holds a reservation or has lost it.
    @Test(arguments: [0, Limits.tenantsPerAudit, count - 1])
    func `many tenants are looked at step by step, and none is left out`(_ tenant: Int) throws {
        let book = book(tenants: Self.count)
        let reservation = try reservation(of: tenant, in: book)
        var held = HeldReservations()
        held.add(reservation)
        var audit = ReservationAudit(shard: 0)
        for _ in 0..<2 {
            #expect(audit.look(at: book, held) == nil)
            #expect(audit.look(at: book, held) == nil)
            #expect(audit.look(at: book, held) == 0)
        }
        let lost = (0..<3).map { _ in audit.look(at: book, HeldReservations()) }
        #expect(lost == [nil, nil, 30])
        book.settle(reservation, used: .none, now: now, wall: wall)
    }

    @Test func `a book with fewer tenants is begun from its start`() throws {
        let book = book(tenants: 2)
        let reservation = try reservation(of: 0, in: book)
        var audit = ReservationAudit(shard: 0)
        #expect(audit.look(at: self.book(tenants: Self.count), HeldReservations()) == nil)
        #expect(audit.look(at: book, HeldReservations()) == 30)
        book.settle(reservation, used: .none, now: now, wall: wall)
    }

    @Test func `there is nothing to find where there are no tenants`() {
        var audit = ReservationAudit(shard: 0)
        #expect(audit.look(at: book(tenants: 0), HeldReservations()) == 0)
    }
}
