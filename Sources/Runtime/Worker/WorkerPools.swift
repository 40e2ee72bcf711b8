import Gateway
import Glibc
import Primitives
import Wire

/// Which connection a leg gets: one that stands, a new one, or a place in the queue.
extension Worker where K: ~Copyable {
    mutating func connect(_ assignment: Assignment, backend: Int, isFresh: Bool) {
        let pool = flights[assignment.flight].pools[backend]
        guard pools.contains(pool) else {
            return legFailed(assignment, .connect("the backend has been removed"))
        }
        connect(assignment, pool, isFresh: isFresh)
    }

    private mutating func connect(_ assignment: Assignment, _ pool: Handle, isFresh: Bool) {
        if !isFresh, useStanding(pool, for: assignment) { return }
        guard context.now >= pools[pool].addressesUntil else {
            return openOrWait(assignment, pool)
        }
        if !pools[pool].isResolving {
            pools[pool].isResolving = true
            kernel.resolve(
                host: pools[pool].backend.url.host, port: pools[pool].backend.url.port,
                ticket: pool.word)
        }
        if pools[pool].mayUseStaleAddresses(context.now) { return openOrWait(assignment, pool) }
        pools[pool].resolving.append(assignment)
    }

    /// Gives a leg a connection that stands. False: there is none to spare.
    private mutating func useStanding(_ pool: Handle, for assignment: Assignment) -> Bool {
        if let handle = connectionWithRoom(pool) {
            sendStream(handle, assignment)
            return true
        }
        guard let handle = pools[pool].idle.popLast() else { return false }
        flights[assignment.flight].remember(assignment.leg, handle)
        upstreams[handle].state = .busy(assignment)
        if !sendRequest(handle, isReused: true) { release(handle) }
        return true
    }

    mutating func backendResolved(_ pool: Handle, _ addresses: ResolvedAddresses) {
        guard pools.contains(pool) else { return }
        var waiting: [Assignment] = []
        swap(&waiting, &pools[pool].resolving)
        pools[pool].isResolving = false
        if let problem = pools[pool].take(addresses, now: context.now) {
            for assignment in waiting { legFailed(assignment, .connect(problem)) }
            return
        }
        for assignment in waiting where flights.contains(assignment.flight) {
            openOrWait(assignment, pool)
        }
    }

    private mutating func openOrWait(_ assignment: Assignment, _ pool: Handle) {
        if pools[pool].mayOpen { return dial(assignment, pool, pools[pool].addresses) }
        guard pools[pool].waiters.count < Limits.poolWaiters else {
            return legFailed(assignment, .poolExhausted)
        }
        pools[pool].waiters.append(assignment)
    }

    /// Starts a connection to the first address that accepts a start.
    mutating func dial(_ assignment: Assignment, _ pool: Handle, _ addresses: [SocketAddress]) {
        var remaining = addresses[...]
        var problem = "it has no address"
        while let address = remaining.popFirst() {
            switch kernel.connect(to: address) {
            case .ready(let descriptor), .inProgress(let descriptor):
                return adopt(descriptor, assignment, pool, remaining: Array(remaining))
            case .failed(EMFILE), .failed(ENFILE): return legFailed(assignment, .noDescriptor)
            case .failed(let number):
                problem = "\(address): \(KernelFailure(number: number).reason)"
            case .wouldBlock: problem = "\(address): no local port is free"
            }
        }
        legFailed(assignment, .connect(problem))
    }

    private mutating func adopt(
        _ descriptor: Int32, _ assignment: Assignment, _ pool: Handle, remaining: [SocketAddress]
    ) {
        var session: TLSSession?
        if let tls = pools[pool].backend.tls {
            do throws(TLSFailure) {
                session = try TLSSession(client: tls, serverName: pools[pool].backend.serverName)
            } catch {
                kernel.close(descriptor)
                return legFailed(assignment, .tls(error.reason))
            }
        }
        // The token names the slab's slot, which is known only once the connection is in it.
        let handle = upstreams.insert(
            UpstreamConnection(
                transport: Transport(
                    descriptor: descriptor, token: 0, tls: nil, interest: .write),
                reader: HTTP1ResponseReader(limits: HTTP1Limits()),
                state: .connecting(assignment, remaining: remaining), pool: pool))
        let token = Token.upstream(handle).word
        upstreams[handle].transport = Transport(
            descriptor: descriptor, token: token, tls: session.take(), interest: .write)
        kernel.watch(descriptor, token: token, for: .write)
        pools[pool].open += 1
        pools[pool].beingMade += 1
        flights[assignment.flight].remember(assignment.leg, handle)
        plan.metrics.upstreamConnections.add(1)
        guard !remaining.isEmpty else { return }
        // The last address has the whole connect timeout, which the exchange keeps.
        let budget = pools[pool].backend.timeouts.connectMilliseconds / (remaining.count + 1)
        setUpstreamDeadline(handle, max(budget, Limits.addressAttemptMilliseconds))
    }

    /// A connection stands, and both sides know what they speak.
    mutating func connectionStands(_ handle: Handle, _ dialect: BackendPool.Dialect) {
        guard let assignment = upstreams[handle].assignment else { return }
        let pool = upstreams[handle].pool
        pools[pool].beingMade -= 1
        pools[pool].dialect = dialect
        upstreams[handle].deadline = nil
        if case .http2 = dialect {
            beginBackendSession(handle)
            if flights.contains(assignment.flight) { sendStream(handle, assignment) }
        } else {
            upstreams[handle].state = .busy(assignment)
            if !sendRequest(handle, isReused: false) { release(handle) }
        }
        serveWaiters(pool)
    }

