import Gateway
import Primitives
import Translation
import Wire

/// The clients' side of a worker: bytes in, requests out; answers in, bytes out.
extension Worker where K: ~Copyable {
    mutating func clientIsReady(_ handle: Handle, _ event: Readiness) {
        if event.isWritable, !flushClient(handle) { return }
        if event.isReadable, !clients[handle].hasEnded {
            readClient(handle)
        } else if event.isBroken {
            closeClient(handle)
        }
    }

    /// Reads once and serves what is complete.
    mutating func readClient(_ handle: Handle) {
        if readLargeBody(handle) { return }
        var buffer: [UInt8] = []
        var plaintext: [UInt8] = []
        swap(&buffer, &readBuffer)
        swap(&plaintext, &self.plaintext)
        let received = clients[handle].transport.receive(
            &kernel, limit: readLimit(handle), buffer: &buffer, plaintext: &plaintext)
        switch received {
        case .plain(let count): clientSent(handle, buffer.span.extracting(0..<count))
        case .decrypted: clientSent(handle, plaintext.span)
        case .nothing: break
        case .end: clientEnded(handle)
        case .broken: closeClient(handle)
        }
        swap(&buffer, &readBuffer)
        swap(&plaintext, &self.plaintext)
        // It sends on and does not read: TLS answers changes of keys, whatever is spoken.
        if clients.contains(handle), clients[handle].transport.backlog > Limits.clientUnreadBytes {
            clients[handle].transport.setReading(false, &kernel)
        }
    }

    /// Requests of HTTP/1 come one after another; those of HTTP/2 are all served at once, and the
    /// first bytes may be either's.
    @inline(__always)
    private func readLimit(_ handle: Handle) -> Int {
        switch clients[handle].state {
        case .greeting, .multiplexed: Limits.multiplexedReadBytes
        case .idle, .serving, .closing, .lingering: Limits.readBytes
        }
    }

    /// Reads once, straight to where a large body is kept. False: none is coming.
    private mutating func readLargeBody(_ handle: Handle) -> Bool {
        let remaining = clients[handle].reader.remainingBody
        guard remaining >= Limits.readBytes, clients[handle].transport.tls == nil,
            case .serving(let serving) = clients[handle].state, let flight = serving.flight,
            flights.contains(flight), var body = flights[flight].exchange.lendBody()
        else { return false }
        let before = body.count
        let received = clients[handle].transport.receive(
            &kernel, limit: min(remaining, Limits.bodyReadBytes), behind: &body)
        let count = body.count - before
        clients[handle].reader.skipBody(count)
        flights[flight].exchange.bodyReturned(
            body, longerBy: count, context: &context, orders: orders)
        switch received {
        case .plain:
            awaitMoreBody(handle)
            carryOut(flight)
            // The reader only has to say whether that was all.
            serve(handle, [UInt8]().span)
        case .decrypted, .nothing: break
        case .end: clientEnded(handle)
        case .broken: closeClient(handle)
        }
        return true
    }

    private mutating func clientSent(_ handle: Handle, _ bytes: Span<UInt8>) {
        switch clients[handle].state {
        case .lingering: return
        case .greeting: greet(handle, bytes)
        case .multiplexed(let session): serveStreams(handle, session, bytes)
        case .idle, .serving, .closing:
            guard !clients[handle].carried.isEmpty else { return serve(handle, bytes) }
            clients[handle].carried.append(span: bytes)
            serveCarried(handle)
        }
    }

    /// The first bytes decide which version is spoken: with TLS both sides have agreed, without it
    /// an HTTP/2 client begins with a preface (RFC 9113 sections 3.2 and 3.3).
    private mutating func greet(_ handle: Handle, _ bytes: Span<UInt8>) {
        var greeting: [UInt8] = []
        swap(&greeting, &clients[handle].carried)
        greeting.append(span: bytes)
        // Bytes of the protocol come behind the handshake: who the client is stands by now.
        clients[handle].subject = clients[handle].transport.clientSubject
        let choice =
            if clients[handle].transport.tls != nil {
                clients[handle].transport.applicationProtocol == .http2
                    ? HTTP2Preface.Match.whole : .none
            } else { HTTP2Preface.match(greeting.span) }
        switch choice {
        case .partial: swap(&greeting, &clients[handle].carried)
        case .whole:
            let session = beginSession(handle)
            serveStreams(handle, session, greeting.span)
        case .none:
            clients[handle].state = .idle
            serve(handle, greeting.span)
        }
    }

    /// Serves what a client has sent ahead, or the head that has become complete.
    mutating func serveCarried(_ handle: Handle) {
        guard clients.contains(handle), !clients[handle].carried.isEmpty else { return }
        var bytes: [UInt8] = []
        swap(&bytes, &clients[handle].carried)
        serve(handle, bytes.span)
    }

