import Foundation
import Primitives
import Testing
import Translation

@testable import Gateway
@testable import Runtime

@Suite struct PlanBuilderTests {
    private let environment = ["AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK"]
    private let metrics = Metrics(shards: 1, version: "test")

    private func plan(_ region: String, previous: Plan?) throws -> Plan {
        let text = """
            backends: {aws: {kind: bedrock, region: \(region)}}
            routes: [{model: m, targets: [{backend: aws, model: amazon.nova-lite-v1:0}]}]
            """
        let outcome = ConfigurationReader(
            folder: ".", providers: ProviderCatalogue.all, secrets: nil
        ).read(Array(text.utf8))
        let configuration = try #require(outcome.configuration, "\(outcome.problems)")
        return try PlanBuilder(configuration: configuration, environment: environment) { _, _ in }
            .build(metrics: metrics, previous: previous)
    }

    @Test func `credentials that were fetched serve on after a reload`() throws {
        let first = try plan("eu-central-1", previous: nil)
        while first.backends[0].credential(SystemClock.wallTime()) == nil { usleep(1000) }
        let second = try plan("eu-central-1", previous: first)
        #expect(second.backends[0].credential(SystemClock.wallTime()) != nil)
        // They come from somewhere else.
        let third = try plan("eu-west-1", previous: second)
        #expect(third.backends[0].credentialOrigin != second.backends[0].credentialOrigin)
    }
}
