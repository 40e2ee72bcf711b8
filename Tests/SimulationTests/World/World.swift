import Primitives
import Translation
import Wire

@testable import Gateway
@testable import Runtime
@testable import Simulator

/// A whole gateway among clients, backends and faults that all come from one seed.
///
/// `run` plays it to its end and says what was wrong; the same seed plays the same again.
final class World {
    static let keys = ["red": "sk-red-secret", "blue": "sk-blue-secret"]
    static let secrets = [
        "backend-key-a", "backend-key-b", "aws-secret-key", "sk-red-secret", "sk-blue-secret",
    ]
    static let models = ["one", "two", "narrow", "claude", "mixed"]

    /// The configuration; a reload changes the tight limit, and whether `b` serves `two`.
    static func configuration(tokens: Int, isNarrow: Bool) -> String {
        """
        backends:
          a: {kind: vllm, url: "http://a/v1", api_key: {value: backend-key-a},
              timeouts: {first_byte: 40s, idle: 30s, total: 100s}}
          b: {kind: vllm, url: "http://b/v1", api_key: {value: backend-key-b},
              timeouts: {total: 100s}, connections: {max: 1}}
          aws: {kind: bedrock, region: eu-central-1, url: "http://aws", timeouts: {total: 100s},
              credentials: {access_key_id: {value: AK}, secret_access_key: {value: aws-secret-key}}}
        routes:
          - {model: one, targets: [{backend: a}]}
          - {model: two, targets: [{backend: a}\(isNarrow ? "" : ", {backend: b}")]}
          - {model: narrow, targets: [{backend: b}]}
          - {model: claude, targets: [{backend: aws, model: anthropic.claude-3-5-sonnet-20240620-v1:0}]}
          - {model: mixed, targets: [{backend: aws, model: amazon.nova-lite-v1:0}, {backend: a}]}
        tenants:
          - {name: red, keys: [{value: sk-red-secret}], models: ["*"], limits:
              [{tokens: 900M, per: day}, {requests: 900M, per: month}, {usd: 100000, per: month}]}
          - {name: blue, keys: [{value: sk-blue-secret}], models: ["*"], limits:
              [{tokens: \(tokens), per: minute, on_exceed: cut}, {requests: 20, per: minute, by: user}]}
        prices:
          "one": {input: 1.00, output: 2.00}
          "two": {input: 0.5, output: 1.5}
          "narrow": {input: 3, output: 4}
          anthropic.claude-3-5-sonnet-20240620-v1:0: {input: 3.00, output: 15.00}
        """
    }

    let seed: UInt64
    let world: SimulatedWorld
    let metrics = Metrics(shards: 1, version: "test")
    let ledger = LedgerQueue()
    private(set) var plan: Plan
    private(set) var worker: Worker<SimulatedKernel>
    private(set) var clients: [WorldClient] = []
    private(set) var records: [String: [BackendRecord]] = [:]
    private(set) var rows: [LedgerRow] = []
    private var backends: [WorldBackend] = []
    private var random: SeededGenerator
    private let script: ReplyScript
    private var isCalm = false
    /// The journal could not be written for a while: what was killed then may be lost.
    private(set) var hadSickJournal = false
    private var problems: [String] = []

    init(seed: UInt64) throws {
        self.seed = seed
        random = SeededGenerator(seed: seed)
        world = SimulatedWorld(seed: random.next())
        script = ReplyScript(
            troubleRate: [0, 0.2, 0.6].randomElement(using: &random) ?? 0)
        plan = try Self.plan(
            Self.configuration(
                tokens: [200, 3000].randomElement(using: &random) ?? 200, isNarrow: false),
            metrics, nil, &random)
        worker = Worker(
            kernel: SimulatedKernel(world: world),
            listeners: [OpenListener(descriptor: 3, tls: nil)], plan: plan, role: .gateway,
            shard: 0, workerCount: 1, ledger: ledger)
        world.faults = Self.faults(&random)
        switch Int.random(in: 0..<8, using: &random) {
        case 0: world.faults.killAtOperation = Int.random(in: 1...150, using: &random)
        case 1: world.faults.killAtJournalling = Int.random(in: 1...20, using: &random)
        default: break
        }
        for index in 0..<Int.random(in: 1...6, using: &random) { addClient(index) }
    }