    /// Reads requests from `bytes` until one has to wait; keeps the rest.
    private mutating func serve(_ handle: Handle, _ bytes: Span<UInt8>) {
        var position = 0
        reading: while clients.contains(handle) {
            switch clients[handle].state {
            case .greeting, .closing, .lingering, .multiplexed: return
            case .serving(let serving) where serving.isRead: break reading
            case .idle where isBehind(handle): break reading
            case .idle, .serving: break
            }
            switch clients[handle].reader.next(bytes, position: &position) {
            case .needsMore: break reading
            case .head: requestHeadArrived(handle)
            case .body(let range): requestBodyArrived(handle, bytes.extracting(range))
            case .end: requestEnded(handle)
            case .failed(let failure): requestFailed(handle, failure)
            }
        }
        guard clients.contains(handle) else { return }
        if position < bytes.count {
            clients[handle].carried.append(span: bytes.extracting(position..<bytes.count))
            limitCarried(handle)
        }
        // Of a client that has sent its end no whole request is left.
        if clients[handle].hasEnded, case .idle = clients[handle].state, !isBehind(handle) {
            beginClosing(handle)
        }
    }

    /// Whether a client has left so much unread that it gets no more answers: it would make us keep
    /// them all.
    @inline(__always)
    private func isBehind(_ handle: Handle) -> Bool {
        clients[handle].transport.backlog > Limits.clientBacklogBytes
    }

    /// A client that sends far ahead waits until its answers have gone out.
    private mutating func limitCarried(_ handle: Handle) {
        switch clients[handle].state {
        case .serving: guard clients[handle].carried.count > Limits.pipelinedBytes else { return }
        case .idle: guard isBehind(handle) else { return }
        case .greeting, .closing, .lingering, .multiplexed: return
        }
        clients[handle].transport.setReading(false, &kernel)
    }

    /// Goes on with a client that has read what was kept for it.
    private mutating func resumeReading(_ handle: Handle) {
        guard !isBehind(handle) else { return }
        if !clients[handle].hasEnded, clients[handle].carried.count <= Limits.pipelinedBytes {
            clients[handle].transport.setReading(true, &kernel)
        }
        if case .idle = clients[handle].state { serveCarried(handle) }
    }

    // MARK: - Requests

    private mutating func requestHeadArrived(_ handle: Handle) {
        let head = clients[handle].reader.head
        var serving = ClientConnection.Serving(
            flight: nil, keepAlive: head.isKeepAlive && !context.isDraining,
            isHead: head.method == .head, version: head.version)
        if case .admin = role {
            clients[handle].state = .serving(serving)
            return answerAdmin(head, AdminTicket(client: handle, stream: nil))
        }
        setClientDeadline(handle, Limits.requestBodyIdleMilliseconds)
        let flight = openFlight(head, client: handle, stream: nil)
        let wantsBody = flights[flight].exchange.bodyPlan == .read
        serving.flight = flight
        clients[handle].state = .serving(serving)
        if wantsBody, head.expectsContinue {
            var line: [UInt8] = []
            HTTP1Writer.continueLine(into: &line)
            guard sendToClient(handle, line.span) else { return }
        }
        carryOut(flight)
    }

    /// An exchange for a request whose head has just arrived; its orders are still to be carried
    /// out.
    mutating func openFlight(_ head: RequestHead, client: Handle, stream: Handle?) -> Handle {
        let exchange = Exchange(
            head: head, subject: clients[client].subject, plan: plan, context: &context,
            orders: orders)
        epochs.flightBegan()
        return flights.insert(
            Flight(
                exchange: exchange, client: client, stream: stream, pools: poolOfBackend,
                epoch: epochs.current))
    }

    private mutating func requestBodyArrived(_ handle: Handle, _ body: Span<UInt8>) {
        guard case .serving(let serving) = clients[handle].state, let flight = serving.flight,
            flights.contains(flight)
        else { return }
        awaitMoreBody(handle)
        flights[flight].exchange.bodyArrived(body, context: &context, orders: orders)
        carryOut(flight)
    }

    private mutating func awaitMoreBody(_ handle: Handle) {
        clients[handle].deadline = context.now.advanced(
            byMilliseconds: Limits.requestBodyIdleMilliseconds)
    }

    private mutating func requestEnded(_ handle: Handle) {
        guard case .serving(var serving) = clients[handle].state else { return }
        serving.isRead = true
        clients[handle].state = .serving(serving)
        guard let flight = serving.flight, flights.contains(flight) else {
            // The admin side may still be at work on it.
            if serving.hasHead { finishAnswer(handle) }
            return
        }
        flights[flight].exchange.bodyEnded(context: &context, orders: orders)
        carryOut(flight)
    }

    /// The bytes make no request: say so if nothing has been said, and close.
    mutating func requestFailed(_ handle: Handle, _ failure: HTTPFailure) {
        if case .serving(let serving) = clients[handle].state, let flight = serving.flight,
            flights.contains(flight), !serving.hasHead
        {
            flights[flight].exchange.requestFailed(failure, context: &context, orders: orders)
            carryOut(flight)
            return
        }
        guard case .idle = clients[handle].state else { return closeClient(handle) }
        clients[handle].state = .serving(
            ClientConnection.Serving(
                flight: nil, keepAlive: false, isHead: false, version: .http11))
        let orders = orders(for: failure)
        answerClient(handle, orders)
    }

