import Glibc
import Testing

@testable import Runtime

@Suite struct BackgroundThreadTests {
    /// Of this thread.
    private static func niceness() -> Int32 {
        getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0)
    }

    @Test func `what gives way has its own priority, and its result comes back`() {
        let own = Self.niceness()
        let other = BackgroundThread.givingWay { Self.niceness() }
        #expect(other == min(19, own + 10))
        #expect(Self.niceness() == own)
    }
}