    /// Plays to the end. What was wrong, in words; empty when all is well.
    func run() throws -> [String] {
        let length = Int.random(in: 50...300, using: &random)
        for _ in 0..<length where problems.isEmpty && !world.isKilled {
            step()
            try maybeReload()
            moveClock()
        }
        // Every third process is told to end while all this goes on.
        guard Int.random(in: 0..<3, using: &random) != 0 else {
            drainInTheMiddle()
            return problems + WorldCheck(self).problems()
        }
        calmDown()
        var steps = 0
        while !isFinished, steps < 6_000, problems.isEmpty, !world.isKilled {
            step()
            jumpClock()
            steps += 1
        }
        if world.isKilled { return problems + WorldCheck(self).problems() }
        if steps == 6_000 { problems.append("requests were still under way at the end") }
        drain()
        return problems + WorldCheck(self).problems()
    }

    // MARK: - Steps

    private func step() {
        worker.turn()
        for connection in world.takeNewBackends() {
            backends.append(
                WorldBackend(
                    world, connection,
                    streams: [1, 3, 100].randomElement(using: &random) ?? 100))
        }
        for backend in backends {
            backend.step { request in decide(request) }
        }
        for client in clients { client.step(&random) }
        rows += ledger.take().rows.decoded
        if metrics.reservationImbalance != 0 {
            problems.append(
                "reserved is not what open requests hold: \(metrics.reservationImbalance)")
        }
        let inFlight = metrics.requestsInFlight.value
        if inFlight < 0 || inFlight > worker.flights.count {
            problems.append("\(inFlight) in flight, \(worker.flights.count) flights")
        }
    }

    private func decide(_ request: SimulatedRequest) -> ScriptedReply? {
        let text = String(decoding: request.body, as: UTF8.self)
        guard let mark = text.firstMatch(of: /this is (mark-\d+-\d+),/)?.1 else {
            problems.append("a backend got a request without its mark: \(text)")
            return nil
        }
        var reply = script.reply(to: request, mark: String(mark), random: &random)
        // Some never answer; their clocks end that.
        let isSilent = !isCalm && Int.random(in: 0..<30, using: &random) == 0
        if isSilent {
            reply.isHonest = false
            reply.usage = nil
        }
        var host = request.head.fields.value(of: "host") ?? []
        if host.isEmpty { host = request.head.authority }
        records[String(mark), default: []].append(
            BackendRecord(
                host: String(decoding: host, as: UTF8.self), request: request, reply: reply,
                askedAt: world.wall))
        return isSilent ? nil : reply
    }

    private func maybeReload() throws {
        if seed % 3 == 0, Int.random(in: 0..<60, using: &random) == 0 {
            // The disk is full for a while.
            world.faults.journalFailure = world.faults.journalFailure == nil ? 28 : nil
            hadSickJournal = true
        }
        guard Int.random(in: 0..<150, using: &random) == 0 else { return }
        plan = try Self.plan(
            Self.configuration(
                tokens: [300, 5000].randomElement(using: &random) ?? 3000,
                isNarrow: Bool.random(using: &random)), metrics, plan, &random)
        world.mail.append(.plan(plan, listenerTLS: [nil]))
    }

