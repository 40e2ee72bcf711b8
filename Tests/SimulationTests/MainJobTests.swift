import Foundation
import Primitives
import TestSupport
import Testing
import Wire

@testable import Gateway
@testable import Runtime
@testable import Simulator

@Suite struct MainJobTests {
    /// A request, and what is spoken on both sides.
    struct Case: Sendable, CustomStringConvertible {
        let model: String
        let stream: Bool
        var client = HTTPVersion.http11
        var backend = BackendHTTP.http1
        var description: String {
            "\(model)\(stream ? ", streamed" : ""), \(client) to HTTP/\(backend.rawValue)"
        }
    }

    static let jobs = [
        Case(model: "llama", stream: false), Case(model: "llama", stream: true),
        Case(model: "claude", stream: false), Case(model: "claude", stream: true),
    ]

    /// All jobs over all versions.
    static let cases = [HTTPVersion.http11, .http2].flatMap { client in
        [BackendHTTP.http1, .http2].flatMap { backend in
            jobs.map { Case(model: $0.model, stream: $0.stream, client: client, backend: backend) }
        }
    }

    @Test(arguments: cases)
    func `a request is answered, metered and settled`(_ job: Case) throws {
        var simulation = try Simulation(seed: 1, backendHTTP: job.backend)
        let client = simulation.connect(job.client)
        client.ask(model: job.model, stream: job.stream)
        simulation.settle()
        #expect(client.answers.map(\.status) == [200])
        #expect(client.answers.first?.body.contains("[DONE]") == job.stream)
        let rows = simulation.rows()
        #expect(rows.count == 1)
        #expect(rows.first?.usageSource == .upstream)
        #expect(rows.first?.usage.output ?? 0 > 0)
        let isQuiet = simulation.isQuiet
        #expect(isQuiet)
    }

    @Test(arguments: [HTTPVersion.http11, .http2])
    func `answers say when they were made`(_ version: HTTPVersion) throws {
        var simulation = try Simulation(seed: 1)
        let client = simulation.connect(version)
        var dates: [String] = []
        // Proxied, streamed, and of our own.
        for (model, stream) in [("llama", false), ("claude", true), ("ghost", false)] {
            dates.append(String(decoding: HTTPDate.text(simulation.world.wall), as: UTF8.self))
            client.ask(model: model, stream: stream)
            simulation.settle()
            simulation.wait(milliseconds: 1_500)
        }
        #expect(client.answers.map(\.status) == [200, 200, 404])
        #expect(client.dates == dates)
        #expect(Set(dates).count == 3)
    }

    @Test(arguments: cases)
    func `bytes that dribble and stall change nothing`(_ job: Case) throws {
        for seed in UInt64(1)...8 {
            var simulation = try Simulation(seed: seed, backendHTTP: job.backend)
            simulation.world.faults.shortTransfers = 7
            simulation.world.faults.stallRate = 0.3
            let client = simulation.connect(job.client)
            client.ask(model: job.model, stream: job.stream)
            simulation.settle(turns: 4000)
            #expect(client.answers.map(\.status) == [200], "SEED=\(seed)")
            #expect(simulation.rows().count == 1, "SEED=\(seed)")
        }
    }

    @Test(arguments: cases)
    func `a reset at any step leaves one row and nothing open`(_ job: Case) throws {
        var step = 1
        while true {
            var simulation = try Simulation(seed: 5, backendHTTP: job.backend)
            simulation.world.faults.shortTransfers = 400
            simulation.world.faults.resetAtOperation = step
            let client = simulation.connect(job.client)
            client.ask(model: job.model, stream: job.stream)
            simulation.settle(turns: 1000)
            #expect(!client.isMalformed, "step \(step)")
            #expect(client.answers.count <= 1, "step \(step)")
            if !simulation.world.isClosed(client.connection) {
                #expect(client.answers.count == 1, "step \(step)")
            }
            if let body = client.answers.first?.body, job.stream, body.hasPrefix("data:") {
                #expect(body.contains("[DONE]") != body.contains("\"error\""), "step \(step)")
            }
            let rows = simulation.rows()
            // A request that did not reach admission has none.
            let reached = !simulation.backendRequests.isEmpty
            #expect(rows.count == 1 || rows.isEmpty && !reached, "step \(step)")
            let isQuiet = simulation.isQuiet
            #expect(isQuiet, "step \(step)")
            if simulation.world.operations < step { break }
            step += 1
        }
        #expect(step > 5)
    }

