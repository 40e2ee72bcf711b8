import CSys
public import Gateway
import Glibc
import Primitives
import Synchronization
import Translation
import Wire

/// A running gateway: workers, the admin side, the ledger, signals, reloads and the drain.
public final class Server: Sendable {
    /// What `serve` needs to know of its surroundings.
    public struct Surroundings: Sendable {
        /// Reads and checks the configuration file again.
        public let reread: @Sendable () -> Result<Configuration, PlanFailure>
        /// The environment.
        public let environment: [String: String]
        /// Tells an operator something, at a level of swift-log.
        public let log: @Sendable (_ level: String, _ message: String) -> Void
        /// The version, for metrics.
        public let version: String

        /// Surroundings.
        public init(
            reread: @escaping @Sendable () -> Result<Configuration, PlanFailure>,
            environment: [String: String],
            log: @escaping @Sendable (String, String) -> Void, version: String
        ) {
            self.reread = reread
            self.environment = environment
            self.log = log
            self.version = version
        }
    }

    private struct Running {
        var configuration: Configuration
        var plan: Plan
        var fingerprints: [String: String]
    }

    private let surroundings: Surroundings
    private let metrics: Metrics
    private let ledger: LedgerThread
    private let queues: [LedgerQueue]
    private let logSink = AccessLogSink()
    private let resolver = Resolver()
    private let running: Locked<Running>
    private let mailboxes = Locked<[Mailbox]>([])
    private let isDraining = Atomic<Bool>(false)
    private let workerCount: Int
    private let signals: Int32

    /// A server for a configuration; nothing is opened yet.
    /// - Throws: what in the configuration cannot be put to work.
    public init(_ configuration: Configuration, _ surroundings: Surroundings) throws(PlanFailure) {
        self.surroundings = surroundings
        // Before any thread is made: threads inherit what is blocked.
        signals = Self.blockSignals()
        workerCount = configuration.workers ?? max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        let metrics = Metrics(shards: workerCount + 1, version: surroundings.version)
        self.metrics = metrics
        queues = (0...workerCount).map { _ in LedgerQueue() }
        let log = surroundings.log
        ledger = LedgerThread(queues: queues, metrics: metrics) { log("error", $0) }
        let builder = PlanBuilder(
            configuration: configuration, environment: surroundings.environment, log: log)
        let plan = try builder.build(metrics: metrics, previous: nil)
        running = Locked(
            Running(
                configuration: configuration, plan: plan,
                fingerprints: Self.fingerprints(builder.watchedFiles)))
    }

    /// Serves until SIGTERM or SIGINT, then drains. Must be called on the first thread.
    /// - Throws: what cannot be opened, such as an address that is in use.
    public func run() throws(PlanFailure) {
        raiseDescriptorLimit()
        let configuration = running.withLock { $0.configuration }
        do throws(SQLiteFailure) {
            try ledger.start(directory: configuration.stateDirectory)
        } catch {
            throw PlanFailure(message: "state: \(error.message)")
        }
        try restoreLimits(of: running.withLock { $0.plan }, configuration)
        let threads = try startWorkers(configuration)
        announce(configuration)
        superviseUntilDrain()
        for thread in threads.gateway { thread.join() }
        // Until now the admin side has answered that we are draining.
        threads.adminMailbox?.post(.drain(deadline: SystemClock.now()))
        threads.admin?.join()
        ledger.stop()
        logSink.flush()
    }

    // MARK: - Start

    private func startWorkers(
        _ configuration: Configuration
    ) throws(PlanFailure) -> Threads {
        let plan = running.withLock { $0.plan }
        var threads = Threads()
        let builder = PlanBuilder(
            configuration: configuration, environment: surroundings.environment,
            log: surroundings.log)
        var contexts: [TLSContext?] = []
        for listener in configuration.listeners { contexts.append(try builder.tls(of: listener)) }
        for shard in 0..<workerCount {
            var sources: [ListenerSource] = []
            for (listener, tls) in zip(configuration.listeners, contexts) {
                sources.append(ListenerSource(name: listener.address, tls: tls))
            }
            let (thread, mailbox) = try start(sources, plan, .gateway, shard: shard)
            threads.gateway.append(thread)
            mailboxes.withLock { $0.append(mailbox) }
        }
        guard let admin = configuration.admin else { return threads }
        let responder = adminResponder()
        let (thread, mailbox) = try start(
            [ListenerSource(name: admin, tls: nil)], plan, .admin { responder.answer($0) },
            shard: workerCount)
        threads.admin = thread
        threads.adminMailbox = mailbox
        return threads
    }

