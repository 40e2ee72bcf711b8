import Foundation
import Primitives
import TestSupport
import Testing

@testable import Gateway
@testable import Runtime
@testable import Simulator

/// Routes whose targets can do different things.
@Suite struct OtherTargetTests {
    /// `mixed` nearly always begins with Bedrock.
    private static let configuration = """
        backends:
          vllm: {kind: vllm, url: "http://backend/v1"}
          aws:
            {kind: bedrock, region: eu-central-1, url: "http://backend", credentials:
            {access_key_id: {value: AK}, secret_access_key: {value: SK}}}
        routes:
          - model: mixed
            targets:
              - {backend: aws, model: anthropic.claude-3-5-sonnet-20240620-v1:0, weight: 1000000}
              - {backend: vllm}
          - model: alike
            targets:
              - {backend: aws, model: anthropic.claude-3-5-sonnet-20240620-v1:0}
              - {backend: aws, model: amazon.nova-lite-v1:0}
        """

    private func request(_ model: String, _ member: String) -> [UInt8] {
        let messages = #"[{"role":"user","content":"Hi"}]"#
        let body = #"{"model":"\#(model)",\#(member),"messages":\#(messages)}"#
        return Array(
            ("POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)").utf8)
    }

    private func attempts(_ simulation: borrowing Simulation) -> Int {
        let page = String(decoding: simulation.metrics.render(openMetrics: false), as: UTF8.self)
        return page.split(separator: "\n").filter { $0.hasPrefix("sluice_attempts_total{") }
            .reduce(0) { $0 + (Int($1.split(separator: " ").last ?? "") ?? 0) }
    }

    @Test(arguments: [#""n":2"#, #""logprobs":true"#, #""tools":[{"type":"web_search"}]"#])
    func `what one target cannot honour another may`(_ member: String) throws {
        var simulation = try Simulation(seed: 1, configuration: Self.configuration)
        let client = simulation.world.connectClient()
        simulation.world.send(request("mixed", member), on: client)
        simulation.settle()
        let received = simulation.world.receive(on: client)
        #expect(ClientView(received).answers.map(\.status) == [200])
        let head = String(decoding: received, as: UTF8.self).lowercased()
        #expect(head.contains("x-sluice-backend: vllm\r\n"))
        #expect(head.contains("x-sluice-attempts: 1\r\n"))
        let rows = simulation.rows()
        #expect(rows.map(\.attempts) == [1])
        #expect(rows.map(\.backend) == ["vllm"])
        #expect(attempts(simulation) == 1)
    }

    @Test func `a mistake of the client's is told without asking further`() throws {
        var simulation = try Simulation(seed: 1, configuration: Self.configuration)
        let client = simulation.world.connectClient()
        simulation.world.send(request("mixed", #""temperature":9"#), on: client)
        simulation.settle()
        let answers = ClientView(simulation.world.receive(on: client)).answers
        #expect(answers.map(\.status) == [400])
        #expect(answers.first?.body.contains(#""code":"invalid_value""#) == true)
        #expect(simulation.backendRequests.isEmpty)
    }

    @Test func `what no target can honour is refused, and was no attempt`() throws {
        var simulation = try Simulation(seed: 1, configuration: Self.configuration)
        let client = simulation.world.connectClient()
        simulation.world.send(request("alike", #""n":2"#), on: client)
        simulation.settle()
        let received = simulation.world.receive(on: client)
        let answers = ClientView(received).answers
        #expect(answers.map(\.status) == [400])
        #expect(answers.first?.body.contains(#""code":"unsupported_parameter""#) == true)
        let head = String(decoding: received, as: UTF8.self).lowercased()
        #expect(head.contains("x-sluice-backend: aws\r\n"))
        #expect(head.contains("x-sluice-attempts: 0\r\n"))
        let rows = simulation.rows()
        #expect(rows.map(\.attempts) == [0])
        #expect(rows.map(\.usageSource) == [LedgerRow.UsageSource.none])
        #expect(attempts(simulation) == 0)
    }

    @Test func `a target that could is found behind several that could not`() throws {
        let one = "{backend: aws, model: amazon.nova-lite-v1:0, weight: 1000}"
        let more = String(repeating: "      - \(one)\n", count: 20)
        let many = Self.configuration.replacing(
            "{backend: vllm}\n", with: "{backend: vllm}\n" + more)
        var simulation = try Simulation(seed: 1, configuration: many)
        let client = simulation.world.connectClient()
        simulation.world.send(request("mixed", #""n":2"#), on: client)
        simulation.settle()
        let answers = ClientView(simulation.world.receive(on: client)).answers
        #expect(answers.map(\.status) == [200])
        #expect(attempts(simulation) == 1)
    }

    @Test func `a backend that failed is told of, not that another could not`() throws {
        var options = SimulatorOptions()
        options.failureRate = 1
        let turned = Self.configuration
            .replacing("vllm}\n", with: "vllm, weight: 1000000}\n")
            .replacing("v1:0, weight: 1000000", with: "v1:0, weight: 1")
        // Some of the failures are no matter for another target.
        var seen: Set<Int> = []
        for seed in UInt64(1)...8 {
            options.seed = seed
            var simulation = try Simulation(seed: seed, options: options, configuration: turned)
            let client = simulation.world.connectClient()
            simulation.world.send(request("mixed", #""n":2"#), on: client)
            simulation.settle()
            let answers = ClientView(simulation.world.receive(on: client)).answers
            #expect(answers.count == 1)
            #expect(answers.first?.body.contains("unsupported_parameter") == false)
            #expect(simulation.rows().map(\.backend) == ["vllm"], "SEED=\(seed)")
            #expect(attempts(simulation) == 1, "SEED=\(seed)")
            if let status = answers.first?.status { seen.insert(status) }
        }
        #expect(seen.contains { $0 >= 500 })
    }
}