    @Test(arguments: cases)
    func `a client that leaves cancels the backend and is billed`(_ job: Case) throws {
        var simulation = try Simulation(seed: 2, backendHTTP: job.backend)
        let client = simulation.connect(job.client)
        client.ask(model: job.model, stream: job.stream)
        simulation.areBackendsSilent = true
        simulation.settle(turns: 20)
        simulation.world.reset(client.connection)
        simulation.settle(turns: 20)
        let rows = simulation.rows()
        #expect(rows.map(\.status) == [499])
        // The backend was at work: on the prompt at least, and on a whole answer, unseen.
        #expect(rows.map(\.usageSource) == [.estimated])
        #expect(rows.first?.usage.input ?? 0 > 0)
        #expect((rows.first?.usage.output ?? 0 > 0) == !job.stream)
        let isQuiet = simulation.isQuiet
        #expect(isQuiet)
        // A connection that others may use outlives the stream.
        #expect(simulation.world.openConnections == (job.backend == .http2 ? 1 : 0))
    }

    @Test func `a client that ends its side still gets its answer`() throws {
        var simulation = try Simulation(seed: 3)
        simulation.areBackendsSilent = true
        let client = simulation.world.connectClient()
        simulation.world.send(chatRequest(model: "llama", stream: false), on: client)
        simulation.settle(turns: 20)
        simulation.world.end(client)
        simulation.settle(turns: 20)
        simulation.areBackendsSilent = false
        simulation.settle()
        let view = ClientView(simulation.world.receive(on: client))
        #expect(view.answers.map(\.status) == [200])
        #expect(simulation.world.isClosed(client))
    }

    @Test(arguments: [[], Array("POST /v1/".utf8), Array("nonsense\r\n\r\n".utf8)])
    func `all that was sent before a client's end is answered`(_ rest: [UInt8]) throws {
        var simulation = try Simulation(seed: 3)
        let client = simulation.world.connectClient()
        var bytes: [UInt8] = []
        for model in ["llama", "claude", "llama"] {
            bytes += chatRequest(model: model, stream: model == "llama")
        }
        simulation.world.send(bytes + rest, on: client)
        simulation.world.end(client)
        simulation.settle()
        let view = ClientView(simulation.world.receive(on: client))
        #expect(view.answers.map(\.status).prefix(3) == [200, 200, 200])
        #expect(simulation.rows().count == 3)
        #expect(simulation.world.isClosed(client))
    }

    @Test func `pipelined requests are answered in order`() throws {
        var simulation = try Simulation(seed: 4)
        let client = simulation.world.connectClient()
        var bytes: [UInt8] = []
        for index in 0..<6 {
            bytes += chatRequest(
                model: index % 2 == 0 ? "llama" : "claude", stream: index % 3 == 0,
                key: index == 4 ? "sk-wrong" : "sk-test")
        }
        simulation.world.send(bytes, on: client)
        simulation.settle(turns: 2000)
        let view = ClientView(simulation.world.receive(on: client))
        #expect(view.answers.map(\.status) == [200, 200, 200, 200, 401, 200])
        #expect(simulation.rows().count == 5)
    }

    @Test func `connections to backends are used again`() throws {
        var simulation = try Simulation(seed: 6)
        let client = simulation.world.connectClient()
        for _ in 0..<10 {
            simulation.world.send(chatRequest(model: "llama", stream: true), on: client)
            simulation.settle(turns: 50)
        }
        #expect(ClientView(simulation.world.receive(on: client)).answers.count == 10)
        #expect(simulation.world.openConnections == 2)
    }

    @Test func `a silent backend is given up by its clocks, and the client hears of it`() throws {
        var simulation = try Simulation(seed: 7)
        simulation.areBackendsSilent = true
        let client = simulation.world.connectClient()
        simulation.world.send(chatRequest(model: "llama", stream: false), on: client)
        simulation.settle(turns: 20)
        simulation.letTimePass(steps: 400)
        let view = ClientView(simulation.world.receive(on: client))
        #expect(view.answers.first?.status == 504)
        #expect(view.answers.first?.body.contains("upstream_timeout") == true)
        #expect(simulation.rows().map(\.status) == [504])
    }

