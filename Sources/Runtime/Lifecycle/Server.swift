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
        /// The configuration file.
        public let path: String
        /// When and how it was last changed before it was read; nil when it was not there.
        public let fingerprint: String?
        /// Reads and checks it again.
        public let reread: @Sendable () -> Result<Configuration, PlanFailure>
        /// The environment.
        public let environment: [String: String]
        /// Tells an operator something, at a level of swift-log.
        public let log: @Sendable (_ level: String, _ message: String) -> Void
        /// The version, for metrics.
        public let version: String

        /// Surroundings.
        public init(
            path: String, fingerprint: String?,
            reread: @escaping @Sendable () -> Result<Configuration, PlanFailure>,
            environment: [String: String],
            log: @escaping @Sendable (String, String) -> Void, version: String
        ) {
            self.path = path
            self.fingerprint = fingerprint
            self.reread = reread
            self.environment = environment
            self.log = log
            self.version = version
        }
    }

    struct Running {
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
    struct Tickets {
        var secret = TLSTicketSecret(random: SecureRandom.bytes(count: 32))
        var until = SystemClock.now().advanced(byMilliseconds: Limits.tlsTicketSecretMilliseconds)
    }

    let surroundings: Surroundings
    let metrics: Metrics
    let ledger: LedgerThread
    let logSink = AccessLogSink()
    private let resolver = Resolver()
    let running: Locked<Running>
    let tickets: Locked<Tickets>
    /// Plans that requests may still use.
    let formerPlans = Locked<[Plan]>([])
    /// Held while a reload goes on: two at once would reach the workers in different orders.
    let reloading = Locked(())
    /// Where clients connect; other addresses need a restart.
    let addresses: [SocketName]
    let mailboxes = Locked<[Mailbox]>([])
    let isDraining = Atomic<Bool>(false)
    /// Workers that have served their last client.
    let finishedWorkers = Atomic<Int>(0)
    private let workerEnds = Doorbell()
    /// Requests that a drain has broken off.
    let brokenOff = Atomic<Int>(0)
    let workerCount: Int
    let signals: Int32
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
        let log = surroundings.log
        ledger = LedgerThread(
            workers: workerCount + 1, metrics: metrics, settings: configuration.ledger, report: log)
        let builder = PlanBuilder(
            configuration: configuration, environment: surroundings.environment, log: log)
        var fingerprints = Self.fingerprints(builder.watchedFiles)
        fingerprints[surroundings.path] = surroundings.fingerprint ?? ""
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

    /// Serves until SIGTERM or SIGINT, then drains. Must be called on the first thread. Returns how
    /// many requests the drain has broken off.
    /// - Throws: what cannot be opened, such as an address that is in use.
    public func run() throws(PlanFailure) -> Int {
        raiseDescriptorLimit()
        let configuration = running.withLock { $0.configuration }
        do throws(SQLiteFailure) {
            try ledger.start(directory: configuration.stateDirectory)
        } catch {
            throw PlanFailure(message: "state: \(error.message)")
        }
        try restoreLimits(of: running.withLock { $0.plan }, configuration)
        do throws(KernelFailure) {
            try logSink.start()
        } catch {
            throw PlanFailure(message: "no thread for the access log: \(error.reason)")
        }
        let threads = try startWorkers(configuration)
        announce(configuration)
        supervise(adminMailbox: threads.adminMailbox)
        for thread in threads.gateway { thread.join() }
        // Until now the admin side has answered that we are draining.
        let now = SystemClock.now()
        threads.adminMailbox?.post(
            .drain(DrainSchedule(steerAt: now, closeAt: now, deadline: now)))
        threads.admin?.join()
        ledger.stop()
        logSink.stop()
        return brokenOff.load(ordering: .acquiring)
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
                    workerCount: workerCount, ledger: ledger.queues[shard]))
            let thread = try BackgroundThread { [self] in
                brokenOff.wrappingAdd(box.run(), ordering: .releasing)
                finishedWorkers.wrappingAdd(1, ordering: .releasing)
                workerEnds.ring()
            }
            return (thread, mailbox)
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
            queue: ledger.queues[shard]
        ) { log("error", $0) }
    }

    private func address(of name: SocketName) throws(KernelFailure) -> SocketAddress {
        guard let address = SocketAddress(literal: name.listeningHost, port: name.port) else {
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

    /// Day and month limits that are new to this process go on where the ledger says they are.
    func restoreLimits(
        of plan: Plan, _ configuration: Configuration
    ) throws(PlanFailure) {
        let restorations = plan.quota.restorations
        if !restorations.isEmpty { awaitWaitingRows() }
        let (now, wall) = (SystemClock.now(), SystemClock.wallTime())
        for restoration in restorations {
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

    /// Waits until the ledger has what waits for it now, for a while: a reload must not miss it.
    private func awaitWaitingRows() {
        let wanted = metrics.ledgerRows.value + metrics.ledgerWaiting.value
        let until = SystemClock.now().advanced(byMilliseconds: Limits.ledgerAwaitMilliseconds)
        while metrics.ledgerRows.value < wanted, metrics.ledgerWaiting.value > 0,
            SystemClock.now() < until
        {
            usleep(5_000)
        }
    }

    // MARK: - While it runs

    /// Waits for signals until the last request has ended; in between it looks after changed files.
    private func supervise(adminMailbox: Mailbox?) {
        var lookedAt = SystemClock.now()
        while finishedWorkers.load(ordering: .acquiring) < workerCount {
            if awaitSignal() { handle(readSignal(), adminMailbox) }
            workerEnds.answer()
            let now = SystemClock.now()
            guard now.milliseconds(since: lookedAt) >= Limits.lookAroundMilliseconds,
                !isDraining.load(ordering: .acquiring)
            else { continue }
            lookedAt = now
            reloadChangedFiles()
            renewTickets()
            freeFormerPlans()
        }
    }

    /// Waits for a signal, for the end of a worker, or until it is time to look around. Whether
    /// there is a signal.
    private func awaitSignal() -> Bool {
        var entries: [2 of pollfd] = [
            pollfd(fd: signals, events: Int16(POLLIN), revents: 0),
            pollfd(fd: workerEnds.descriptor, events: Int16(POLLIN), revents: 0),
        ]
        var span = entries.mutableSpan
        _ = unsafe span.withUnsafeMutableBufferPointer {
            unsafe poll($0.baseAddress, nfds_t($0.count), Int32(Limits.lookAroundMilliseconds))
        }
        return entries[0].revents & Int16(POLLIN) != 0
    }

    private func handle(_ signal: Int32, _ adminMailbox: Mailbox?) {
        let isDraining = isDraining.load(ordering: .acquiring)
        switch signal {
        case SIGHUP where !isDraining: _ = reload()
        case SIGTERM, SIGINT: isDraining ? hurry() : drain(adminMailbox)
        default: break
        }
    }

    private func drain(_ adminMailbox: Mailbox?) {
        surroundings.log("info", "draining: requests under way finish; the next signal ends them")
        isDraining.store(true, ordering: .releasing)
        let now = SystemClock.now()
        let schedule = DrainSchedule(now: now, running.withLock { $0.configuration.drain })
        post(.drain(schedule))
        // Of two processes on one address, the one that stays answers from now on.
        let late = schedule.deadline.advanced(byMilliseconds: Limits.drainMilliseconds)
        adminMailbox?.post(.drain(DrainSchedule(steerAt: now, closeAt: late, deadline: late)))
    }

    /// The second signal: what is under way ends now.
    private func hurry() {
        surroundings.log("warning", "told to end again: requests under way are broken off")
        let now = SystemClock.now()
        post(.drain(DrainSchedule(steerAt: now, closeAt: now, deadline: now)))
    }

    func post(_ mail: Mail) {
        for mailbox in mailboxes.withLock({ $0 }) { mailbox.post(mail) }
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

    /// Called once, on the worker's thread. How many requests were broken off at the end.
    func run() -> Int {
        guard var worker = worker.take() else { return 0 }
        worker.run()
        return worker.brokenOffCount
    }
}
