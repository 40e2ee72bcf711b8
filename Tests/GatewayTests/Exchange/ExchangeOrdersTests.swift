import Primitives
import Testing

@testable import Gateway

@Suite struct ExchangeOrdersTests {
    @Test(arguments: [(10_000, true), (Limits.keptBufferBytes + 1, false)])
    func `memory is kept for the next request, unless it is much`(_ count: Int, _ isKept: Bool) {
        let orders = ExchangeOrders()
        orders.body = [UInt8](repeating: 0, count: count)
        orders.reset()
        #expect(orders.isEmpty)
        #expect((orders.body.capacity >= count) == isKept)
    }
}
