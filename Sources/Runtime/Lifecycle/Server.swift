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
        /// TLS of each listener that is open.
        var listenerTLS: [TLSContext?]
        /// The watched files as they were when they were last tried.
        var fingerprints: [String: String]
        /// And as they were at the last look.
        var lastLook: [String: String] = [:]
    }

    /// What session tickets are sealed with, and until when.
    private struct Tickets {
        var secret = TLSTicketSecret(random: SecureRandom.bytes(count: 32))
        var until = SystemClock.now().advanced(byMilliseconds: Limits.tlsTicketSecretMilliseconds)
    }

    private let surroundings: Surroundings
    private let metrics: Metrics
    private let ledger: LedgerThread
    private let queues: [LedgerQueue]
    private let logSink = AccessLogSink()
    private let resolver = Resolver()
    private let running: Locked<Running>
    private let tickets: Locked<Tickets>
    /// Held while a reload goes on: two at once would reach the workers in different orders.
    private let reloading = Locked(())
    /// Where clients connect; other addresses need a restart.
    private let addresses: [SocketName]
    private let mailboxes = Locked<[Mailbox]>([])
    private let isDraining = Atomic<Bool>(false)
    private let workerCount: Int
    private let signals: Int32
    /// Names this process among all that have used the state directory.
    private let startID: String

    /// A server for a configuration; nothing is opened yet.
    /// - Throws: what in the configuration cannot be put to work.
    public init(_ configuration: Configuration, _ surroundings: Surroundings) throws(PlanFailure) {
        self.surroundings = surroundings
        // Before any thread is made: threads inherit what is blocked.
        signals = Self.blockSignals()
        var startID: [UInt8] = []
        startID.append(hexadecimal: SecureRandom.bytes(count: 8))
        self.startID = String(decoding: startID, as: UTF8.self)
        workerCount = configuration.workers ?? max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        let metrics = Metrics(shards: workerCount + 1, version: surroundings.version)
        self.metrics = metrics
        queues = (0...workerCount).map { _ in
            LedgerQueue(waiting: metrics.ledgerWaiting, lost: metrics.ledgerLost)
        }
        let log = surroundings.log
        ledger = LedgerThread(
            queues: queues, metrics: metrics, settings: configuration.ledger, report: log)
        let builder = PlanBuilder(
            configuration: configuration, environment: surroundings.environment, log: log)
        let fingerprints = Self.fingerprints(builder.watchedFiles)
        let plan = try builder.build(metrics: metrics, previous: nil)
        let tickets = Tickets()
        var listenerTLS: [TLSContext?] = []
        for listener in configuration.listeners {
            listenerTLS.append(try builder.tls(of: listener, tickets: tickets.secret))
        }
        self.tickets = Locked(tickets)
        addresses = configuration.listeners.map(\.address)
        running = Locked(
            Running(
                configuration: configuration, plan: plan, listenerTLS: listenerTLS,
                fingerprints: fingerprints))
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
        let (plan, contexts) = running.withLock { ($0.plan, $0.listenerTLS) }
        var threads = Threads()
        let sources = zip(addresses, contexts).map { ListenerSource(name: $0, tls: $1) }
        for shard in 0..<workerCount {
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
            var kernel = try LinuxKernel(
                resolver: resolver, logSink: logSink, journal: journal(role, shard: shard))
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
            throw PlanFailure(message: "cannot listen on \(names): \(error.reason)")
        }
    }

    /// The journal of a worker; the admin side has none, for it admits no requests.
    private func journal(_ role: WorkerRole, shard: Int) -> JournalWriter? {
        guard case .gateway = role else { return nil }
        let state = running.withLock { $0.configuration.stateDirectory }
        let log = surroundings.log
        return JournalWriter(
            directory: JournalReplay.directory(in: state), start: startID, shard: shard,
            queue: queues[shard]
        ) { log("error", $0) }
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
            guard turns % 50 == 0 else { continue }
            reloadChangedFiles()
            renewTickets()
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
        reloading.withLock { _ in
            switch surroundings.reread() {
            case .success(let configuration): adopt(configuration)
            case .failure(let problem): reject(problem)
            }
        }
    }

    private func adopt(_ configuration: Configuration) -> String? {
        let previous = running.withLock { $0.plan }
        let former = running.withLock { $0.configuration }
        if former.needsRestart(for: configuration) {
            surroundings.log(
                "warning",
                "addresses of listeners, admin, workers and state change with a restart only")
        }
        let builder = PlanBuilder(
            configuration: configuration, environment: surroundings.environment,
            log: surroundings.log)
        // Before they are read: what changes from now on is seen at the next look.
        let fingerprints = Self.fingerprints(builder.watchedFiles)
        do throws(PlanFailure) {
            let plan = try builder.build(metrics: metrics, previous: previous)
            try restoreLimits(of: plan, former)
            let listenerTLS = try listenerTLS(
                configuration, builder, tickets.withLock { $0.secret })
            let new = Running(
                configuration: configuration, plan: plan, listenerTLS: listenerTLS,
                fingerprints: fingerprints)
            running.withLock { $0 = new }
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
        for mailbox in mailboxes.withLock({ $0 }) {
            mailbox.post(.plan(running.plan, listenerTLS: running.listenerTLS))
        }
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
    private func reloadChangedFiles() {
        let (configuration, known, before) = running.withLock {
            ($0.configuration, $0.fingerprints, $0.lastLook)
        }
        let found = Self.fingerprints(Array(known.keys))
        running.withLock { $0.lastLook = found }
        guard found != known, found == before else { return }
        running.withLock { $0.fingerprints = found }
        _ = reloading.withLock { _ in adopt(configuration) }
    }

    /// Seals tickets with a new secret when it is time; clients with older ones make a whole
    /// handshake.
    private func renewTickets() {
        guard SystemClock.now() >= tickets.withLock({ $0.until }) else { return }
        reloading.withLock { _ in
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
            obstacle: { [self] in
                if isDraining.load(ordering: .acquiring) { return "draining" }
                let isRefusing = running.withLock { $0.plan.ledger.whenFull == .refuse }
                return isRefusing && !metrics.canRecord ? "ledger unavailable" : nil
            },
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
        // SIGXFSZ: a file that may not grow is a failed write like any other.
        for number in [SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGXFSZ] { unsafe sigaddset(&set, number) }
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
