import Gateway
import Primitives
import Translation
import Wire

/// Backends that speak HTTP/2: many legs on one connection, each with a stream of its own.
extension Worker where K: ~Copyable {
    /// The backend speaks HTTP/2 on this connection from now on.
    mutating func beginBackendSession(_ handle: Handle) {
        let session = sessions.insert(
            MultiplexedSession(
                HTTP2Session(clientWith: HTTP2Limits(), now: context.now), of: .upstream(handle),
                now: context.now))
        upstreams[handle].state = .multiplexed(session)
        pools[upstreams[handle].pool].multiplexed.append(handle)
        setUpstreamDeadline(handle, Limits.http2LookMilliseconds)
        markDirty(session)
    }

    /// The first connection of a pool that takes another stream: the others may fall idle.
    @inline(__always)
    func connectionWithRoom(_ pool: Handle) -> Handle? {
        pools[pool].multiplexed.first { handle in
            guard case .multiplexed(let session) = upstreams[handle].state else { return false }
            return sessions[session].http2.room > 0
        }
    }

    /// A leg sends its request on a stream of its own; it leaves at the end of the turn.
    mutating func sendStream(_ handle: Handle, _ assignment: Assignment) {
        guard case .multiplexed(let session) = upstreams[handle].state else { return }
        // A connection that was silent may be just being closed by its backend.
        let isReused = sessions[session].hasServed && sessions[session].http2.streamCount == 0
        let request = flights[assignment.flight].exchange.legConnected(
            assignment.leg, isReused: isReused, context: &context, orders: orders)
        guard let request else { return carryOut(assignment.flight) }
        let backend = pools[upstreams[handle].pool].backend
        let stream = sessions[session].http2.request(
            path: request.path, authority: backend.hostField, isTLS: backend.url.isTLS,
            fields: request.fields, body: request.body,
            owner: HTTP2StreamOwner(word: assignment.flight.word, number: assignment.leg))
        guard let stream else { return legFailed(assignment, .unprocessed) }
        sessions[session].hasServed = true
        flights[assignment.flight].remember(assignment.leg, handle, stream: stream)
        markDirty(session)
        carryOut(assignment.flight)
    }

    // MARK: - Answers

    mutating func serveLegs(_ handle: Handle, _ session: Handle, _ bytes: Span<UInt8>) {
        sessions[session].http2.receive(bytes, now: context.now)
        sessions[session].activeAt = context.now
        markDirty(session)
        tellLegs(handle, session, bytes)
    }

    /// Hands what a session has understood to the exchanges. What consecutive events of one stream
    /// order goes out together.
    private mutating func tellLegs(_ handle: Handle, _ session: Handle, _ bytes: Span<UInt8>) {
        var open: Handle?
        while sessions.contains(session), let event = sessions[session].http2.nextEvent() {
            let leg = leg(for: event, of: session)
            if let flight = open, flight != leg?.flight {
                open = nil
                carryOut(flight)
            }
            guard let leg, flights.contains(leg.flight), sessions.contains(session) else {
                continue
            }
            tell(leg, event, session, bytes)
            guard flights.contains(leg.flight) else { continue }
            if hasUrgentOrders(leg.flight) {
                open = nil
                carryOut(leg.flight)
            } else {
                open = leg.flight
            }
        }
        if let open, flights.contains(open) { carryOut(open) }
        roomMayHaveChanged(handle, session)
    }

    /// The leg that an event is about, while its exchange lives.
    private func leg(for event: HTTP2Event, of session: Handle) -> Assignment? {
        switch event {
        case .head(let stream), .body(let stream, _), .end(let stream), .closed(let stream, _):
            leg(of: session, stream)
        case .refused, .roomChanged: nil
        }
    }

    /// Tells one exchange what came for its leg.
    private mutating func tell(
        _ leg: Assignment, _ event: HTTP2Event, _ session: Handle, _ bytes: Span<UInt8>
    ) {
        switch event {
        case .head(let stream): headArrived(leg, session, stream)
        case .body(_, let range):
            flights[leg.flight].exchange.legReceived(
                leg.leg, bytes.extracting(range), context: &context, orders: orders)
        case .end(let stream):
            let isCut = sessions[session].http2.backlog(of: stream) > 0
            forget(leg, session, stream)
            // RFC 9113 section 8.1: an answer that came before the whole request was sent.
            if isCut { sessions[session].http2.reset(stream, .cancel) }
            flights[leg.flight].exchange.legEnded(leg.leg, context: &context, orders: orders)
        case .closed(let stream, let code):
            forget(leg, session, stream)
            flights[leg.flight].exchange.legFailed(
                leg.leg, Self.failure(for: code), context: &context, orders: orders)
        case .refused, .roomChanged: break
        }
    }

    private mutating func headArrived(_ leg: Assignment, _ session: Handle, _ stream: Handle) {
        do throws(HTTPFailure) {
            let head = try sessions[session].http2.responseHead(of: stream)
            flights[leg.flight].exchange.legAnswered(
                leg.leg, head: head, context: &context, orders: orders)
        } catch {
            forget(leg, session, stream)
            sessions[session].http2.reset(stream, .protocolError)
            flights[leg.flight].exchange.legFailed(
                leg.leg, .malformed(error.reason), context: &context, orders: orders)
        }
    }

