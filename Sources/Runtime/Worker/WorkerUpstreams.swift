import Gateway
import Primitives
import Translation
import Wire

/// The backends' side of a worker: connections for legs, requests out, answers in.
extension Worker where K: ~Copyable {
    mutating func upstreamIsReady(_ handle: Handle, _ event: Readiness) {
        if case .connecting = upstreams[handle].state {
            return finishConnecting(handle)
        }
        if event.isWritable {
            let isAlive = upstreams[handle].transport.flush(&kernel)
            // A backend that does not want the rest has said why before it hung up: that is read
            // first.
            guard isAlive || event.isReadable else { return upstreamLost(handle, .closed) }
            if case .multiplexed(let session) = upstreams[handle].state { markDirty(session) }
        }
        if event.isReadable || event.isBroken { readUpstream(handle) }
    }

    private mutating func readUpstream(_ handle: Handle) {
        var buffer: [UInt8] = []
        var plaintext: [UInt8] = []
        swap(&buffer, &readBuffer)
        swap(&plaintext, &self.plaintext)
        let limit =
            upstreams[handle].reader.isReadingStream ? Limits.streamReadBytes : Limits.readBytes
        let received = upstreams[handle].transport.receive(
            &kernel, limit: limit, buffer: &buffer, plaintext: &plaintext)
        switch received {
        case .plain(let count): upstreamSent(handle, buffer.span.extracting(0..<count))
        case .decrypted:
            finishHandshake(handle)
            if upstreams.contains(handle) { upstreamSent(handle, plaintext.span) }
        case .nothing: finishHandshake(handle)
        case .end: upstreamEnded(handle)
        case .broken(let reason):
            if case .handshaking = upstreams[handle].state {
                upstreamLost(handle, .tls(reason ?? "the connection was reset"))
            } else if let reason {
                // In TLS 1.3 a server judges our certificate after we think the handshake done.
                upstreamLost(handle, .tls(reason))
            } else {
                upstreamLost(handle, .closed)
            }
        }
        swap(&buffer, &readBuffer)
        swap(&plaintext, &self.plaintext)
    }

    private mutating func upstreamSent(_ handle: Handle, _ bytes: Span<UInt8>) {
        switch upstreams[handle].state {
        // Nothing was asked: whatever this is, the connection cannot be trusted.
        case .idle: return closeUpstream(handle)
        case .multiplexed(let session): return serveLegs(handle, session, bytes)
        case .connecting, .handshaking, .busy, .releasing: break
        }
        guard !upstreams[handle].carried.isEmpty else { return readAnswer(handle, bytes) }
        var carried: [UInt8] = []
        swap(&carried, &upstreams[handle].carried)
        carried.append(span: bytes)
        readAnswer(handle, carried.span)
    }

    /// Hands an answer to its exchange; what several events order goes out together.
    private mutating func readAnswer(_ handle: Handle, _ bytes: Span<UInt8>) {
        var position = 0
        reading: while upstreams.contains(handle) {
            switch upstreams[handle].reader.next(bytes, position: &position) {
            case .needsMore: break reading
            case .head:
                withLeg(of: handle) { worker, leg in
                    worker.flights[leg.flight].exchange.legAnswered(
                        leg.leg, head: worker.upstreams[handle].reader.head,
                        context: &worker.context, orders: worker.orders)
                }
            case .body(let range):
                let body = bytes.extracting(range)
                guard let leg = liveLeg(of: handle) else { continue }
                flights[leg.flight].exchange.legReceived(
                    leg.leg, body, context: &context, orders: orders)
                if hasUrgentOrders(leg.flight) { carryOut(leg.flight) }
            case .end:
                carryOutPending(of: handle)
                guard upstreams.contains(handle) else { return }
                return answerEnded(handle, hasExtraBytes: position < bytes.count)
            case .failed(let failure):
                carryOutPending(of: handle)
                guard upstreams.contains(handle) else { return }
                return upstreamLost(handle, .malformed(failure.reason))
            }
        }
        guard upstreams.contains(handle) else { return }
        if position < bytes.count {
            upstreams[handle].carried.append(span: bytes.extracting(position..<bytes.count))
        }
        carryOutPending(of: handle)
    }

