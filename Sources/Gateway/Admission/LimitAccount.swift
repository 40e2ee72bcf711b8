import Primitives
import Synchronization

/// One bucket of one limit. Lock-free: charges race by compare-and-exchange, so that any number of
/// workers together never admit more than the limit.
final class LimitAccount: Sendable {
    /// Minute and hour leak (GCRA): the word is the theoretical arrival time in nanoseconds.
    /// Day and month are calendar windows: `window` names the current one, the word is what it
    /// used.
    private let word = Atomic<Int64>(0)
    private let window = Atomic<Int64>(0)
    private let amount: Int64
    private let period: LimitConfiguration.Window

    init(_ limit: LimitConfiguration) {
        amount = limit.amount
        period = limit.window
    }

    /// Takes `count` if it fits; else how many milliseconds until it does (nil: it never will).
    enum Outcome: Equatable {
        case taken
        case refused(afterMilliseconds: Int?)
    }

    func take(_ count: Int64, now: Instant, wall: WallTime) -> Outcome {
        guard count <= amount else { return .refused(afterMilliseconds: nil) }
        if let nanoseconds = periodNanoseconds {
            return takeLeaking(count, nanoseconds, now: now)
        }
        roll(wall)
        var used = word.load(ordering: .relaxed)
        while true {
            guard used + count <= amount else {
                return .refused(
                    afterMilliseconds: Int(clamping: windowEnd(wall) - wall.milliseconds))
            }
            let (exchanged, original) = word.compareExchange(
                expected: used, desired: used + count, ordering: .relaxed)
            if exchanged { return .taken }
            used = original
        }
    }

    /// Adds a difference that is known only now: positive for a charge, negative for a refund.
    func adjust(by count: Int64, now: Instant, wall: WallTime) {
        guard count != 0 else { return }
        guard let nanoseconds = periodNanoseconds else {
            roll(wall)
            word.wrappingAdd(count, ordering: .relaxed)
            return
        }
        let cost = cost(of: count, nanoseconds)
        let floor = Int64(clamping: now.nanoseconds)
        var arrival = word.load(ordering: .relaxed)
        while true {
            // A bucket that has leaked empty does not owe the past.
            let desired = (cost > 0 ? max(arrival, floor) : arrival).addingClamped(cost)
            let (exchanged, original) = word.compareExchange(
                expected: arrival, desired: desired, ordering: .relaxed)
            if exchanged { return }
            arrival = original
        }
    }

    /// What is left, and how many milliseconds until all of it is there again.
    func standing(now: Instant, wall: WallTime) -> (remaining: Int64, resetMilliseconds: Int) {
        guard let nanoseconds = periodNanoseconds else {
            roll(wall)
            let used = word.load(ordering: .relaxed)
            return (
                max(0, amount - used), Int(clamping: windowEnd(wall) - wall.milliseconds)
            )
        }
        let debt = max(0, word.load(ordering: .relaxed) - Int64(clamping: now.nanoseconds))
        let used = Double(debt) / Double(nanoseconds) * Double(amount)
        let remaining = amount - Int64(used.rounded(.up))
        return (max(0, remaining), Int(clamping: (debt + 999_999) / 1_000_000))
    }

    private func takeLeaking(_ count: Int64, _ nanoseconds: Int64, now: Instant) -> Outcome {
        let time = Int64(clamping: now.nanoseconds)
        let cost = cost(of: count, nanoseconds)
        var arrival = word.load(ordering: .relaxed)
        while true {
            let next = max(arrival, time).addingClamped(cost)
            let excess = next - time - nanoseconds
            guard excess <= 0 else {
                return .refused(afterMilliseconds: Int(clamping: (excess + 999_999) / 1_000_000))
            }
            let (exchanged, original) = word.compareExchange(
                expected: arrival, desired: next, ordering: .relaxed)
            if exchanged { return .taken }
            arrival = original
        }
    }

    /// The time that `count` takes to leak out, rounded up in magnitude: never in the client's
    /// favour.
    private func cost(of count: Int64, _ nanoseconds: Int64) -> Int64 {
        let (high, low) = nanoseconds.multipliedFullWidth(by: count.magnitudeClamped)
        guard high < amount else { return count < 0 ? -(.max / 4) : .max / 4 }
        let (quotient, rest) = amount.dividingFullWidth((high, low))
        return count < 0 ? -quotient : quotient + (rest > 0 ? 1 : 0)
    }

    private var periodNanoseconds: Int64? {
        switch period {
        case .minute: 60_000_000_000
        case .hour: 3_600_000_000_000
        case .day, .month: nil
        }
    }

    /// Empties the account when a new calendar window has begun.
    private func roll(_ wall: WallTime) {
        let current = windowStart(wall)
        let known = window.load(ordering: .acquiring)
        guard current > known else { return }
        let (exchanged, _) = window.compareExchange(
            expected: known, desired: current, ordering: .acquiringAndReleasing)
        if exchanged { word.store(0, ordering: .releasing) }
    }

    private func windowStart(_ wall: WallTime) -> Int64 {
        let date = CivilDate(wall)
        return CivilDate.midnight(
            year: date.year, month: date.month, day: period == .day ? date.day : 1
        ).milliseconds
    }

    private func windowEnd(_ wall: WallTime) -> Int64 {
        let date = CivilDate(wall)
        if period == .day {
            return CivilDate.midnight(year: date.year, month: date.month, day: date.day)
                .milliseconds + 86_400_000
        }
        return CivilDate.midnight(year: date.year, month: date.month + 1, day: 1).milliseconds
    }
}

extension Int64 {
    /// The sum, or the largest value when it does not fit.
    fileprivate func addingClamped(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other > 0 ? .max : .min) : sum
    }

    fileprivate var magnitudeClamped: Int64 { Int64(clamping: magnitude) }
}
