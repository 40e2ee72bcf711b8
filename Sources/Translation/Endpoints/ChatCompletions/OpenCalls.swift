import Primitives

/// The calls of the nearest assistant message, and where their results stand.
struct OpenCalls {
    struct Call {
        let id: [UInt8]
        let isLegacy: Bool
        /// Where its result stands in the current turn.
        var resultIndex: Int?
    }

    /// So many are looked through faster than they are looked up.
    private static let few = 16

    var list: [Call] = []
    /// Of more calls than a few, where the first one of each id is: any number of messages may
    /// answer them.
    private var places: [[UInt8]: Int] = [:]

    /// Where the call of that id is in the list; nil: there is none.
    func place(of id: [UInt8]) -> Int? {
        list.count <= Self.few ? list.firstIndex { $0.id == id } : places[id]
    }

    mutating func add(_ id: [UInt8], isLegacy: Bool) {
        list.append(Call(id: id, isLegacy: isLegacy))
        guard list.count > Self.few else { return }
        for place in (places.isEmpty ? 0 : list.count - 1)..<list.count
        where places[list[place].id] == nil {
            places[list[place].id] = place
        }
    }

    mutating func removeAll() {
        list = []
        if !places.isEmpty { places = [:] }
    }
}