    private func moveClock() {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<60: break
        case 60..<97:
            world.now = world.now.advanced(
                byMilliseconds: Int.random(in: 1...30, using: &random))
        case 97..<99:
            world.now = world.now.advanced(
                byMilliseconds: Int.random(in: 1_000...20_000, using: &random))
        default: jumpClock()
        }
    }

    /// To the next moment at which somebody wants to do something.
    private func jumpClock() {
        let moments = backends.compactMap(\.nextDue) + [world.nextDeadline].compactMap { $0 }
        if let next = moments.min(), next > world.now { world.now = next }
    }

    private func calmDown() {
        isCalm = true
        let former = world.faults
        world.faults = SimulatedWorld.Faults()
        world.faults.killAtOperation = former.killAtOperation
        world.faults.killAtJournalling = former.killAtJournalling
        for client in clients { client.calmDown() }
    }

    private var isFinished: Bool {
        worker.flights.count == 0
            && clients.allSatisfy {
                $0.hasLeft || world.isClosed($0.connection) || world.unread(on: $0.connection) == 0
            }
    }

    private func drain() {
        for _ in 0..<20 { step() }
        world.mail.append(.drain(DrainSchedule(now: world.now, DrainConfiguration())))
        for _ in 0..<100 where !worker.isDone {
            step()
            jumpClock()
        }
    }

    /// Whatever is under way finishes, or is told its end.
    private func drainInTheMiddle() {
        var drain = DrainConfiguration()
        drain.delayMilliseconds = [0, 300, 3_000].randomElement(using: &random) ?? 0
        drain.timeoutMilliseconds = [0, 50, 2_000, 30_000].randomElement(using: &random) ?? 0
        world.mail.append(.drain(DrainSchedule(now: world.now, drain)))
        var steps = 0
        while !worker.isDone, steps < 6_000, problems.isEmpty {
            step()
            moveClock()
            steps += 1
        }
        if steps == 6_000 { problems.append("the drain did not end") }
        for client in clients { client.read() }
    }

    // MARK: - From the seed

    private func addClient(_ index: Int) {
        let tenant = ["red", "red", "blue"].randomElement(using: &random) ?? "red"
        let asks = (0..<Int.random(in: 1...5, using: &random)).map { number in
            WorldAsk(
                mark: "mark-\(index)-\(number)",
                model: Self.models.randomElement(using: &random) ?? "one",
                isStreamed: Bool.random(using: &random),
                key: Int.random(in: 0..<20, using: &random) == 0
                    ? "sk-wrong" : Self.keys[tenant] ?? "",
                maximumTokens: Bool.random(using: &random)
                    ? Int.random(in: 1...900, using: &random) : nil,
                user: Bool.random(using: &random) ? "u\(number % 2)" : nil)
        }
        clients.append(
            WorldClient(
                world, Bool.random(using: &random) ? .http2 : .http11,
                WorldClient.Habit.allCases.randomElement(using: &random) ?? .none, asks))
    }

    private static func faults(_ random: inout SeededGenerator) -> SimulatedWorld.Faults {
        var faults = SimulatedWorld.Faults()
        // Half of the worlds have a perfect network.
        guard Bool.random(using: &random) else { return faults }
        faults.shortTransfers = [nil, 5, 100, 1000].randomElement(using: &random) ?? nil
        faults.stallRate = [0, 0.1, 0.5].randomElement(using: &random) ?? 0
        faults.resetRate = [0, 0.002, 0.02].randomElement(using: &random) ?? 0
        faults.refusalRate = [0, 0.1].randomElement(using: &random) ?? 0
        faults.exhaustionRate = [0, 0.1].randomElement(using: &random) ?? 0
        return faults
    }

    private static func plan(
        _ text: String, _ metrics: Metrics, _ previous: Plan?, _ random: inout SeededGenerator
    ) throws -> Plan {
        let outcome = ConfigurationReader(
            folder: ".", providers: ProviderCatalogue.all, secrets: nil
        ).read(Array(text.utf8))
        guard var configuration = outcome.configuration else {
            throw PlanFailure(message: "\(outcome.problems)")
        }
        for index in configuration.backends.indices {
            configuration.backends[index].http = Bool.random(using: &random) ? .http2 : .http1
        }
        return try PlanBuilder(configuration: configuration, environment: [:]) { _, _ in }
            .build(metrics: metrics, previous: previous)
    }
}
