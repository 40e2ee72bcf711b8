import Glibc
import Primitives
import Testing

@testable import Runtime

@Suite struct DoorbellTests {
    private func isHeard(_ bell: Doorbell) -> Bool {
        var entry = pollfd(fd: bell.descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) == 1
    }

    @Test func `a ring is heard until it is answered, and only once`() {
        let bell = Doorbell()
        #expect(!isHeard(bell))
        bell.ring()
        bell.ring()
        #expect(isHeard(bell))
        bell.wait(atMostMilliseconds: 60_000)
        #expect(isHeard(bell))
        bell.answer()
        #expect(!isHeard(bell))
        bell.ring()
        #expect(isHeard(bell))
    }

    @Test func `whatever is rung for is found, however rings and answers meet`() throws {
        let bell = Doorbell()
        let things = Locked(0)
        let wanted = 50_000
        let thread = try BackgroundThread {
            for _ in 0..<wanted {
                things.withLock { $0 += 1 }
                bell.ring()
            }
        }
        var found = 0
        var longest = 0
        while found < wanted {
            let begin = SystemClock.now()
            bell.wait(atMostMilliseconds: 10_000)
            longest = max(longest, SystemClock.now().milliseconds(since: begin))
            bell.answer()
            found += things.withLock { things in
                defer { things = 0 }
                return things
            }
        }
        thread.join()
        #expect(longest < 10_000, "a ring was lost")
    }
}