    @Test func `while a model is silent its stream is kept alive by comments`() throws {
        var simulation = try Simulation(seed: 8)
        simulation.areBackendsSilent = true
        let client = simulation.world.connectClient()
        simulation.world.send(chatRequest(model: "claude", stream: true), on: client)
        simulation.settle(turns: 20)
        simulation.letTimePass(steps: 60)
        let early = String(decoding: simulation.world.receive(on: client), as: UTF8.self)
        #expect(early.contains("text/event-stream"))
        #expect(early.contains(": keepalive"))
        simulation.areBackendsSilent = false
        simulation.settle()
        let late = String(decoding: simulation.world.receive(on: client), as: UTF8.self)
        #expect(late.contains("[DONE]"))
    }

    @Test func `a slow reader stops its backend, and memory stays bounded`() throws {
        var options = SimulatorOptions()
        options.chunkCount = 20_000
        var simulation = try Simulation(seed: 9, options: options)
        let client = simulation.world.connectClient()
        simulation.world.setWindow(1000, on: client)
        simulation.world.send(chatRequest(model: "llama", stream: true), on: client)
        simulation.settle(turns: 200)
        var received: [UInt8] = []
        var turns = 0
        while !String(decoding: received.suffix(64), as: UTF8.self).contains("[DONE]"),
            turns < 20_000
        {
            received += simulation.world.receive(on: client)
            simulation.settle(turns: 2)
            turns += 1
        }
        received += simulation.world.receive(on: client)
        #expect(ClientView(received).answers.map(\.status) == [200])
    }

