import Gateway
import Primitives
import Wire

/// Clients that speak HTTP/2: many requests on one connection, each with an exchange of its own.
extension Worker where K: ~Copyable {
    /// The client speaks HTTP/2 from now on.
    mutating func beginSession(_ handle: Handle) -> Handle {
        var limits = HTTP2Limits()
        limits.headerListBytes = plan.limits.headerBytes
        let session = sessions.insert(
            MultiplexedSession(
                HTTP2Session(serverWith: limits, now: context.now), of: .client(handle),
                now: context.now))
        clients[handle].state = .multiplexed(session)
        setClientDeadline(handle, Limits.http2LookMilliseconds)
        if context.isDraining { announceEnd(handle, session) }
        return session
    }

    mutating func serveStreams(_ handle: Handle, _ session: Handle, _ bytes: Span<UInt8>) {
        sessions[session].http2.receive(bytes, now: context.now)
        // A client that sends and does not read is not alive.
        if clients[handle].transport.backlog == 0 { sessions[session].activeAt = context.now }
        markDirty(session)
        tellStreams(handle, session, bytes)
        guard sessions.contains(session), sessions[session].http2.isCongested else { return }
        clients[handle].transport.setReading(false, &kernel)
    }

    /// Hands what a session has understood to the exchanges.
    private mutating func tellStreams(
        _ handle: Handle, _ session: Handle, _ bytes: Span<UInt8>
    ) {
        while sessions.contains(session), let event = sessions[session].http2.nextEvent() {
            switch event {
            case .head(let stream): streamHeadArrived(handle, session, stream)
            case .refused(let stream, let failure):
                let orders = orders(for: failure)
                answer(session, stream, orders)
            case .body(let stream, let range):
                streamBodyArrived(session, stream, bytes.extracting(range))
            case .end(let stream):
                guard let flight = flight(of: session, stream) else { continue }
                flights[flight].bodyDeadline = nil
                flights[flight].exchange.bodyEnded(context: &context, orders: orders)
                carryOut(flight)
            case .closed(let stream, _):
                if let flight = flight(of: session, stream) { clientLeft(flight) }
            case .roomChanged: break
            }
        }
    }

    private mutating func streamHeadArrived(
        _ handle: Handle, _ session: Handle, _ stream: Handle
    ) {
        let head: RequestHead
        do throws(HTTPFailure) {
            head = try sessions[session].http2.requestHead(of: stream)
        } catch {
            let orders = orders(for: error)
            return answer(session, stream, orders)
        }
        if case .admin = role {
            return answerAdmin(head, AdminTicket(client: handle, stream: stream))
        }
        let flight = openFlight(head, client: handle, stream: stream)
        sessions[session].http2.setOwner(HTTP2StreamOwner(word: flight.word), of: stream)
        if flights[flight].exchange.bodyPlan == .read {
            flights[flight].bodyDeadline = context.now.advanced(
                byMilliseconds: Limits.requestBodyIdleMilliseconds)
            if head.expectsContinue {
                sessions[session].http2.respondInterim(stream, status: 100)
            }
        }
        carryOut(flight)
    }

    private mutating func streamBodyArrived(
        _ session: Handle, _ stream: Handle, _ body: Span<UInt8>
    ) {
        guard let flight = flight(of: session, stream) else { return }
        if flights[flight].bodyDeadline != nil {
            flights[flight].bodyDeadline = context.now.advanced(
                byMilliseconds: Limits.requestBodyIdleMilliseconds)
        }
        flights[flight].exchange.bodyArrived(body, context: &context, orders: orders)
        carryOut(flight)
    }

    /// The flight that serves a stream, while its exchange lives.
    @inline(__always)
    private func flight(of session: Handle, _ stream: Handle) -> Handle? {
        guard let owner = sessions[session].http2.owner(of: stream) else { return nil }
        let flight = Handle(word: owner.word)
        return flights.contains(flight) ? flight : nil
    }

    // MARK: - Answers

    /// Hands what an exchange has ordered to its stream; it leaves at the end of the turn.
    mutating func answerStream(
        _ client: Handle, _ stream: Handle, of flight: Handle, _ orders: ExchangeOrders
    ) {
        guard clients.contains(client), case .multiplexed(let session) = clients[client].state,
            sessions[session].http2.contains(stream)
        else { return }
        answer(session, stream, orders)
        guard orders.ending == .open, flights.contains(flight), !flights[flight].isSlow else {
            return
        }
        regulate(flight)
        if flights[flight].isSlow { sessions[session].slowFlights.append(flight) }
    }