    /// What earlier events of a read have ordered goes out before anything else happens.
    private mutating func carryOutPending(of handle: Handle) {
        if let leg = liveLeg(of: handle) { carryOut(leg.flight) }
    }

    private mutating func withLeg(
        of handle: Handle, _ body: (inout Worker<K>, Assignment) -> Void
    ) {
        guard let leg = liveLeg(of: handle) else { return }
        body(&self, leg)
        if hasUrgentOrders(leg.flight) { carryOut(leg.flight) }
    }

    /// Orders that change who uses which connection cannot wait for the rest of a read.
    @inline(__always)
    func hasUrgentOrders(_ flight: Handle) -> Bool {
        !orders.upstream.isEmpty || flights[flight].exchange.isFinished
    }

    /// The leg that a connection serves, while its exchange lives.
    @inline(__always)
    private func liveLeg(of handle: Handle) -> Assignment? {
        guard upstreams.contains(handle), let assignment = upstreams[handle].assignment,
            flights.contains(assignment.flight)
        else { return nil }
        return assignment
    }

    /// An answer is complete as HTTP: the connection is free before its exchange goes on.
    private mutating func answerEnded(_ handle: Handle, hasExtraBytes: Bool) {
        let leg = liveLeg(of: handle)
        // An answer that came before the whole request was sent leaves a connection that is no use.
        let isClean = !hasExtraBytes && upstreams[handle].transport.backlog == 0
        if upstreams[handle].reader.head.isKeepAlive, isClean {
            release(handle)
        } else {
            closeUpstream(handle)
        }
        guard let leg, flights.contains(leg.flight) else { return }
        flights[leg.flight].forget(leg.leg)
        flights[leg.flight].exchange.legEnded(leg.leg, context: &context, orders: orders)
        carryOut(leg.flight)
    }

    private mutating func upstreamEnded(_ handle: Handle) {
        switch upstreams[handle].state {
        case .handshaking:
            return upstreamLost(handle, .tls("the connection was closed in the handshake"))
        case .multiplexed: return upstreamLost(handle, .closed)
        case .connecting, .busy, .releasing, .idle: break
        }
        switch upstreams[handle].reader.connectionEnded() {
        case .end: answerEnded(handle, hasExtraBytes: true)
        case .needsMore, .head, .body, .failed: upstreamLost(handle, .closed)
        }
    }

    /// A connection is of no use any more; its legs learn why.
    mutating func upstreamLost(_ handle: Handle, _ failure: UpstreamFailure) {
        var legs: [Assignment] = []
        if case .multiplexed(let session) = upstreams[handle].state {
            legs = self.legs(of: session)
        } else if let leg = liveLeg(of: handle) {
            legs = [leg]
        }
        closeUpstream(handle)
        for leg in legs { legFailed(leg, failure) }
    }

    mutating func legFailed(_ leg: Assignment, _ failure: UpstreamFailure) {
        guard flights.contains(leg.flight) else { return }
        flights[leg.flight].forget(leg.leg)
        flights[leg.flight].exchange.legFailed(
            leg.leg, failure, context: &context, orders: orders)
        carryOut(leg.flight)
    }

    // MARK: - Requests

