import Gateway
import Primitives
import Wire

/// Which connection a leg gets: an idle one, a new one, or a place in the queue.
extension Worker where K: ~Copyable {
    mutating func connect(_ assignment: Assignment, backend: Int, isFresh: Bool) {
        let pool = flights[assignment.flight].pools[backend]
        guard pools.contains(pool) else {
            return legFailed(assignment, .connect("the backend has been removed"))
        }
        if !isFresh, let handle = pools[pool].idle.popLast() {
            flights[assignment.flight].remember(assignment.leg, handle)
            upstreams[handle].state = .busy(assignment)
            return sendRequest(handle, isReused: true)
        }
        guard pools[pool].open < pools[pool].maximum else {
            guard pools[pool].waiters.count < Limits.poolWaiters else {
                return legFailed(assignment, .poolExhausted)
            }
            return pools[pool].waiters.append(assignment)
        }
        guard context.now >= pools[pool].addressesUntil else {
            return dial(assignment, pool, pools[pool].addresses)
        }
        pools[pool].resolving.append(assignment)
        guard !pools[pool].isResolving else { return }
        pools[pool].isResolving = true
        kernel.resolve(
            host: pools[pool].backend.url.host, port: pools[pool].backend.url.port,
            ticket: pool.word)
    }

    mutating func backendResolved(_ pool: Handle, _ addresses: ResolvedAddresses) {
        guard pools.contains(pool) else { return }
        var waiting: [Assignment] = []
        swap(&waiting, &pools[pool].resolving)
        pools[pool].isResolving = false
        switch addresses {
        case .found(let found):
            pools[pool].addresses = found
            pools[pool].addressesUntil = context.now.advanced(
                byMilliseconds: Limits.addressLifetimeMilliseconds)
            for assignment in waiting where flights.contains(assignment.flight) {
                dial(assignment, pool, found)
            }
        case .failed(let reason):
            for assignment in waiting { legFailed(assignment, .connect(reason)) }
        }
    }

    /// Starts a connection to the first address that accepts a start.
    mutating func dial(_ assignment: Assignment, _ pool: Handle, _ addresses: [SocketAddress]) {
        var remaining = addresses[...]
        var problem = "it has no address"
        while let address = remaining.popFirst() {
            switch kernel.connect(to: address) {
            case .ready(let descriptor), .inProgress(let descriptor):
                return adopt(descriptor, assignment, pool, remaining: Array(remaining))
            case .failed(let number): problem = "\(address): errno \(number)"
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
        flights[assignment.flight].remember(assignment.leg, handle)
        plan.metrics.upstreamConnections.add(1)
        guard !remaining.isEmpty else { return }
        // The last address has the whole connect timeout, which the exchange keeps.
        let budget = pools[pool].backend.timeouts.connectMilliseconds / (remaining.count + 1)
        setUpstreamDeadline(handle, max(budget, Limits.addressAttemptMilliseconds))
    }

    // MARK: - Giving back

    /// Ends a leg's use of a connection, or its wait for one.
    ///
    /// Nothing that was asked for it may come back later: the leg's number can belong to another
    /// target by then.
    mutating func cancel(_ assignment: Assignment) {
        guard flights.contains(assignment.flight) else { return }
        let handle = connection(of: assignment)
        flights[assignment.flight].forget(assignment.leg)
        for pool in flights[assignment.flight].pools where pools.contains(pool) {
            pools[pool].waiters.removeAll { $0 == assignment }
            pools[pool].resolving.removeAll { $0 == assignment }
        }
        guard let handle, upstreams.contains(handle), upstreams[handle].assignment == assignment
        else { return }
        closeUpstream(handle)
    }

    /// The answer is understood; the message's end is still to come.
    mutating func beginReleasing(_ handle: Handle) {
        guard upstreams.contains(handle), case .busy = upstreams[handle].state else { return }
        upstreams[handle].state = .releasing
        upstreams[handle].transport.setReading(true, &kernel)
        setUpstreamDeadline(handle, Limits.releaseMilliseconds)
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
            return sendRequest(handle, isReused: true)
        }
        guard !pools[pool].isRetired, pools[pool].idle.count < pools[pool].maximumIdle else {
            return closeUpstream(handle)
        }
        upstreams[handle].state = .idle
        pools[pool].idle.append(handle)
        setUpstreamDeadline(handle, pools[pool].backend.connections.idleMilliseconds)
    }

    mutating func closeUpstream(_ handle: Handle) {
        var connection = upstreams.remove(handle)
        if connection.transport.tls != nil {
            connection.transport.tls?.close()
            _ = connection.transport.flushTLS(&kernel)
        }
        kernel.close(connection.transport.descriptor)
        wheel.cancel(TimerSlot.upstream(Int(handle.index)).index)
        plan.metrics.upstreamConnections.add(-1)
        let pool = connection.pool
        pools[pool].open -= 1
        if case .idle = connection.state { pools[pool].idle.removeAll { $0 == handle } }
        if let next = takeWaiter(pool), flights.contains(next.flight) {
            return redial(next, pool)
        }
        if pools[pool].isRetired, pools[pool].open == 0, flights.count == 0 {
            _ = pools.remove(pool)
        }
    }

    /// No plan uses the pool any more: idle connections close now, others when they are given back.
    mutating func retire(_ pool: Handle) {
        pools[pool].isRetired = true
        for handle in pools[pool].idle where upstreams.contains(handle) { closeUpstream(handle) }
    }

    private mutating func redial(_ assignment: Assignment, _ pool: Handle) {
        guard let backend = flights[assignment.flight].pools.firstIndex(of: pool) else { return }
        connect(assignment, backend: backend, isFresh: false)
    }

    private mutating func takeWaiter(_ pool: Handle) -> Assignment? {
        pools[pool].waiters.isEmpty ? nil : pools[pool].waiters.removeFirst()
    }

    private mutating func setUpstreamDeadline(_ handle: Handle, _ milliseconds: Int) {
        let deadline = context.now.advanced(byMilliseconds: milliseconds)
        upstreams[handle].deadline = deadline
        wheel.arm(TimerSlot.upstream(Int(handle.index)).index, at: deadline)
    }
}