    private mutating func forget(_ leg: Assignment, _ session: Handle, _ stream: Handle) {
        sessions[session].http2.setOwner(nil, of: stream)
        flights[leg.flight].forget(leg.leg)
    }

    /// Why a stream ended before its answer did.
    private static func failure(for code: HTTP2ErrorCode) -> UpstreamFailure {
        switch code {
        case .refusedStream: .unprocessed
        case .none: .closed
        // nghttp2 breaks off messages that RFC 9113 section 8.1.1 calls malformed.
        case .protocolError: .malformed("its HTTP/2 message is malformed")
        default: .reset(code)
        }
    }

    /// The leg that a stream serves, while its exchange lives.
    private func leg(of session: Handle, _ stream: Handle) -> Assignment? {
        guard let owner = sessions[session].http2.owner(of: stream) else { return nil }
        let assignment = Assignment(flight: Handle(word: owner.word), leg: owner.number)
        return flights.contains(assignment.flight) ? assignment : nil
    }

    /// The legs of all streams of a session that is about to end.
    func legs(of session: Handle) -> [Assignment] {
        sessions[session].http2.owners.map {
            Assignment(flight: Handle(word: $0.word), leg: $0.number)
        }
    }

    // MARK: - Sending

    /// Sends what a backend's streams have ready, in one write where the backend takes it.
    mutating func flushBackendSession(_ handle: Handle, _ session: Handle) {
        guard sendOutput(session) else { return upstreamLost(handle, .closed) }
        tellLegs(handle, session, [UInt8]().span)
        guard sessions.contains(session), sessions[session].http2.isOver,
            upstreams[handle].transport.backlog == 0
        else { return }
        upstreamLost(handle, .closed)
    }

    /// Streams have ended, or the backend has said how many it takes, or that it takes no more.
    private mutating func roomMayHaveChanged(_ handle: Handle, _ session: Handle) {
        guard sessions.contains(session) else { return }
        let pool = upstreams[handle].pool
        if !sessions[session].http2.takesRequests {
            pools[pool].multiplexed.removeAll { $0 == handle }
        }
        serveWaiters(pool)
        closeIfUnused(handle)
    }

    // MARK: - Ends

    /// The leg's answer is not wanted any more: the backend stops working on it.
    mutating func cancelStream(_ handle: Handle, _ stream: Handle) {
        guard case .multiplexed(let session) = upstreams[handle].state,
            sessions[session].http2.contains(stream)
        else { return }
        sessions[session].http2.setOwner(nil, of: stream)
        sessions[session].http2.reset(stream, .cancel)
        markDirty(session)
    }

    /// The leg's answer is understood: its stream is read to its end, for a while.
    mutating func releaseStream(_ handle: Handle, _ stream: Handle) {
        guard case .multiplexed(let session) = upstreams[handle].state,
            sessions[session].http2.contains(stream)
        else { return }
        sessions[session].http2.setOwner(nil, of: stream)
        sessions[session].http2.setReading(true, stream: stream)
        markDirty(session)
        setUpstreamDeadline(handle, Limits.releaseMilliseconds)
    }

    /// A connection that takes no more streams, or that no plan needs, closes after its last one.
    mutating func closeIfUnused(_ handle: Handle) {
        guard upstreams.contains(handle), case .multiplexed(let session) = upstreams[handle].state,
            sessions[session].http2.streamCount == 0
        else { return }
        let isRetired = pools[upstreams[handle].pool].isRetired
        guard isRetired || !sessions[session].http2.takesRequests else { return }
        sayGoodbyeToBackend(handle, session)
    }

    mutating func sayGoodbyeToBackend(_ handle: Handle, _ session: Handle) {
        sessions[session].http2.shutDown()
        _ = sendOutput(session)
        closeUpstream(handle)
    }

    /// Looks after what no event tells of: idleness, silence, and answers that do not end.
    mutating func backendSessionIsDue(_ handle: Handle, _ session: Handle) {
        for stream in sessions[session].http2.orphans {
            sessions[session].http2.reset(stream, .cancel)
        }
        markDirty(session)
        let silence = context.now.milliseconds(since: sessions[session].activeAt)
        guard sessions[session].http2.streamCount > 0 else {
            let idleMilliseconds = pools[upstreams[handle].pool].backend.connections
                .idleMilliseconds
            if silence >= idleMilliseconds { return sayGoodbyeToBackend(handle, session) }
            return setUpstreamDeadline(handle, Limits.http2LookMilliseconds)
        }
        if let pingedAt = sessions[session].pingedAt {
            if sessions[session].activeAt > pingedAt {
                sessions[session].pingedAt = nil
            } else if context.now.milliseconds(since: pingedAt)
                >= Limits.http2PingAnswerMilliseconds
            {
                return upstreamLost(handle, .unresponsive)
            }
        } else if silence >= Limits.http2PingMilliseconds {
            sessions[session].http2.ping()
            sessions[session].pingedAt = context.now
        }
        setUpstreamDeadline(handle, Limits.http2LookMilliseconds)
    }
}
