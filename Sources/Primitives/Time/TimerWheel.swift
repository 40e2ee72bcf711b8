/// A hashed timer wheel: arming, moving and cancelling a timer cost a few nanoseconds each.
///
/// Pure: it is fed the time and returns what is due. Timers fire on the first turn at or after
/// their deadline, at most one tick (`tickNanoseconds`) late. Each timer is a dense index chosen by
/// the caller; an index holds at most one deadline.
public struct TimerWheel: ~Copyable {
    /// The wheel's resolution: 4 ms is far below every timeout that a configuration can name.
    public static let tickNanoseconds: UInt64 = 4_000_000
    private static let slotCount = 2048
    private static let none: Int32 = -1
    /// The last one that `Instant` has.
    private static let lastTick = UInt64.max / tickNanoseconds

    private struct Entry {
        var deadlineTick: UInt64 = 0
        var next: Int32 = TimerWheel.none
        var previous: Int32 = TimerWheel.none
        var slot: Int32 = TimerWheel.none
    }

    private var entries: [Entry] = []
    private var heads = [Int32](repeating: TimerWheel.none, count: TimerWheel.slotCount)
    private var currentTick: UInt64
    private var armedCount = 0
    /// No armed timer is due before this tick; too early costs one empty turn, too late never
    /// happens.
    private var earliestTick = UInt64.max

    /// A wheel whose time begins at `now`.
    public init(now: Instant) { currentTick = now.nanoseconds / Self.tickNanoseconds }

    /// How many timers are armed.
    public var count: Int { armedCount }

    /// Arms timer `index` for `deadline`, replacing its former deadline.
    public mutating func arm(_ index: Int, at deadline: Instant) {
        precondition(index >= 0)
        while entries.count <= index { entries.append(Entry()) }
        if entries[index].slot != Self.none { unlink(index) }
        let ticks = deadline.nanoseconds / Self.tickNanoseconds
        let rounded = deadline.nanoseconds % Self.tickNanoseconds == 0 ? ticks : ticks + 1
        let tick = min(max(rounded, currentTick + 1), Self.lastTick)
        let slot = Int(tick % UInt64(Self.slotCount))
        entries[index] = Entry(
            deadlineTick: tick, next: heads[slot], previous: Self.none, slot: Int32(slot))
        if heads[slot] != Self.none { entries[Int(heads[slot])].previous = Int32(index) }
        heads[slot] = Int32(index)
        armedCount += 1
        earliestTick = min(earliestTick, tick)
    }

    /// Disarms timer `index`; nothing happens when it is not armed.
    public mutating func cancel(_ index: Int) {
        guard index < entries.count, entries[index].slot != Self.none else { return }
        unlink(index)
    }

    /// Moves time forward and appends the indexes of all timers that are due to `due`.
    public mutating func advance(to now: Instant, due: inout [Int]) {
        let target = now.nanoseconds / Self.tickNanoseconds
        guard target > currentTick else { return }
        let steps = min(target - currentTick, UInt64(Self.slotCount))
        let first = target - steps + 1
        currentTick = target
        guard armedCount > 0, earliestTick <= target else { return }
        for tick in first...target {
            var index = heads[Int(tick % UInt64(Self.slotCount))]
            while index != Self.none {
                let next = entries[Int(index)].next
                if entries[Int(index)].deadlineTick <= target {
                    unlink(Int(index))
                    due.append(Int(index))
                }
                index = next
            }
        }
        earliestTick = nextOccupiedTick()
    }

    /// When to call `advance` next: no later than the next tick that may hold a timer; nil when
    /// idle.
    public func nextWake() -> Instant? {
        guard armedCount > 0 else { return nil }
        return Instant(nanoseconds: earliestTick * Self.tickNanoseconds)
    }

    private func nextOccupiedTick() -> UInt64 {
        guard armedCount > 0 else { return .max }
        for offset in 1...UInt64(Self.slotCount) {
            let tick = currentTick + offset
            if heads[Int(tick % UInt64(Self.slotCount))] != Self.none { return tick }
        }
        return .max
    }

    private mutating func unlink(_ index: Int) {
        let entry = entries[index]
        if entry.previous == Self.none {
            heads[Int(entry.slot)] = entry.next
        } else {
            entries[Int(entry.previous)].next = entry.next
        }
        if entry.next != Self.none { entries[Int(entry.next)].previous = entry.previous }
        entries[index].slot = Self.none
        armedCount -= 1
    }
}
