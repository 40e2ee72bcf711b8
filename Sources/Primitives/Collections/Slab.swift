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
    private var slots: UnsafeMutablePointer<Element>
    private var generations: [UInt32] = []
    private var isOccupied: [Bool] = []
    private var free: [Int32] = []
    private var capacity: Int

    /// How many slots are occupied.
    public private(set) var count = 0

    /// An empty table with room for `capacity` values before its first growth.
    public init(capacity: Int = 64) {
        self.capacity = max(1, capacity)
        unsafe slots = UnsafeMutablePointer<Element>.allocate(capacity: self.capacity)
    }

    deinit {
        for index in isOccupied.indices where isOccupied[index] {
            unsafe (slots + index).deinitialize(count: 1)
        }
        unsafe slots.deallocate()
    }

    /// Stores a value and returns its handle.
    public mutating func insert(_ element: consuming Element) -> Handle {
        let index = takeSlot()
        unsafe (slots + index).initialize(to: element)
        isOccupied[index] = true
        count += 1
        return Handle(index: Int32(index), generation: generations[index])
    }

    /// Whether the handle's occupant is still there.
    public func contains(_ handle: Handle) -> Bool {
        let index = Int(handle.index)
        return index >= 0 && index < isOccupied.count && isOccupied[index]
            && generations[index] == handle.generation
    }

    /// Access to an occupant in place. The handle must be live: check `contains` where it may not
    /// be.
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
        isOccupied[index] = false
        // 31 bits, never 0: the top bit and generation 0 are free for other kinds of tokens.
        generations[index] = generations[index] == 0x7fff_ffff ? 1 : generations[index] + 1
        free.append(handle.index)
        count -= 1
        return unsafe (slots + index).move()
    }

    /// The handle of the occupant of a slot; nil when the slot is free.
    public func handle(at index: Int) -> Handle? {
        guard index >= 0, index < isOccupied.count, isOccupied[index] else { return nil }
        return Handle(index: Int32(index), generation: generations[index])
    }

    /// The handles of all occupants, in slot order.
    public var handles: [Handle] {
        isOccupied.indices.compactMap { index in
            isOccupied[index]
                ? Handle(index: Int32(index), generation: generations[index]) : nil
        }
    }

    private mutating func takeSlot() -> Int {
        if let index = free.popLast() { return Int(index) }
        if generations.count == capacity { grow() }
        generations.append(1)
        isOccupied.append(false)
        return generations.count - 1
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
        for index in 0..<capacity where isOccupied[index] {
            unsafe (larger + index).moveInitialize(from: slots + index, count: 1)
        }
        unsafe slots.deallocate()
        unsafe slots = larger
        capacity *= 2
    }
}
