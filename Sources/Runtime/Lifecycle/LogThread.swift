import Glibc
import Primitives
import Synchronization

/// A thread that writes what others have to say: what reads it may stall, and stalls nobody else.
final class LogThread: Sendable {
    /// How it ends.
    enum Farewell {
        case hadNoThread
        /// All that waited is written.
        case finished
        /// Nobody reads.
        case stalled
    }

    /// What comes within it is written at once.
    private static let pauseMicroseconds: UInt32 = 20_000

    private let bell = Doorbell()
    private let hasStarted = Atomic<Bool>(false)
    private let isStopping = Atomic<Bool>(false)
    private let hasStopped = Atomic<Bool>(false)

    /// Calls `flush` soon after something was said, and once more at the end.
    /// - Throws: the `errno` value when the system has no thread to give.
    func start(_ flush: @escaping @Sendable () -> Void) throws(KernelFailure) {
        let thread = try BackgroundThread { [self] in
            while !isStopping.load(ordering: .acquiring) {
                flush()
                bell.wait(atMostMilliseconds: Limits.lookAroundMilliseconds)
                usleep(Self.pauseMicroseconds)
                bell.answer()
            }
            flush()
            hasStopped.store(true, ordering: .releasing)
        }
        // Nobody can end it while its reader stalls: the end of the process does.
        thread.detach()
        hasStarted.store(true, ordering: .releasing)
    }

    /// There is something to write.
    func ring() { bell.ring() }

    /// Has everything written that waits, if somebody reads it.
    func stop() -> Farewell {
        guard hasStarted.load(ordering: .acquiring) else { return .hadNoThread }
        isStopping.store(true, ordering: .releasing)
        bell.ring()
        let until = SystemClock.now().advanced(byMilliseconds: Limits.logFarewellMilliseconds)
        while !hasStopped.load(ordering: .acquiring) {
            guard SystemClock.now() < until else { return .stalled }
            usleep(1_000)
        }
        return .finished
    }
}