    /// What runs beside the first thread.
    private struct Threads {
        var gateway: [BackgroundThread] = []
        var admin: BackgroundThread?
        var adminMailbox: Mailbox?
    }

    private struct ListenerSource: Sendable {
        let name: SocketName
        let tls: TLSContext?
    }

    /// Opens the listeners here, so that a failure is told, and starts a worker on a thread.
    private func start(
        _ sources: [ListenerSource], _ plan: Plan, _ role: WorkerRole, shard: Int
    ) throws(PlanFailure) -> (BackgroundThread, Mailbox) {
        var listeners: [OpenListener] = []
        do throws(KernelFailure) {
            var kernel = try LinuxKernel(resolver: resolver, logSink: logSink)
            for source in sources {
                listeners.append(
                    OpenListener(
                        descriptor: try kernel.listen(on: address(of: source.name)),
                        tls: source.tls))
            }
            let mailbox = kernel.mail
            let box = WorkerBox(
                Worker(
                    kernel: kernel, listeners: listeners, plan: plan, role: role, shard: shard,
                    workerCount: workerCount, ledger: queues[shard]))
            return (try BackgroundThread { box.run() }, mailbox)
        } catch {
            let names = sources.map { "\($0.name.host):\($0.name.port)" }.joined(separator: ", ")
            throw PlanFailure(message: "cannot listen on \(names): \(Self.reason(error.number))")
        }
    }

    private func address(of name: SocketName) throws(KernelFailure) -> SocketAddress {
        let host = name.host == "localhost" ? "127.0.0.1" : name.host
        guard let address = SocketAddress(literal: host, port: name.port) else {
            throw KernelFailure(number: EADDRNOTAVAIL)
        }
        return address
    }

    private func announce(_ configuration: Configuration) {
        for listener in configuration.listeners {
            let scheme = listener.tls == nil ? "http" : "https"
            surroundings.log(
                "info", "listening on \(scheme)://\(Self.text(listener.address)) for clients")
        }
        if let admin = configuration.admin {
            surroundings.log("info", "listening on http://\(Self.text(admin)) for admin")
        }
        for warning in priceWarnings() { surroundings.log("warning", warning) }
    }

    /// Targets whose price nobody knows: their requests will be recorded without a cost.
    private func priceWarnings() -> [String] {
        let plan = running.withLock { $0.plan }
        var warnings: [String] = []
        for route in plan.routes where !route.isGlob {
            for target in route.targets {
                let backend = plan.backends[target.backend]
                let model = target.upstreamModel(for: route.name)
                let price = target.price(
                    for: model, kind: backend.provider.kind, in: plan.prices)
                guard price == nil else { continue }
                warnings.append(
                    "no price is known for \(model) (route \(route.name), backend "
                        + "\(backend.name)): set it under prices")
            }
        }
        return warnings
    }

    /// Day and month limits that are new to this process go on where the ledger says they are. Rows
    /// that have not been written yet (`sluice_ledger_lag_seconds`) are missed by a reload.
    private func restoreLimits(
        of plan: Plan, _ configuration: Configuration
    ) throws(PlanFailure) {
        let (now, wall) = (SystemClock.now(), SystemClock.wallTime())
        for restoration in plan.quota.restorations {
            do throws(SQLiteFailure) {
                try LedgerReader.sums(
                    restoration, wall: wall, directory: configuration.stateDirectory
                ) { sum in
                    plan.quota.restore(
                        sum, restoration, price: sum.priceID.flatMap { plan.prices.price(id: $0) },
                        now: now, wall: wall)
                }
            } catch {
                throw PlanFailure(
                    message: "limits cannot be restored from the ledger: \(error.message)")
            }
        }
    }

    // MARK: - While it runs

    /// Waits for signals; in between it writes the access log and looks after changed secrets.
    private func superviseUntilDrain() {
        var turns = 0
        while !isDraining.load(ordering: .acquiring) {
            var entry = pollfd(fd: signals, events: Int16(POLLIN), revents: 0)
            _ = unsafe poll(&entry, 1, 20)
            logSink.flush()
            if entry.revents & Int16(POLLIN) != 0 { handle(readSignal()) }
            turns += 1
            if turns % 50 == 0 { reloadChangedSecrets() }
        }
    }

    private func handle(_ signal: Int32) {
        switch signal {
        case SIGHUP: _ = reload()
        case SIGTERM, SIGINT: drain()
        default: break
        }
    }

