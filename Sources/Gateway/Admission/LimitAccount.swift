import Primitives

/// One bucket of one limit: what is used, and what open requests have set aside.
///
/// A plain value, guarded by its tenant's lock (`TenantAccounts`). Its window is given to each
/// method, so that a reload can change a limit's amount and keep what is used.
struct LimitAccount: Sendable {
    private enum Usage {
        /// Minute and hour: the amount leaks out in each period. In units of which one count has as
        /// many as the period has nanoseconds, and of which `amount` leak in each of them: exact.
        case leaking(units: Int128, at: UInt64)
        /// Day and month: what was used in the window, which is in Unix milliseconds.
        case calendar(used: Int64, window: Range<Int64>)
    }

    /// Whether another request fits.
    enum Verdict: Equatable {
        case fits
        /// It is larger than the whole limit.
        case never
        /// It will, if requests under way use what they have set aside.
        case after(milliseconds: Int)
        /// It would, if requests under way gave back what they have set aside.
        case whenOthersEnd(milliseconds: Int)
    }

    private var usage: Usage
    /// What open requests have set aside. It neither leaks nor ends with a window: it becomes use,
    /// or is given back.
    private(set) var reserved: Int64 = 0

    init(_ window: LimitConfiguration.Window) {
        usage =
            window.nanoseconds == nil
            ? .calendar(used: 0, window: Int64.min..<Int64.min) : .leaking(units: 0, at: 0)
    }

    /// Lets time pass: leaks, or begins another window. Must come before anything else is asked.
    mutating func advance(_ limit: LimitConfiguration, now: Instant, wall: WallTime) {
        switch usage {
        case .leaking(let units, let at):
            // Workers look at the clock once a turn: another one may have been here already.
            guard now.nanoseconds > at else { return }
            let elapsed = min(Int128(now.nanoseconds - at), 1 << 60)
            usage = .leaking(
                units: max(0, units - elapsed * Int128(limit.amount)), at: now.nanoseconds)
        case .calendar(let used, let window):
            let time = wall.milliseconds
            if time >= window.upperBound {
                usage = .calendar(used: 0, window: limit.window.range(wall))
            } else if time < window.lowerBound - Limits.clockStepMilliseconds {
                // The clock had run far ahead. What was used is not given back for that.
                usage = .calendar(used: used, window: limit.window.range(wall))
            }
        }
    }

    /// What is used, rounded up.
    func used(_ limit: LimitConfiguration) -> Int64 {
        switch usage {
        case .leaking(let units, _):
            let scale = limit.window.scale
            return Int64(clamping: (units + scale - 1) / scale)
        case .calendar(let used, _): return used
        }
    }

    /// Whether `count` fits besides what is used and set aside.
    func verdict(on count: Int64, _ limit: LimitConfiguration, wall: WallTime) -> Verdict {
        guard count <= limit.amount else { return .never }
        switch usage {
        case .leaking(let units, _):
            let held = (Int128(reserved) + Int128(count)) * limit.window.scale
            let excess = units + held - Int128(limit.amount) * limit.window.scale
            guard excess > 0 else { return .fits }
            return .after(milliseconds: Self.milliseconds(excess, limit))
        case .calendar(let used, let window):
            let sum = Int128(used) + Int128(count)
            guard sum + Int128(reserved) > Int128(limit.amount) else { return .fits }
            let rest = Int(clamping: window.upperBound - wall.milliseconds)
            guard sum > Int128(limit.amount) else {
                return .whenOthersEnd(milliseconds: min(rest, Limits.heldQuotaMilliseconds))
            }
            return .after(milliseconds: rest)
        }
    }

    /// How long until nothing is used any more.
    func resetMilliseconds(_ limit: LimitConfiguration, wall: WallTime) -> Int {
        switch usage {
        case .leaking(let units, _):
            Self.milliseconds(units + Int128(reserved) * limit.window.scale, limit)
        case .calendar(_, let window): Int(clamping: window.upperBound - wall.milliseconds)
        }
    }

    /// Sets aside what has been found to fit.
    mutating func reserve(_ count: Int64) { reserved += count }

    /// Gives back what was set aside.
    mutating func release(_ count: Int64) {
        precondition(count >= 0 && count <= reserved)
        reserved -= count
    }

    /// Counts what was used, whether it fits or not.
    mutating func charge(_ count: Int64, _ limit: LimitConfiguration) {
        switch usage {
        case .leaking(let units, let at):
            let most = Int128(Int64.max) * limit.window.scale
            usage = .leaking(units: min(most, units + Int128(count) * limit.window.scale), at: at)
        case .calendar(let used, let window):
            usage = .calendar(used: used.addingClamped(count), window: window)
        }
    }

    /// Takes back what was charged by an estimate that was too high; what has leaked has gone.
    mutating func correct(_ count: Int64, _ limit: LimitConfiguration) {
        switch usage {
        case .leaking(let units, let at):
            usage = .leaking(units: max(0, units - Int128(count) * limit.window.scale), at: at)
        case .calendar(let used, let window):
            usage = .calendar(used: max(0, used - count), window: window)
        }
    }

    /// The time in which so much leaks, rounded up.
    private static func milliseconds(_ units: Int128, _ limit: LimitConfiguration) -> Int {
        let leak = Int128(limit.amount) * 1_000_000
        // Nobody waits for longer, and whoever rounds it cannot overflow.
        return Int(clamping: min((units + leak - 1) / leak, 1 << 53))
    }
}

extension LimitConfiguration.Window {
    /// How long a leaking window is; nil for those of the calendar.
    var nanoseconds: Int64? {
        switch self {
        case .minute: 60_000_000_000
        case .hour: 3_600_000_000_000
        case .day, .month: nil
        }
    }

    fileprivate var scale: Int128 { Int128(nanoseconds ?? 1) }

    /// The calendar window around `wall`, in Unix milliseconds.
    func range(_ wall: WallTime) -> Range<Int64> {
        let date = CivilDate(wall)
        let isMonth = self == .month
        let start = CivilDate.midnight(
            year: date.year, month: date.month, day: isMonth ? 1 : date.day)
        let end =
            isMonth
            ? CivilDate.midnight(year: date.year, month: date.month + 1, day: 1)
            : start.advanced(bySeconds: 86_400)
        return start.milliseconds..<end.milliseconds
    }
}