    // MARK: - Giving back

    /// Ends a leg's use of a connection, or its wait for one.
    ///
    /// Nothing that was asked for it may come back later: the leg's number can belong to another
    /// target by then.
    mutating func cancel(_ assignment: Assignment) {
        guard flights.contains(assignment.flight) else { return }
        let leg = leg(of: assignment)
        flights[assignment.flight].forget(assignment.leg)
        for pool in flights[assignment.flight].pools where pools.contains(pool) {
            pools[pool].waiters.removeAll { $0 == assignment }
            pools[pool].resolving.removeAll { $0 == assignment }
        }
        guard let leg, upstreams.contains(leg.connection) else { return }
        if let stream = leg.stream {
            cancelStream(leg.connection, stream)
        } else if upstreams[leg.connection].assignment == assignment {
            closeUpstream(leg.connection)
        }
    }

    /// The answer is understood; the message's end is still to come.
    mutating func beginReleasing(_ leg: Flight.Leg) {
        guard upstreams.contains(leg.connection) else { return }
        if let stream = leg.stream { return releaseStream(leg.connection, stream) }
        guard case .busy = upstreams[leg.connection].state else { return }
        upstreams[leg.connection].state = .releasing
        upstreams[leg.connection].transport.setReading(true, &kernel)
        setUpstreamDeadline(leg.connection, Limits.releaseMilliseconds)
    }

    /// Puts a connection back into its pool, or hands it to who waits longest.
    mutating func release(_ handle: Handle) {
        let pool = upstreams[handle].pool
        upstreams[handle].carried = []
        upstreams[handle].transport.setReading(true, &kernel)
        while let next = takeWaiter(pool) {
            guard flights.contains(next.flight) else { continue }
            flights[next.flight].remember(next.leg, handle)
            upstreams[handle].state = .busy(next)
            if sendRequest(handle, isReused: true) { return }
        }
        guard !pools[pool].isRetired, pools[pool].maximumIdle > 0 else {
            return closeUpstream(handle)
        }
        // Answers come in bursts, and the next requests a moment later: what is too many now is
        // closed when it has not been wanted for that long.
        let isSurplus = pools[pool].idle.count >= pools[pool].maximumIdle
        let idleMilliseconds = pools[pool].backend.connections.idleMilliseconds
        upstreams[handle].state = .idle
        pools[pool].idle.append(handle)
        setUpstreamDeadline(
            handle,
            isSurplus ? min(idleMilliseconds, Limits.surplusIdleMilliseconds) : idleMilliseconds)
    }

    /// Closes a connection. Legs that still use it are not told, see `upstreamLost`.
    mutating func closeUpstream(_ handle: Handle) {
        var connection = upstreams.remove(handle)
        connection.transport.close(&kernel)
        wheel.cancel(TimerSlot.upstream(Int(handle.index)).index)
        plan.metrics.upstreamConnections.add(-1)
        let pool = connection.pool
        pools[pool].open -= 1
        if connection.isBeingMade { pools[pool].beingMade -= 1 }
        switch connection.state {
        case .idle: pools[pool].idle.removeAll { $0 == handle }
        case .multiplexed(let session):
            pools[pool].multiplexed.removeAll { $0 == handle }
            _ = sessions.remove(session)
        case .connecting, .handshaking, .busy, .releasing: break
        }
        serveWaiters(pool)
        removeIfUnused(pool)
    }

    /// No plan uses the pool any more: idle connections close now, others when they are given back.
    mutating func retire(_ pool: Handle) {
        pools[pool].retiredIn = epochs.current
        for handle in pools[pool].idle where upstreams.contains(handle) { closeUpstream(handle) }
        guard pools.contains(pool) else { return }
        for handle in pools[pool].multiplexed where upstreams.contains(handle) {
            closeIfUnused(handle)
        }
        removeIfUnused(pool)
    }

    /// A retired pool goes when its last connection is closed, and the last flight has ended that
    /// could still ask for one.
    mutating func removeIfUnused(_ pool: Handle) {
        guard pools.contains(pool), let epoch = pools[pool].retiredIn, epochs.oldest >= epoch,
            pools[pool].open == 0
        else { return }
        _ = pools.remove(pool)
    }

    // MARK: - Waiting

    /// Gives connections to those that wait, as far as there are any.
    mutating func serveWaiters(_ pool: Handle) {
        while pools.contains(pool), !pools[pool].waiters.isEmpty, canServe(pool),
            let next = takeWaiter(pool)
        {
            if flights.contains(next.flight) { connect(next, pool, isFresh: false) }
        }
    }

    private func canServe(_ pool: Handle) -> Bool {
        !pools[pool].idle.isEmpty || pools[pool].mayOpen || connectionWithRoom(pool) != nil
    }

    private mutating func takeWaiter(_ pool: Handle) -> Assignment? {
        pools[pool].waiters.isEmpty ? nil : pools[pool].waiters.removeFirst()
    }

    mutating func setUpstreamDeadline(_ handle: Handle, _ milliseconds: Int) {
        let deadline = context.now.advanced(byMilliseconds: milliseconds)
        upstreams[handle].deadline = deadline
        wheel.arm(TimerSlot.upstream(Int(handle.index)).index, at: deadline)
    }
}
