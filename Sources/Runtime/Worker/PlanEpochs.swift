/// Which plans still have flights: the pools of those plans must stay.
struct PlanEpochs {
    /// The number of the plan that new flights begin with.
    private(set) var current = 0
    private var flights = 0
    /// Former plans that have flights, oldest first.
    private var former: [(epoch: Int, flights: Int)] = []

    /// The oldest plan that a flight may still use.
    var oldest: Int { former.first?.epoch ?? current }

    /// A new plan is in force.
    mutating func advance() {
        if flights > 0 { former.append((current, flights)) }
        flights = 0
        current += 1
    }

    /// A flight begins with the current plan.
    mutating func flightBegan() { flights += 1 }

    /// A flight has ended. True: it was the last one of a former plan.
    mutating func flightEnded(_ epoch: Int) -> Bool {
        guard epoch != current else {
            flights -= 1
            return false
        }
        guard let index = former.firstIndex(where: { $0.epoch == epoch }) else { return false }
        former[index].flights -= 1
        guard former[index].flights == 0 else { return false }
        former.remove(at: index)
        return true
    }
}