    private func drain() {
        surroundings.log("info", "draining: no new connections, requests under way finish")
        isDraining.store(true, ordering: .releasing)
        let deadline = SystemClock.now().advanced(byMilliseconds: Limits.drainMilliseconds)
        for mailbox in mailboxes.withLock({ $0 }) { mailbox.post(.drain(deadline: deadline)) }
    }

    /// Reads the configuration again. A wrong one changes nothing. nil when it was taken over.
    private func reload() -> String? {
        switch surroundings.reread() {
        case .success(let configuration): return adopt(configuration)
        case .failure(let problem): return reject(problem)
        }
    }

    private func adopt(_ configuration: Configuration) -> String? {
        let previous = running.withLock { $0.plan }
        let former = running.withLock { $0.configuration }
        if former.needsRestart(for: configuration) {
            surroundings.log(
                "warning", "listeners, admin, workers and state change with a restart only")
        }
        let builder = PlanBuilder(
            configuration: configuration, environment: surroundings.environment,
            log: surroundings.log)
        do throws(PlanFailure) {
            let plan = try builder.build(metrics: metrics, previous: previous)
            try restoreLimits(of: plan, former)
            let fingerprints = Self.fingerprints(builder.watchedFiles)
            running.withLock {
                $0 = Running(
                    configuration: configuration, plan: plan, fingerprints: fingerprints)
            }
            for mailbox in mailboxes.withLock({ $0 }) { mailbox.post(.plan(plan)) }
        } catch {
            return reject(error)
        }
        metrics.configReload(result: "applied")
        surroundings.log("info", "the configuration was read again and is in force")
        return nil
    }

    private func reject(_ problem: PlanFailure) -> String {
        metrics.configReload(result: "rejected")
        surroundings.log("error", "the old configuration stays in force: \(problem.message)")
        return problem.message
    }

    private func reloadChangedSecrets() {
        let (configuration, known) = running.withLock { ($0.configuration, $0.fingerprints) }
        guard Self.fingerprints(Array(known.keys)) != known else { return }
        _ = adopt(configuration)
    }

    private static func fingerprints(_ files: [String]) -> [String: String] {
        var fingerprints: [String: String] = [:]
        for file in files { fingerprints[file] = FileSystem.fingerprint(file) ?? "" }
        return fingerprints
    }

    private func adminResponder() -> AdminResponder {
        AdminResponder(
            metrics: metrics,
            limits: { [self] in
                running.withLock { $0.plan }.quota.readings(
                    now: SystemClock.now(), wall: SystemClock.wallTime())
            },
            now: { SystemClock.wallTime() },
            isReady: { [self] in !isDraining.load(ordering: .acquiring) },
            configuration: { [self] in
                ConfigurationRenderer.json(running.withLock { $0.configuration })
            },
            usage: { [self] query throws(APIError) in
                let directory = running.withLock { $0.configuration.stateDirectory }
                do throws(SQLiteFailure) {
                    return try LedgerReader.report(query, directory: directory)
                } catch {
                    throw APIError(
                        status: 503, type: "server_error", code: "ledger_unavailable",
                        message: error.message, origin: .gateway)
                }
            },
            reload: { [self] in reload() })
    }

    // MARK: - The process

    private static func blockSignals() -> Int32 {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for number in [SIGTERM, SIGINT, SIGHUP, SIGPIPE] { unsafe sigaddset(&set, number) }
        unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
        return unsafe signalfd(-1, &set, Int32(SFD_CLOEXEC) | Int32(SFD_NONBLOCK))
    }

    private func readSignal() -> Int32 {
        var info = signalfd_siginfo()
        let count = unsafe read(signals, &info, MemoryLayout<signalfd_siginfo>.size)
        return count == MemoryLayout<signalfd_siginfo>.size ? Int32(info.ssi_signo) : 0
    }

    /// Every client costs two descriptors: take all that the system allows.
    private func raiseDescriptorLimit() {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return
        }
        limit.rlim_cur = limit.rlim_max
        _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    private static func text(_ name: SocketName) -> String {
        name.host.contains(":") ? "[\(name.host)]:\(name.port)" : "\(name.host):\(name.port)"
    }

    private static func reason(_ number: Int32) -> String {
        unsafe strerror(number).map { unsafe String(cString: $0) } ?? "errno \(number)"
    }
}

/// Hands a worker, which cannot be copied, to its thread.
private final class WorkerBox: @unchecked Sendable {
    private var worker: Worker<LinuxKernel>?

    init(_ worker: consuming Worker<LinuxKernel>) { self.worker = consume worker }

    /// Called once, on the worker's thread.
    func run() {
        guard var worker = worker.take() else { return }
        worker.run()
    }
}
