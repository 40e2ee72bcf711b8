import Foundation
import Primitives
import TestSupport
import Testing
import Translation
import Wire

@testable import Gateway
@testable import Runtime
@testable import Simulator

/// A whole gateway over simulated sockets: the unchanged Worker, and backends that answer as
/// `sluice simulate` does.
struct Simulation: ~Copyable {
    static let configuration = """
        backends:
          vllm: {kind: vllm, url: "http://backend/v1", api_key: {value: backend-key}}
          one: {kind: vllm, url: "http://one/v1", connections: {max: 1}}
          aws:
            {kind: bedrock, region: eu-central-1, url: "http://backend", credentials:
            {access_key_id: {value: AK}, secret_access_key: {value: SK}}}
          one-aws:
            {kind: bedrock, region: eu-central-1, url: "http://one", connections: {max: 1},
            credentials: {access_key_id: {value: AK}, secret_access_key: {value: SK}}}
          patient:
            {kind: vllm, url: "http://backend/v1", timeouts: {first_byte: 25m, idle: 25m}}
        routes:
          - {model: "llama", targets: [{backend: vllm}]}
          - {model: "patient", targets: [{backend: patient}]}
          - {model: "narrow", targets: [{backend: one}]}
          - {model: "narrow-aws", targets: [{backend: one-aws}]}
          - {model: "claude", targets: [{backend: aws, remote_images: fetch, model: anthropic.claude-3-5-sonnet-20240620-v1:0}]}
        tenants:
          - name: t
            keys: [{value: sk-test}]
            models: ["*"]
            limits: [{requests: 1000, per: minute}, {tokens: 1M, per: minute}]
        """

    let world: SimulatedWorld
    private(set) var plan: Plan
    let ledger = LedgerQueue()
    let metrics = Metrics(shards: 1, version: "test")
    private let backend: SimulatedBackend
    private var worker: Worker<SimulatedKernel>
    /// The connections to backends, by their names in the world.
    private(set) var backends: [Int32: any SimulatedPeer] = [:]
    /// Clients that are served along with the backends.
    private var clients: [SimulatedClient] = []
    private let backendHTTP: BackendHTTP
    /// How many streams a backend's connection takes.
    var backendStreams = 100
    /// Requests that backends have seen.
    private(set) var backendRequests: [SimulatedRequest] = []
    /// Whether backends answer at all.
    var areBackendsSilent = false

    /// `more` goes to the end of the configuration.
    init(
        seed: UInt64, options: SimulatorOptions = SimulatorOptions(),
        backendHTTP: BackendHTTP = .http1,
        configuration text: String = Self.configuration, tls: TLSContext? = nil, more: String = "",
        descriptors: Int = 1_000_000, listeners: [Int32] = [3]
    ) throws {
        self.backendHTTP = backendHTTP
        world = SimulatedWorld(seed: seed)
        world.descriptorLimit = descriptors
        backend = SimulatedBackend(options: options)
        plan = try Self.plan("\(text)\n\(more)", backendHTTP, metrics, previous: nil)
        worker = Worker(
            kernel: SimulatedKernel(world: world),
            listeners: listeners.map { OpenListener(descriptor: $0, tls: tls) }, plan: plan,
            role: .gateway, shard: 0, workerCount: 1, ledger: ledger)
    }

    private static func plan(
        _ text: String, _ backendHTTP: BackendHTTP, _ metrics: Metrics, previous: Plan?
    ) throws -> Plan {
        let outcome = ConfigurationReader(
            folder: ".", providers: ProviderCatalogue.all, secrets: nil
        ).read(Array(text.utf8))
        var configuration = try #require(outcome.configuration, "\(outcome.problems)")
        for index in configuration.backends.indices {
            configuration.backends[index].http = backendHTTP
        }
        let builder = PlanBuilder(configuration: configuration, environment: [:]) { _, _ in }
        return try builder.build(metrics: metrics, previous: previous)
    }

    /// Reloads: the worker learns of it in its next turn.
    mutating func reload(_ text: String) throws {
        plan = try Self.plan(text, backendHTTP, metrics, previous: plan)
        world.mail.append(.plan(plan, listenerTLS: [nil]))
    }

    /// Tells the worker to end, its steps due after so many milliseconds.
    mutating func drain(closeAfter: Int = 0, deadlineAfter: Int = 30_000) {
        let closeAt = world.now.advanced(byMilliseconds: closeAfter)
        let deadline = world.now.advanced(byMilliseconds: deadlineAfter)
        world.mail.append(
            .drain(DrainSchedule(steerAt: world.now, closeAt: closeAt, deadline: deadline)))
    }

    /// Moves the clock on, and lets happen what is due then.
    mutating func wait(milliseconds: Int) {
        world.now = world.now.advanced(byMilliseconds: milliseconds)
        settle(turns: 10)
    }

