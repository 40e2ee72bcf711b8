import Gateway
import Primitives
import Wire

/// How connections of clients end: by the client, by us, or by the clock.
extension Worker where K: ~Copyable {
    /// The client sends no more. After a whole request it may still want its answer; whether it is
    /// there at all shows when something is sent: a closed socket answers with a reset.
    mutating func clientEnded(_ handle: Handle) {
        clients[handle].hasEnded = true
        guard case .serving(let serving) = clients[handle].state, serving.isRead,
            serving.version != .http10
        else { return endClient(handle) }
        clients[handle].transport.setReading(false, &kernel)
        var probe: [UInt8] = []
        switch serving.framing {
        case .none where !serving.hasHead: HTTP1Writer.processingLine(into: &probe)
        case .chunked: HTTP1Writer.chunk([UInt8](": keepalive\n\n").span, into: &probe)
        case .none, .length, .untilClose: break
        }
        _ = sendToClient(handle, probe.span)
    }

    /// Closes a client's connection; its exchange, if any, learns that the client has gone.
    mutating func closeClient(_ handle: Handle) {
        var connection = clients.remove(handle)
        connection.transport.close(&kernel)
        wheel.cancel(TimerSlot.client(Int(handle.index)).index)
        plan.metrics.clientConnections.add(-1)
        switch connection.state {
        case .serving(let serving): if let flight = serving.flight { clientLeft(flight) }
        case .multiplexed(let session): endSession(session)
        case .greeting, .idle, .closing, .lingering: break
        }
    }

    mutating func clientLeft(_ flight: Handle) {
        guard flights.contains(flight) else { return }
        flights[flight].exchange.clientLeft(context: &context, orders: orders)
        carryOut(flight)
    }

    mutating func clientIsDue(_ handle: Handle) {
        guard context.now >= clients[handle].deadline else {
            return wheel.arm(
                TimerSlot.client(Int(handle.index)).index, at: clients[handle].deadline)
        }
        switch clients[handle].state {
        case .greeting, .idle, .closing, .lingering: return closeClient(handle)
        case .multiplexed(let session): clientSessionIsDue(handle, session)
        case .serving(let serving):
            if clients[handle].transport.backlog > 0 { return closeClient(handle) }
            guard serving.isRead || serving.hasHead else {
                return requestFailed(handle, Self.bodyTooSlow)
            }
            // The exchange keeps the clocks while it works.
            setClientDeadline(handle, Limits.clientStallMilliseconds)
        }
    }

    mutating func setClientDeadline(_ handle: Handle, _ milliseconds: Int) {
        let deadline = context.now.advanced(byMilliseconds: milliseconds)
        clients[handle].deadline = deadline
        wheel.arm(TimerSlot.client(Int(handle.index)).index, at: deadline)
    }

    // MARK: - Closing

    /// Everything is said: closes when it has been sent.
    mutating func beginClosing(_ handle: Handle) {
        var lingers = false
        if case .serving(let serving) = clients[handle].state { lingers = !serving.isRead }
        clients[handle].state = .closing(lingers: lingers)
        setClientDeadline(handle, Limits.clientStallMilliseconds)
        closeWhenSent(handle)
    }

    /// Closes a client to whom everything has been said and sent. Whether it is still there.
    @discardableResult
    mutating func closeWhenSent(_ handle: Handle) -> Bool {
        guard case .closing(let lingers) = clients[handle].state,
            clients[handle].transport.backlog == 0, clients[handle].heldAnswer == nil
        else { return true }
        if lingers, !clients[handle].hasEnded {
            linger(handle)
            return true
        }
        closeClient(handle)
        return false
    }

    /// Closes a client that is done, once it has been sent the answer that waits for the journal,
    /// or for room.
    mutating func endClient(_ handle: Handle) {
        guard clients[handle].heldAnswer != nil || clients[handle].transport.backlog > 0 else {
            return closeClient(handle)
        }
        switch clients[handle].state {
        case .idle, .closing:
            if clients[handle].hasEnded { clients[handle].transport.setReading(false, &kernel) }
            beginClosing(handle)
        case .greeting, .serving, .lingering, .multiplexed: closeClient(handle)
        }
    }

    /// What still comes is read and thrown away for a while: a reset must not overtake the answer.
    mutating func linger(_ handle: Handle) {
        clients[handle].state = .lingering
        clients[handle].carried = []
        clients[handle].transport.endSending(&kernel)
        clients[handle].transport.setReading(true, &kernel)
        setClientDeadline(handle, Limits.lingerMilliseconds)
    }
}
