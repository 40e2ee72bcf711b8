import Testing

@testable import Gateway

@Suite struct ErrorTypeTests {
    @Test(arguments: [
        ("overloaded", "overloaded"), ("upstream_malformed", "upstream_malformed"),
        ("a\"} 1\nx", "_OTHER"), ("made_up_by_a_backend", "_OTHER"),
    ])
    func `only codes that we know become a label`(_ code: String, _ label: String) {
        let metrics = Metrics(shards: 1, version: "test")
        let labels = RequestLabels(
            tenant: "t", route: "r", backend: "b", provider: "p", operation: "chat",
            upstreamModel: "m")
        var outcome = RequestOutcome(labels: labels, status: 400)
        outcome.errorType = code
        metrics.record(outcome, shard: 0)
        let page = String(decoding: metrics.render(openMetrics: false), as: UTF8.self)
        #expect(page.contains("error_type=\"\(label)\""))
        #expect(label == code || !page.contains(code))
    }
}