    /// A client that speaks a version of HTTP.
    mutating func connect(_ version: HTTPVersion) -> SimulatedClient {
        let client = SimulatedClient(world, version)
        clients.append(client)
        return client
    }

    /// Turns until nothing more happens, backends answering in between.
    mutating func settle(turns: Int = 400) {
        for _ in 0..<turns {
            worker.turn()
            serveBackends()
            for client in clients { client.pump() }
        }
    }

    /// Moves the clock to the worker's next deadline, a number of times.
    mutating func letTimePass(steps: Int) {
        for _ in 0..<steps {
            if let deadline = world.nextDeadline, deadline > world.now { world.now = deadline }
            settle(turns: 20)
        }
    }

    var isQuiet: Bool {
        worker.flights.count == 0 && metrics.requestsInFlight.value == 0
    }

    var clientCount: Int { worker.clients.count }
    var poolCount: Int { worker.pools.count }
    var isDone: Bool { worker.isDone }
    var brokenOffCount: Int { worker.brokenOffCount }

    /// The rows so far.
    func rows() -> [LedgerRow] { ledger.take().rows.decoded }

    /// One turn of the worker alone.
    mutating func turn() { worker.turn() }

    /// Lets backends answer what they have received.
    mutating func serveBackends() {
        for connection in world.takeNewBackends() {
            backends[connection] =
                backendHTTP == .http2
                ? HTTP2Peer(now: world.now, streams: backendStreams) : HTTP1Peer()
        }
        guard !areBackendsSilent else { return }
        for connection in backends.keys.sorted() where !world.isClosed(connection) {
            guard let peer = backends[connection] else { continue }
            var isAlive = true
            for request in peer.receive(world.receive(on: connection), now: world.now) {
                backendRequests.append(request)
                let reply = backend.reply(
                    to: request, now: WallTime(milliseconds: 1_767_323_046_000))
                isAlive = peer.reply(reply) && isAlive
            }
            world.send(peer.takeOutput(now: world.now), on: connection)
            if !isAlive { world.end(connection) }
        }
    }
}

/// Puts requests together on a simulated backend's connection.
final class RequestAccumulator {
    private var bytes: [UInt8] = []

    func receive(_ more: [UInt8]) -> [SimulatedRequest] {
        bytes += more
        var requests: [SimulatedRequest] = []
        while true {
            var reader = HTTP1RequestReader(limits: HTTP1Limits())
            var position = 0
            var body: [UInt8] = []
            var isWhole = false
            reading: while true {
                switch reader.next(bytes.span, position: &position) {
                case .needsMore, .failed: break reading
                case .head: break
                case .body(let range): body += bytes[range]
                case .end:
                    isWhole = true
                    break reading
                }
            }
            guard isWhole else { return requests }
            requests.append(SimulatedRequest(head: reader.head, body: body))
            bytes.removeFirst(position)
        }
    }
}

/// What a client has received, understood.
struct ClientView {
    /// Complete answers: status and body, chunks put together.
    private(set) var answers: [(status: Int, body: String)] = []
    /// Whether the bytes end within an answer.
    private(set) var isCut = false
    private(set) var isMalformed = false

    init(_ bytes: [UInt8]) {
        var rest = bytes
        while !rest.isEmpty {
            var reader = HTTP1ResponseReader(limits: HTTP1Limits())
            reader.begin(isHeadRequest: false)
            var position = 0
            var body: [UInt8] = []
            var isWhole = false
            reading: while true {
                switch reader.next(rest.span, position: &position) {
                case .needsMore: break reading
                case .failed:
                    isMalformed = true
                    return
                case .head: break
                case .body(let range): body += rest[range]
                case .end:
                    isWhole = true
                    break reading
                }
            }
            guard isWhole else {
                isCut = true
                return
            }
            answers.append((reader.head.status, String(decoding: body, as: UTF8.self)))
            rest.removeFirst(position)
        }
    }
}

/// A chat request on the wire.
func chatRequest(
    model: String, stream: Bool, key: String? = "sk-test", text: String = "Hello, world"
) -> [UInt8] {
    let body = chatBody(model: model, stream: stream, text: text)
    return Array(
        ("POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
            + (key.map { "Authorization: Bearer \($0)\r\n" } ?? "")
            + "Content-Type: application/json\r\nContent-Length: \(body.count)\r\n\r\n").utf8)
        + body
}

/// The body of a chat request.
func chatBody(model: String, stream: Bool, text: String) -> [UInt8] {
    let messages = #"[{"role":"user","content":"\#(text)"}]"#
    return Array(#"{"model":"\#(model)","stream":\#(stream),"messages":\#(messages)}"#.utf8)
}

extension SettledRows {
    /// The rows themselves.
    var decoded: [LedgerRow] {
        var reader = JournalReader()
        var rows: [LedgerRow] = []
        while let event = reader.next(bytes.span) {
            if case .record(.settled(let row)) = event { rows.append(row) }
        }
        return rows
    }
}
