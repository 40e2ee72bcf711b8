/// A point in civil time: milliseconds since 1970-01-01T00:00:00Z. It may jump; deadlines use
/// `Instant`.
public struct WallTime: Comparable, Hashable, Sendable {
    /// Milliseconds since the Unix epoch.
    public let milliseconds: Int64

    /// The given number of milliseconds after the Unix epoch.
    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    /// Whole seconds since the Unix epoch, rounded down.
    public var seconds: Int64 {
        let (seconds, rest) = milliseconds.quotientAndRemainder(dividingBy: 1000)
        return rest < 0 ? seconds - 1 : seconds
    }

    /// Orders by time.
    public static func < (left: WallTime, right: WallTime) -> Bool {
        left.milliseconds < right.milliseconds
    }

    /// This time plus a number of seconds.
    public func advanced(bySeconds seconds: Int64) -> WallTime {
        WallTime(milliseconds: milliseconds &+ seconds &* 1000)
    }
}