    /// The connection is its leg's alone, which sends its request. False: it has none, and the
    /// connection is to be released. Not done here: of those that wait for one, none may have.
    mutating func sendRequest(_ handle: Handle, isReused: Bool) -> Bool {
        guard let leg = liveLeg(of: handle) else { return false }
        upstreams[handle].deadline = nil
        upstreams[handle].reader.begin(isHeadRequest: false)
        let request = flights[leg.flight].exchange.legConnected(
            leg.leg, isReused: isReused, context: &context, orders: orders)
        guard let request else {
            upstreams[handle].state = .releasing
            carryOut(leg.flight)
            return !upstreams.contains(handle)
        }
        var bytes: [UInt8] = []
        swap(&bytes, &writeBuffer)
        bytes.removeAll(keepingCapacity: true)
        HTTP1Writer.requestHead(
            method: "POST", path: request.path,
            host: pools[upstreams[handle].pool].backend.hostField, fields: request.fields,
            bodyLength: request.body.count, into: &bytes)
        let isAlive = upstreams[handle].transport.send(&bytes, body: request.body, &kernel)
        if bytes.count > Limits.keptBufferBytes { bytes = [] }
        swap(&bytes, &writeBuffer)
        // A server that does not take our certificate, or no more requests, says so before it
        // closes: what it said is read first, in the next turn. A kept connection was just closed.
        guard isAlive || !isReused else {
            upstreamLost(handle, .closed)
            return true
        }
        carryOut(leg.flight)
        return true
    }

    // MARK: - Establishing

    private mutating func finishConnecting(_ handle: Handle) {
        guard case .connecting(let assignment, let remaining) = upstreams[handle].state else {
            return
        }
        let number = kernel.connectionError(of: upstreams[handle].transport.descriptor)
        guard number == 0 else {
            let reason = KernelFailure(number: number).reason
            return tryNextAddress(handle, reason, assignment, remaining)
        }
        guard flights.contains(assignment.flight) else { return closeUpstream(handle) }
        upstreams[handle].transport.setReading(true, &kernel)
        guard upstreams[handle].transport.tls != nil else {
            guard upstreams[handle].transport.flush(&kernel) else {
                return upstreamLost(handle, .closed)
            }
            let dialect = pools[upstreams[handle].pool].dialect
            return connectionStands(handle, dialect)
        }
        upstreams[handle].state = .handshaking(assignment)
        // This address answers: what is left of the connect timeout is for the handshake.
        upstreams[handle].deadline = nil
        guard upstreams[handle].transport.flushTLS(&kernel) else {
            return upstreamLost(handle, .closed)
        }
    }

    private mutating func finishHandshake(_ handle: Handle) {
        guard case .handshaking = upstreams[handle].state,
            upstreams[handle].transport.isEstablished
        else { return }
        if upstreams[handle].transport.applicationProtocol == .http2 {
            return connectionStands(handle, .http2)
        }
        guard pools[upstreams[handle].pool].backend.http != .http2 else {
            return upstreamLost(handle, .tls("it does not agree to HTTP/2 by ALPN"))
        }
        connectionStands(handle, .http1)
    }

    /// Closes a connection that could not be made, and goes on with the next address of the name.
    mutating func tryNextAddress(
        _ handle: Handle, _ problem: String, _ assignment: Assignment, _ remaining: [SocketAddress]
    ) {
        let pool = upstreams[handle].pool
        closeUpstream(handle)
        guard flights.contains(assignment.flight), pools.contains(pool) else { return }
        guard !remaining.isEmpty else {
            pools[pool].addressesUntil = context.now
            return legFailed(assignment, .connect(problem))
        }
        dial(assignment, pool, remaining)
    }

    mutating func upstreamIsDue(_ handle: Handle) {
        guard let deadline = upstreams[handle].deadline else { return }
        guard context.now >= deadline else {
            return wheel.arm(TimerSlot.upstream(Int(handle.index)).index, at: deadline)
        }
        switch upstreams[handle].state {
        case .connecting(let assignment, let remaining) where !remaining.isEmpty:
            tryNextAddress(handle, "no answer", assignment, remaining)
        case .multiplexed(let session): backendSessionIsDue(handle, session)
        case .connecting, .handshaking, .busy, .releasing, .idle: closeUpstream(handle)
        }
    }
}
