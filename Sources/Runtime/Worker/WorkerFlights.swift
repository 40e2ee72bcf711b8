import Gateway
import Primitives
import Wire

/// Exchanges: carrying out their orders, their clocks, and backpressure between the two sides.
extension Worker where K: ~Copyable {
    /// Carries out what the exchange of a flight has just ordered.
    ///
    /// The orders are taken out first: carrying them out can hand a connection to another flight,
    /// whose exchange then gives orders of its own. Nothing of one may reach the other's client.
    mutating func carryOut(_ handle: Handle) {
        var taken = spareOrders.popLast() ?? ExchangeOrders()
        swap(&taken, &orders)
        carryOut(handle, &taken)
        taken.reset()
        spareOrders.append(taken)
    }

    private mutating func carryOut(_ handle: Handle, _ orders: inout ExchangeOrders) {
        if !orders.logLine.isEmpty { logBuffer.append(contentsOf: orders.logLine) }
        if let row = orders.row { ledger.append(row) }
        if !orders.imagesToFetch.isEmpty {
            kernel.fetchImages(orders.imagesToFetch, ticket: handle.word)
        }
        let client = flights[handle].client
        let isFinished = flights[handle].exchange.isFinished
        for order in orders.upstream { giveBack(order, of: handle) }
        if isFinished { removeFlight(handle) } else { armFlight(handle) }
        if clients.contains(client), owns(client, handle) { answerClient(client, &orders) }
        guard !isFinished else { return serveCarried(client) }
        for case .connect(let leg, let backend, let isFresh) in orders.upstream
        where flights.contains(handle) {
            connect(Assignment(flight: handle, leg: leg), backend: backend, isFresh: isFresh)
        }
    }

    private mutating func giveBack(_ order: ExchangeOrders.Upstream, of flight: Handle) {
        switch order {
        case .connect: break
        case .cancel(let leg): cancel(Assignment(flight: flight, leg: leg))
        case .release(let leg):
            if let connection = connection(of: Assignment(flight: flight, leg: leg)) {
                beginReleasing(connection)
            }
        }
    }

    mutating func flightIsDue(_ handle: Handle) {
        flights[handle].armedFor = nil
        flights[handle].exchange.timeAdvanced(context: &context, orders: &orders)
        carryOut(handle)
    }

    /// Arms the timer of a flight when its exchange wants to be woken earlier than it will be.
    private mutating func armFlight(_ handle: Handle) {
        guard let deadline = flights[handle].exchange.nextDeadline else { return }
        if let armed = flights[handle].armedFor, armed <= deadline { return }
        flights[handle].armedFor = deadline
        wheel.arm(TimerSlot.flight(Int(handle.index)).index, at: deadline)
    }

    private mutating func removeFlight(_ handle: Handle) {
        _ = flights.remove(handle)
        wheel.cancel(TimerSlot.flight(Int(handle.index)).index)
    }

    /// Whether a client is being served by this flight, and not by a later one.
    private func owns(_ client: Handle, _ flight: Handle) -> Bool {
        guard case .serving(let serving) = clients[client].state else { return false }
        return serving.flight == flight
    }

    /// Stops reading the backend of a client that does not keep up, and goes on when it does (D10).
    mutating func regulate(_ client: Handle) {
        let backlog = clients[client].transport.backlog
        let wasSlow = clients[client].isSlow
        let isSlow =
            backlog > (wasSlow ? Limits.clientBacklogBytes / 2 : Limits.clientBacklogBytes)
        guard isSlow != wasSlow else { return }
        clients[client].isSlow = isSlow
        guard case .serving(let serving) = clients[client].state, let flight = serving.flight,
            flights.contains(flight)
        else { return }
        flights[flight].exchange.clientIsSlow(isSlow, context: &context)
        for upstream in upstreams.handles {
            guard upstreams[upstream].assignment?.flight == flight else { continue }
            upstreams[upstream].transport.setReading(!isSlow, &kernel)
        }
        if !isSlow { armFlight(flight) }
    }

    /// The connection that a leg uses; nil while it waits for one.
    func connection(of assignment: Assignment) -> Handle? {
        guard flights.contains(assignment.flight) else { return nil }
        return flights[assignment.flight].legs.first { $0.leg == assignment.leg }?.connection
    }
}
