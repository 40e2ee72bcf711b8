/// Names one occupant of a `Slab`. A handle outlives its occupant harmlessly: it then finds
/// nothing.
public struct Handle: Hashable, Sendable {
    /// The slot.
    public let index: Int32
    /// How often the slot had been filled when the handle was given out.
    public let generation: UInt32

    /// A handle from its parts.
    public init(index: Int32, generation: UInt32) {
        self.index = index
        self.generation = generation
    }

    /// The handle as one word, for `epoll_data`: index in the low half, generation in the high
    /// half.
    public var word: UInt64 {
        UInt64(generation) << 32 | UInt64(UInt32(bitPattern: index))
    }

    /// The handle that `word` came from.
    public init(word: UInt64) {
        index = Int32(bitPattern: UInt32(truncatingIfNeeded: word))
        generation = UInt32(truncatingIfNeeded: word >> 32)
    }
}

/// A table of move-only values in stable memory, found by generation-checked handles.
///
/// Slots are reused last-in-first-out, so that the table stays as small as its busiest moment.
@safe public struct Slab<Element: ~Copyable>: ~Copyable {
    /// Marks a slot that is free; no generation has this bit.
    private static var freeBit: UInt32 { 1 << 31 }

    @usableFromInline var slots: UnsafeMutablePointer<Element>
    /// The generation of each slot, with `freeBit` while it is free: one comparison tells whether a
    /// handle is live.
    @usableFromInline var marks: UnsafeMutablePointer<UInt32>
    /// How many slots have ever been used.
    @usableFromInline var used = 0
    private var free: [Int32] = []
    private var capacity: Int

    /// How many slots are occupied.
    public private(set) var count = 0

    /// An empty table with room for `capacity` values before its first growth.
    public init(capacity: Int = 64) {
        self.capacity = max(1, capacity)
        unsafe slots = UnsafeMutablePointer<Element>.allocate(capacity: self.capacity)
        unsafe marks = UnsafeMutablePointer<UInt32>.allocate(capacity: self.capacity)
    }

    deinit {
        for index in 0..<used where isOccupied(index) {
            unsafe (slots + index).deinitialize(count: 1)
        }
        unsafe slots.deallocate()
        unsafe marks.deallocate()
    }

    /// Stores a value and returns its handle.
    public mutating func insert(_ element: consuming Element) -> Handle {
        let index = takeSlot()
        unsafe (slots + index).initialize(to: element)
        unsafe marks[index] &= ~Self.freeBit
        count += 1
        return Handle(index: Int32(index), generation: unsafe marks[index])
    }

    /// Whether the handle's occupant is still there.
    @inlinable
    public func contains(_ handle: Handle) -> Bool {
        let index = Int(handle.index)
        return unsafe index >= 0 && index < used && marks[index] == handle.generation
    }

    /// Access to an occupant in place. The handle must be live: check `contains` where it may not
    /// be.
    @inlinable
    public subscript(_ handle: Handle) -> Element {
        unsafeAddress {
            precondition(contains(handle))
            return unsafe UnsafePointer(slots + Int(handle.index))
        }
        unsafeMutableAddress {
            precondition(contains(handle))
            return unsafe slots + Int(handle.index)
        }
    }

    /// Takes an occupant out; its handle is stale from then on.
    public mutating func remove(_ handle: Handle) -> Element {
        precondition(contains(handle))
        let index = Int(handle.index)
        // 31 bits, never 0: the top bit and generation 0 are free for other kinds of tokens.
        let next = handle.generation == 0x7fff_ffff ? 1 : handle.generation + 1
        unsafe marks[index] = next | Self.freeBit
        free.append(handle.index)
        count -= 1
        return unsafe (slots + index).move()
    }

    /// The handle of the occupant of a slot; nil when the slot is free.
    public func handle(at index: Int) -> Handle? {
        guard index >= 0, index < used, isOccupied(index) else { return nil }
        return Handle(index: Int32(index), generation: unsafe marks[index])
    }

    /// The handles of all occupants, in slot order.
    public var handles: [Handle] { (0..<used).compactMap { handle(at: $0) } }

    private func isOccupied(_ index: Int) -> Bool { unsafe marks[index] & Self.freeBit == 0 }

    private mutating func takeSlot() -> Int {
        if let index = free.popLast() { return Int(index) }
        if used == capacity { grow() }
        unsafe (marks + used).initialize(to: 1 | Self.freeBit)
        used += 1
        return used - 1
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
        let moreMarks = UnsafeMutablePointer<UInt32>.allocate(capacity: capacity * 2)
        for index in 0..<capacity where isOccupied(index) {
            unsafe (larger + index).moveInitialize(from: slots + index, count: 1)
        }
        unsafe moreMarks.moveInitialize(from: marks, count: capacity)
        unsafe slots.deallocate()
        unsafe marks.deallocate()
        unsafe slots = larger
        unsafe marks = moreMarks
        capacity *= 2
    }
}
