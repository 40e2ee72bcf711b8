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
        guard !orders.isEmpty || flights[handle].exchange.isFinished else {
            return armFlight(handle)
        }
        var taken = spareOrders.popLast() ?? ExchangeOrders()
        swap(&taken, &orders)
        carryOut(handle, taken)
        taken.reset()
        spareOrders.append(taken)
    }

    private mutating func carryOut(_ handle: Handle, _ orders: ExchangeOrders) {
        if !orders.logLine.isEmpty { logBuffer.append(contentsOf: orders.logLine) }
        // A request that was admitted just now goes nowhere before it is recorded.
        let isRecorded = orders.records.isEmpty
        let isSettled = orders.settledRecord != nil
        journal.take(from: orders)
        let client = flights[handle].client
        let stream = flights[handle].stream
        let isFinished = flights[handle].exchange.isFinished
        for order in orders.upstream { giveBack(order, of: handle) }
        if isFinished { removeFlight(handle) } else { armFlight(handle) }
        if let stream {
            answerStream(client, stream, of: handle, orders)
        } else if clients.contains(client), owns(client, handle) {
            answerClient(client, orders, isSettled: isSettled)
        }
        guard !isFinished else { return serveCarried(client) }
        if let images = orders.images {
            let admission = Admission(flight: handle, step: .fetch(images))
            isRecorded ? carryOut(admission) : journal.admissions.append(admission)
        }
        for case .connect(let leg, let backend, let isFresh) in orders.upstream
        where flights.contains(handle) {
            let step = Admission.Step.connect(leg: leg, backend: backend, isFresh: isFresh)
            let admission = Admission(flight: handle, step: step)
            isRecorded ? carryOut(admission) : journal.admissions.append(admission)
        }
    }

    private mutating func giveBack(_ order: ExchangeOrders.Upstream, of flight: Handle) {
        switch order {
        case .connect: break
        case .cancel(let leg): cancel(Assignment(flight: flight, leg: leg))
        case .release(let leg):
            if let leg = self.leg(of: Assignment(flight: flight, leg: leg)) { beginReleasing(leg) }
        }
    }

    mutating func flightIsDue(_ handle: Handle) {
        flights[handle].armedFor = nil
        if let deadline = flights[handle].bodyDeadline, context.now >= deadline {
            flights[handle].bodyDeadline = nil
            flights[handle].exchange.requestFailed(
                Self.bodyTooSlow, context: &context, orders: orders)
        } else {
            flights[handle].exchange.timeAdvanced(context: &context, orders: orders)
        }
        carryOut(handle)
    }

    static var bodyTooSlow: HTTPFailure {
        HTTPFailure(status: 408, reason: "The request's body came too slowly.")
    }

    /// Arms the timer of a flight when it must be woken earlier than it will be.
    mutating func armFlight(_ handle: Handle) {
        let exchangeDue = flights[handle].exchange.nextDeadline
        let bodyDue = flights[handle].bodyDeadline
        guard let first = exchangeDue ?? bodyDue else { return }
        let deadline = min(first, bodyDue ?? first)
        if let armed = flights[handle].armedFor, armed <= deadline { return }
        flights[handle].armedFor = deadline
        wheel.arm(TimerSlot.flight(Int(handle.index)).index, at: deadline)
    }

    private mutating func removeFlight(_ handle: Handle) {
        let flight = flights.remove(handle)
        wheel.cancel(TimerSlot.flight(Int(handle.index)).index)
        guard epochs.flightEnded(flight.epoch) else { return }
        for pool in pools.handles { removeIfUnused(pool) }
    }

    /// Whether a client is being served by this flight, and not by a later one.
    @inline(__always)
    private func owns(_ client: Handle, _ flight: Handle) -> Bool {
        guard case .serving(let serving) = clients[client].state else { return false }
        return serving.flight == flight
    }

    /// Stops reading the backend of a client that does not keep up, and goes on when it does (D10).
    mutating func regulate(_ handle: Handle) {
        guard flights.contains(handle), let (backlog, limit) = backlog(of: handle) else { return }
        let wasSlow = flights[handle].isSlow
        let isSlow = backlog > (wasSlow ? limit / 2 : limit)
        guard isSlow != wasSlow else { return }
        flights[handle].isSlow = isSlow
        flights[handle].exchange.clientIsSlow(isSlow, context: &context)
        for leg in flights[handle].legs where upstreams.contains(leg.connection) {
            setReading(!isSlow, leg)
        }
        if !isSlow { armFlight(handle) }
    }

    private mutating func setReading(_ isReading: Bool, _ leg: Flight.Leg) {
        if let stream = leg.stream, case .multiplexed(let session) = upstreams[leg.connection].state
        {
            sessions[session].http2.setReading(isReading, stream: stream)
            markDirty(session)
        } else {
            upstreams[leg.connection].transport.setReading(isReading, &kernel)
        }
    }

    /// What a flight's client has not taken, and how much of that is bearable; nil: it has gone.
    @inline(__always)
    private func backlog(of handle: Handle) -> (Int, limit: Int)? {
        let client = flights[handle].client
        guard clients.contains(client) else { return nil }
        guard let stream = flights[handle].stream else {
            return (clients[client].transport.backlog, Limits.clientBacklogBytes)
        }
        guard case .multiplexed(let session) = clients[client].state,
            sessions[session].http2.contains(stream)
        else { return nil }
        return (sessions[session].http2.backlog(of: stream), Limits.http2StreamBacklogBytes)
    }

    /// The connection that a leg uses, and its stream there; nil while it waits for one.
    @inline(__always)
    func leg(of assignment: Assignment) -> Flight.Leg? {
        guard flights.contains(assignment.flight) else { return nil }
        return flights[assignment.flight].legs.first { $0.number == assignment.leg }
    }
}
