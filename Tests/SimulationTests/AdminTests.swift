import Primitives
import TestSupport
import Testing
import Translation
import Wire

@testable import Gateway
@testable import Runtime

/// The admin side: who asks whether we are alive waits for nobody.
@Suite struct AdminTests {
    private let world = SimulatedWorld(seed: 1)

    private func worker() throws -> Worker<SimulatedKernel> {
        let outcome = ConfigurationReader(
            folder: ".", providers: ProviderCatalogue.all, secrets: nil
        ).read(Array(Simulation.configuration.utf8))
        let metrics = Metrics(shards: 1, version: "test")
        let plan = try PlanBuilder(
            configuration: #require(outcome.configuration), environment: [:]
        ) { _, _ in }.build(metrics: metrics, previous: nil)
        return Worker(
            kernel: SimulatedKernel(world: world),
            listeners: [OpenListener(descriptor: 3, tls: nil)], plan: plan,
            role: .admin { request in
                AdminAnswer(status: 200, contentType: "text/plain", body: request.target)
            }, shard: 0, workerCount: 1, ledger: LedgerQueue())
    }

    private func ask(_ paths: String..., on client: Int32) {
        for path in paths {
            world.send(Array("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n".utf8), on: client)
        }
    }

    private func bodies(_ client: Int32) -> [String] {
        ClientView(world.receive(on: client)).answers.map(\.body)
    }

    @Test func `a long answer keeps nobody waiting, and its connection in order`() throws {
        var worker = try worker()
        let (patient, prompt, gone) = (
            world.connectClient(), world.connectClient(), world.connectClient()
        )
        ask("/admin/usage?since=1h", "/metrics", on: patient)
        ask("/admin/usage", on: gone)
        ask("/livez", on: prompt)
        for _ in 0..<5 { worker.turn() }
        #expect(bodies(prompt) == ["/livez"])
        #expect(bodies(patient).isEmpty)
        world.reset(gone)
        for _ in 0..<5 { worker.turn() }
        #expect(world.isClosed(gone))
        world.mail = world.answersAside
        for _ in 0..<5 { worker.turn() }
        #expect(bodies(patient) == ["/admin/usage?since=1h", "/metrics"])
        ask("/livez", on: patient)
        for _ in 0..<5 { worker.turn() }
        #expect(bodies(patient) == ["/livez"])
    }

    @Test func `a long answer finds its stream of HTTP2, or nobody`() throws {
        var worker = try worker()
        let client = world.connectClient()
        let frames = [1, 3, 5].flatMap { number in
            RawFrame.headers(
                UInt32(number),
                HeaderBlock.request(path: number == 5 ? "/livez" : "/admin/usage"))
        }
        world.send(RawFrame.preface + RawFrame.settings() + frames, on: client)
        for _ in 0..<5 { worker.turn() }
        world.send(RawFrame.reset(1), on: client)
        for _ in 0..<5 { worker.turn() }
        func heads() -> [UInt32] {
            SeenFrame.all(in: world.receive(on: client)).filter {
                $0.kind == RawFrame.headersKind
            }.map(\.stream)
        }
        #expect(heads() == [5])
        world.mail = world.answersAside
        for _ in 0..<5 { worker.turn() }
        #expect(heads() == [3])
    }
}
