import Gateway
import Primitives
import Translation
import Wire

/// Reloads: the configuration, and files that it names, while requests go on.
extension Server {
    /// Reads the configuration again. A wrong one changes nothing. nil when it was taken over.
    func reload() -> String? {
        alone { [self] in
            // Before it is read: what changes from now on is seen at the next look.
            let fingerprint = FileSystem.fingerprint(surroundings.path) ?? ""
            switch surroundings.reread() {
            case .success(let configuration):
                return adopt(configuration, fingerprint: fingerprint)
            case .failure(let problem):
                // Told once: the next look finds the file as it was here.
                running.withLock { $0.fingerprints[surroundings.path] = fingerprint }
                return reject(problem)
            }
        }
    }

    /// Does what changes how we serve: nothing else that does meanwhile, and requests first.
    private func alone<Result: Sendable>(_ work: @escaping @Sendable () -> Result) -> Result {
        BackgroundThread.givingWay { [self] in reloading.withLock { _ in work() } }
    }

    /// Puts a configuration to work; `fingerprint` is its file's from before it was read.
    private func adopt(_ configuration: Configuration, fingerprint: String) -> String? {
        // The reader knows the file's addresses only: other ones are served until a restart.
        if configuration.tenants.isEmpty, !addresses.allSatisfy(\.isLoopback) {
            return reject(
                PlanFailure(
                    message: "without \"tenants\" everyone may use the gateway, and until a "
                        + "restart it listens on addresses that are not loopback"))
        }
        let previous = running.withLock { $0.plan }
        let former = running.withLock { $0.configuration }
        let keys = former.keysForRestart(configuration).joined(separator: ", ")
        if !keys.isEmpty {
            surroundings.log("warning", "what has changed here needs a restart: \(keys)")
        }
        let builder = PlanBuilder(
            configuration: configuration, environment: surroundings.environment,
            log: surroundings.log)
        var fingerprints = Self.fingerprints(builder.watchedFiles)
        fingerprints[surroundings.path] = fingerprint
        do throws(PlanFailure) {
            let plan = try builder.build(metrics: metrics, previous: previous)
            try restoreLimits(of: plan, former)
            let listenerTLS = try listenerTLS(
                configuration, builder, tickets.withLock { $0.secret })
            let new = Running(
                configuration: configuration, plan: plan, listenerTLS: listenerTLS,
                fingerprints: fingerprints)
            running.withLock { $0 = new }
            formerPlans.withLock { $0.append(previous) }
            ledger.adopt(configuration.ledger)
            post(new)
        } catch {
            return reject(error)
        }
        metrics.configReload(result: "applied")
        surroundings.log("info", "the configuration was read again and is in force")
        return nil
    }

    private func post(_ running: Running) {
        post(.plan(running.plan, listenerTLS: running.listenerTLS))
    }

    /// TLS of each listener that is open; one that the file names no more keeps what it has.
    private func listenerTLS(
        _ configuration: Configuration, _ builder: PlanBuilder, _ secret: TLSTicketSecret
    ) throws(PlanFailure) -> [TLSContext?] {
        var contexts = running.withLock { $0.listenerTLS }
        for (index, address) in addresses.enumerated() {
            guard let listener = configuration.listeners.first(where: { $0.address == address })
            else { continue }
            contexts[index] = try builder.tls(of: listener, tickets: secret)
        }
        return contexts
    }

    private func reject(_ problem: PlanFailure) -> String {
        metrics.configReload(result: "rejected")
        surroundings.log("error", "the old configuration stays in force: \(problem.message)")
        return problem.message
    }

    /// Takes over files that have changed, once they are still: a certificate and its key are not
    /// written in one go. What is wrong is told once, not at every look.
    func reloadChangedFiles() {
        let (configuration, known, before) = running.withLock {
            ($0.configuration, $0.fingerprints, $0.lastLook)
        }
        let found = Self.fingerprints(Array(known.keys))
        running.withLock { $0.lastLook = found }
        guard found != known, found == before else { return }
        running.withLock { $0.fingerprints = found }
        let path = surroundings.path
        if found[path] != known[path], reload() == nil { return }
        // A wrong configuration does not keep new secrets out.
        guard found.contains(where: { $0.key != path && known[$0.key] != $0.value }) else { return }
        _ = alone { [self] in adopt(configuration, fingerprint: found[path] ?? "") }
    }

    /// Seals tickets with a new secret when it is time; clients with older ones make a whole
    /// handshake.
    func renewTickets() {
        guard SystemClock.now() >= tickets.withLock({ $0.until }) else { return }
        alone { [self] in
            let configuration = running.withLock { $0.configuration }
            let builder = PlanBuilder(
                configuration: configuration, environment: surroundings.environment,
                log: surroundings.log)
            let renewed = Tickets()
            // Files that are wrong just now have been told about: once more at the next look.
            guard let contexts = try? listenerTLS(configuration, builder, renewed.secret) else {
                return
            }
            tickets.withLock { $0 = renewed }
            let new = running.withLock { running in
                running.listenerTLS = contexts
                return running
            }
            post(new)
        }
    }

    /// Frees the plans that no request uses any more: a large one takes longer than a worker has.
    func freeFormerPlans() {
        let hasFree = formerPlans.withLock { plans in
            plans.indices.contains { isKnownUniquelyReferenced(&plans[$0]) }
        }
        guard hasFree else { return }
        BackgroundThread.givingWay { [self] in
            formerPlans.withLock { plans in
                for index in plans.indices.reversed()
                where isKnownUniquelyReferenced(&plans[index]) { plans.remove(at: index) }
            }
        }
    }

    static func fingerprints(_ files: [String]) -> [String: String] {
        var fingerprints: [String: String] = [:]
        for file in files { fingerprints[file] = FileSystem.fingerprint(file) ?? "" }
        return fingerprints
    }
}
