/// A point on the monotonic clock, in nanoseconds since an arbitrary start.
public struct Instant: Comparable, Hashable, Sendable {
    /// Nanoseconds since the clock's start.
    public let nanoseconds: UInt64

    /// An instant that many nanoseconds after the clock's start.
    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    /// Orders by time.
    public static func < (left: Instant, right: Instant) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    /// This instant plus a number of milliseconds; saturates at the end of time.
    public func advanced(byMilliseconds milliseconds: Int) -> Instant {
        guard milliseconds >= 0 else { return self }
        let (product, tooLarge) = UInt64(milliseconds).multipliedReportingOverflow(by: 1_000_000)
        let (sum, overflow) = nanoseconds.addingReportingOverflow(product)
        return Instant(nanoseconds: tooLarge || overflow ? .max : sum)
    }

    /// Nanoseconds from `earlier` to this instant; 0 when `earlier` is later.
    public func nanoseconds(since earlier: Instant) -> UInt64 {
        nanoseconds > earlier.nanoseconds ? nanoseconds - earlier.nanoseconds : 0
    }

    /// Whole milliseconds from `earlier` to this instant; 0 when `earlier` is later.
    public func milliseconds(since earlier: Instant) -> Int {
        Int(clamping: nanoseconds(since: earlier) / 1_000_000)
    }
}