    /// The answer to what could not become an exchange.
    mutating func orders(for failure: HTTPFailure) -> ExchangeOrders {
        guard case .gateway = role else { return Self.adminOrders(for: failure) }
        let orders = ExchangeOrders()
        Exchange.refuse(failure, plan: plan, context: &context, orders: orders)
        logBuffer.append(contentsOf: orders.logLine)
        return orders
    }

    // MARK: - Answers

    /// Sends what `orders` holds for the client: one write for head, body and end. The end of an
    /// answer that settles a request waits until that is recorded.
    mutating func answerClient(
        _ handle: Handle, _ orders: ExchangeOrders, isSettled: Bool = false
    ) {
        guard case .serving(var serving) = clients[handle].state else { return }
        var bytes: [UInt8] = []
        swap(&bytes, &writeBuffer)
        bytes.removeAll(keepingCapacity: true)
        if let head = orders.head {
            serving.hasHead = true
            serving.framing = head.framing
            if case .chunked = head.framing, serving.version == .http10 {
                serving.framing = .untilClose
                serving.keepAlive = false
            }
            if !serving.isRead, clients[handle].reader.head.framing != .none {
                // The rest of the request is not wanted: the connection cannot be used again.
                serving.keepAlive = false
            }
            if context.isDraining { serving.keepAlive = false }
            date.advance(to: context.wall)
            HTTP1Writer.responseHead(
                status: head.status, date: date.line, fields: head.fields,
                framing: serving.framing, keepAlive: serving.keepAlive, version: serving.version,
                into: &bytes)
        }
        if !orders.body.isEmpty, !serving.isHead {
            let body = orders.body
            if case .chunked = serving.framing {
                HTTP1Writer.chunk(body.span, into: &bytes)
            } else {
                bytes.append(span: body.span)
            }
        }
        let isComplete = orders.ending == .complete
        if isComplete, case .chunked = serving.framing, !serving.isHead {
            HTTP1Writer.lastChunk(trailers: orders.trailers, into: &bytes)
        }
        clients[handle].state = .serving(serving)
        let isAlive: Bool
        if isComplete, isSettled {
            hold(&bytes, for: handle)
            isAlive = true
        } else {
            isAlive = bytes.isEmpty || sendToClient(handle, bytes.span)
            if bytes.count > Limits.keptBufferBytes { bytes = [] }
        }
        swap(&bytes, &writeBuffer)
        guard isAlive else { return }
        if isComplete { return finishAnswer(handle) }
        if let flight = serving.flight { regulate(flight) }
    }

    /// The answer is complete: on to the next request, or towards the end.
    private mutating func finishAnswer(_ handle: Handle) {
        guard case .serving(let serving) = clients[handle].state else { return }
        if serving.keepAlive, !serving.isRead {
            // No body was announced: the reader only has to say so.
            return
        }
        // Requests that were sent ahead of the client's end are served, too.
        let hasEnded = clients[handle].hasEnded
        guard serving.keepAlive, !hasEnded || !clients[handle].carried.isEmpty else {
            return beginClosing(handle)
        }
        clients[handle].state = .idle
        clients[handle].reader.reset()
        setClientDeadline(
            handle,
            drain.isClosed ? Limits.drainGreetingMilliseconds : Limits.clientIdleMilliseconds)
        if !hasEnded { clients[handle].transport.setReading(true, &kernel) }
    }

    /// Sends to a client. False: it has gone, and so has its connection.
    mutating func sendToClient(_ handle: Handle, _ bytes: Span<UInt8>) -> Bool {
        if let index = clients[handle].heldAnswer {
            // What comes later must not overtake.
            heldAnswers[index].bytes.append(span: bytes)
            return true
        }
        let hadRoom = clients[handle].transport.backlog == 0
        guard clients[handle].transport.send(bytes, &kernel) else {
            closeClient(handle)
            return false
        }
        if hadRoom, clients[handle].transport.backlog > 0 {
            // From now on it is waited for, whatever it has been given time for before.
            clients[handle].deadline = context.now.advanced(
                byMilliseconds: Limits.clientStallMilliseconds)
        }
        return true
    }

    /// Sends what the client had no room for. False: it has gone.
    private mutating func flushClient(_ handle: Handle) -> Bool {
        guard clients[handle].transport.flush(&kernel) else {
            closeClient(handle)
            return false
        }
        switch clients[handle].state {
        case .multiplexed(let session):
            sessions[session].activeAt = context.now
            markDirty(session)
            return true
        case .closing:
            guard closeWhenSent(handle) else { return false }
            if case .lingering = clients[handle].state { return true }
        case .serving(let serving):
            if let flight = serving.flight { regulate(flight) }
            resumeReading(handle)
        case .idle:
            resumeReading(handle)
            guard clients.contains(handle) else { return false }
        case .greeting, .lingering: break
        }
        clients[handle].deadline = context.now.advanced(
            byMilliseconds: Limits.clientStallMilliseconds)
        return true
    }
}