    mutating func answer(
        _ session: Handle, _ stream: Handle, _ orders: ExchangeOrders
    ) {
        let isComplete = orders.ending == .complete
        if let head = orders.head {
            var length: Int?
            if case .length(let count) = head.framing { length = count }
            date.advance(to: context.wall)
            sessions[session].http2.respond(
                stream, status: head.status, date: date.value, fields: head.fields,
                length: length, isLast: isComplete && orders.body.isEmpty)
        }
        if orders.trailers.count > 0 {
            sessions[session].http2.setTrailers(orders.trailers, of: stream)
        }
        if isComplete || !orders.body.isEmpty {
            let body = orders.body
            sessions[session].http2.append(body.span, to: stream, isLast: isComplete)
        }
        if orders.head != nil || isComplete || !orders.body.isEmpty { markDirty(session) }
    }

    /// Sends what a client's streams have ready, in one write where the client takes it.
    mutating func flushClientSession(_ handle: Handle, _ session: Handle) {
        let hadRoom = clients[handle].transport.backlog == 0
        guard sendOutput(session) else { return closeClient(handle) }
        if hadRoom, clients[handle].transport.backlog > 0 {
            sessions[session].activeAt = context.now
        }
        tellStreams(handle, session, [UInt8]().span)
        guard sessions.contains(session) else { return }
        if clients[handle].transport.backlog == 0 {
            clients[handle].transport.setReading(true, &kernel)
        }
        if sessions[session].http2.isOver, clients[handle].transport.backlog == 0 {
            // First the client: what its streams' ends set off finds no session any more.
            linger(handle)
            return endSession(session)
        }
        for flight in sessions[session].slowFlights { regulate(flight) }
        let flights = sessions[session].slowFlights.filter {
            self.flights.contains($0) && self.flights[$0].isSlow
        }
        sessions[session].slowFlights = flights
    }

    // MARK: - Ends

    /// All streams of a client end with its session.
    mutating func endSession(_ session: Handle) {
        let owners = sessions[session].http2.owners
        _ = sessions.remove(session)
        for owner in owners { clientLeft(Handle(word: owner.word)) }
    }

    /// Tells a client that its connection will end (RFC 9113 section 6.8): first that it should
    /// open another one, and after a round trip that nothing more is taken here.
    mutating func announceEnd(_ handle: Handle, _ session: Handle) {
        guard case .none = sessions[session].farewell else { return }
        sessions[session].farewell = .announced
        sessions[session].http2.announceShutdown()
        setClientDeadline(handle, Limits.http2FarewellMilliseconds)
        markDirty(session)
    }

    /// Nothing more is taken on a connection; it ends with the last of its streams.
    mutating func sayLastWord(_ session: Handle) {
        if case .said = sessions[session].farewell { return }
        sessions[session].farewell = .said
        sessions[session].http2.shutDown()
        markDirty(session)
    }

    /// Looks after what no event tells of: silence, and streams that nobody reads.
    mutating func clientSessionIsDue(_ handle: Handle, _ session: Handle) {
        let silence = context.now.milliseconds(since: sessions[session].activeAt)
        if clients[handle].transport.backlog > 0, silence >= Limits.clientStallMilliseconds {
            return closeClient(handle)
        }
        if case .announced = sessions[session].farewell { sayLastWord(session) }
        if sessions[session].http2.streamCount == 0, silence >= Limits.clientIdleMilliseconds {
            sayLastWord(session)
        }
        if sessions[session].http2.isHeadLate(Limits.requestHeadMilliseconds, now: context.now) {
            return closeClient(handle)
        }
        let stalled = sessions[session].http2.stalled(
            Limits.clientStallMilliseconds, now: context.now)
        for stream in stalled {
            if let flight = flight(of: session, stream) { clientLeft(flight) }
            guard sessions.contains(session) else { return }
            sessions[session].http2.reset(stream, .cancel)
            markDirty(session)
        }
        setClientDeadline(handle, Limits.http2LookMilliseconds)
    }
}
