import Glibc
public import Primitives

/// The machine's clocks, for the threads beside the workers.
public enum SystemClock {
    /// The monotonic time.
    public static func now() -> Instant {
        let time = read(CLOCK_MONOTONIC)
        return Instant(
            nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }

    /// The civil time.
    public static func wallTime() -> WallTime {
        let time = read(CLOCK_REALTIME)
        return WallTime(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }

    private static func read(_ clock: clockid_t) -> timespec {
        var time = timespec()
        _ = unsafe clock_gettime(clock, &time)
        return time
    }
}