    @Test(arguments: [HTTPVersion.http11, .http2], [BackendHTTP.http1, .http2])
    func `failures of every kind end honestly, and all figures agree`(
        _ version: HTTPVersion, _ backendHTTP: BackendHTTP
    ) throws {
        for seed in UInt64(1)...40 {
            var options = SimulatorOptions()
            options.failureRate = 0.7
            options.seed = seed
            var simulation = try Simulation(seed: seed, options: options, backendHTTP: backendHTTP)
            var rows: [LedgerRow] = []
            for job in Self.jobs {
                let client = simulation.connect(version)
                client.ask(model: job.model, stream: job.stream)
                simulation.settle(turns: 200)
                #expect(client.answers.count == 1, "SEED=\(seed) \(job)")
                rows += simulation.rows()
                let answer = try #require(client.answers.first)
                let row = try #require(rows.last)
                if answer.status != 200 {
                    #expect(row.status == answer.status, "SEED=\(seed) \(job)")
                } else if job.stream {
                    #expect(
                        answer.body.contains("[DONE]") != answer.body.contains("{\"error\""),
                        "SEED=\(seed) \(job)")
                    #expect((row.status == 200) == answer.body.contains("[DONE]"))
                }
            }
            #expect(rows.count == Self.jobs.count, "SEED=\(seed)")
            #expect(Set(rows.map(\.id)).count == rows.count)
            let page = String(
                decoding: simulation.metrics.render(openMetrics: false), as: UTF8.self)
            let counted = page.split(separator: "\n")
                .filter { $0.hasPrefix("sluice_tokens_total") && $0.contains("kind=\"input\"") }
                .reduce(0) { $0 + (Int($1.split(separator: " ").last ?? "") ?? 0) }
            #expect(counted == rows.reduce(0) { $0 + $1.usage.input }, "SEED=\(seed)")
            let isQuiet = simulation.isQuiet
            #expect(isQuiet, "SEED=\(seed)")
        }
    }

    @Test func `no credential crosses to the other side`() throws {
        var simulation = try Simulation(seed: 11)
        let client = simulation.world.connectClient()
        for job in Self.jobs {
            simulation.world.send(chatRequest(model: job.model, stream: job.stream), on: client)
            simulation.settle(turns: 100)
        }
        let seen = simulation.world.receive(on: client)
        #expect(!String(decoding: seen, as: UTF8.self).contains("backend-key"))
        for request in simulation.backendRequests {
            for index in 0..<request.head.fields.count {
                #expect(!request.head.fields.value(at: index).text.contains("sk-test"))
            }
        }
        let log = String(decoding: simulation.world.log, as: UTF8.self)
        #expect(!log.contains("sk-test"))
        #expect(log.split(separator: "\n").count == 4)
    }

    @Test(arguments: ["narrow", "narrow-aws"], [false, true])
    func `requests that wait for a full pool get their own answers`(
        _ model: String, _ stream: Bool
    ) throws {
        for seed in UInt64(1)...20 {
            var simulation = try Simulation(seed: seed)
            simulation.world.faults.shortTransfers = seed % 2 == 0 ? 300 : nil
            let clients = (0..<8).map { _ in simulation.world.connectClient() }
            for (index, client) in clients.enumerated() {
                simulation.world.send(
                    chatRequest(model: model, stream: stream, text: "request \(index)"),
                    on: client)
                if index == 3 { simulation.world.reset(clients[1]) }
            }
            simulation.settle(turns: 3000)
            for (index, client) in clients.enumerated() where index != 1 {
                var alone = try Simulation(seed: 99)
                let other = alone.world.connectClient()
                alone.world.send(
                    chatRequest(model: model, stream: stream, text: "request \(index)"),
                    on: other)
                alone.settle(turns: 200)
                let expected = ClientView(alone.world.receive(on: other)).answers
                let got = ClientView(simulation.world.receive(on: client)).answers
                #expect(
                    got.map { unnamed($0.body) } == expected.map { unnamed($0.body) },
                    "SEED=\(seed) \(index)")
                #expect(got.count == 1)
            }
            #expect(simulation.rows().count <= 8)
            let isQuiet = simulation.isQuiet
            #expect(isQuiet, "SEED=\(seed)")
        }
    }

    /// An answer without its unique id.
    private func unnamed(_ body: String) -> String {
        body.replacing(/"chatcmpl-[0-9a-f]+"/, with: "")
    }

    @Test func `a remote image is fetched before the request goes out`() throws {
        let png: [UInt8] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 1, 2, 3]
        for isThere in [true, false] {
            var simulation = try Simulation(seed: 13)
            let url = "https://example.com/cat.png"
            if isThere { simulation.world.images?[Array(url.utf8)] = png }
            let client = simulation.world.connectClient()
            simulation.world.send(imageRequest(url), on: client)
            simulation.settle()
            let view = ClientView(simulation.world.receive(on: client))
            #expect(view.answers.map(\.status) == [isThere ? 200 : 400])
            let sent = simulation.backendRequests.map { String(decoding: $0.body, as: UTF8.self) }
            let encoded = String(decoding: Base64.encode(png.span), as: UTF8.self)
            #expect(sent.contains { $0.contains(encoded) } == isThere)
            #expect(simulation.rows().count == 1)
        }
    }

    @Test func `remote images take their room among what is held for requests`() throws {
        let url = "https://example.com/large.png"
        let png: [UInt8] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]
        for size in [1_000, 5_000] {
            var simulation = try Simulation(seed: 14, more: "limits: {buffered_bytes: 4KiB}")
            simulation.areBackendsSilent = true
            let padding = [UInt8](repeating: 1, count: size - png.count)
            simulation.world.images?[Array(url.utf8)] = png + padding
            let client = simulation.world.connectClient()
            simulation.world.send(imageRequest(url), on: client)
            simulation.settle(turns: 20)
            let held = simulation.metrics.bufferedBytes.value
            #expect(size == 1_000 ? held > size : held == 0)
            simulation.areBackendsSilent = false
            simulation.settle()
            let view = ClientView(simulation.world.receive(on: client))
            #expect(view.answers.map(\.status) == [size == 1_000 ? 200 : 503])
            simulation.world.forgetImageOrders()
            #expect(simulation.metrics.bufferedBytes.value == 0)
        }
    }

    @Test func `images of a client that has left are not wanted any more`() throws {
        var simulation = try Simulation(seed: 15)
        simulation.world.images = nil
        let client = simulation.world.connectClient()
        simulation.world.send(imageRequest("https://example.com/slow.png"), on: client)
        simulation.settle(turns: 20)
        #expect(simulation.world.imageOrders.map(\.isWanted) == [true])
        simulation.world.reset(client)
        simulation.settle(turns: 20)
        #expect(simulation.world.imageOrders.map(\.isWanted) == [false])
        #expect(simulation.rows().map(\.status) == [499])
    }

    private func imageRequest(_ url: String) -> [UInt8] {
        let part = #"{"type":"image_url","image_url":{"url":"\#(url)"}}"#
        let body = #"{"model":"claude","messages":[{"role":"user","content":[\#(part)]}]}"#
        return Array(
            ("POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer sk-test\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)").utf8)
    }
}
