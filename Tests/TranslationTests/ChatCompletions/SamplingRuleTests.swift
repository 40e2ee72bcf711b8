import Testing
import Wire

@testable import Translation

@Suite struct SamplingRuleTests {
    private static let user = #""messages":[{"role":"user","content":"q"}],"#
    private static let tools =
        #""tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required","#
    private static let budgetClaude = "anthropic.claude-sonnet-4-5-20250929-v1:0"
    private static let adaptiveClaude = "us.anthropic.claude-opus-4-6-v1"
    private static let newestClaude = "global.anthropic.claude-opus-4-7"
    private static let novaTwo = "us.amazon.nova-2-lite-v1:0"
    private static let gptOSS = "openai.gpt-oss-120b-1:0"

    /// One request: what is sent of sampling and thinking, and what is dropped.
    struct Case: Sendable, CustomTestStringConvertible {
        let model: String
        let members: String
        let inference: String?
        let additional: String?
        let dropped: Set<String>

        init(
            _ model: String, _ members: String, inference: String? = nil,
            additional: String? = nil, dropped: Set<String> = []
        ) {
            self.model = model
            self.members = members
            self.inference = inference
            self.additional = additional
            self.dropped = dropped
        }

        var testDescription: String { "\(model) \(members)" }
    }

    private static let efforts: [Case] = [
        Case(
            budgetClaude, #""reasoning_effort":"max""#,
            additional: #"{"thinking":{"type":"enabled","budget_tokens":32768}}"#),
        Case(
            budgetClaude, #""reasoning_effort":"low","max_tokens":2048"#,
            inference: #"{"maxTokens":2048}"#,
            additional: #"{"thinking":{"type":"enabled","budget_tokens":1024}}"#),
        Case(
            budgetClaude, #""reasoning_effort":"high","max_tokens":1025"#,
            inference: #"{"maxTokens":1025}"#,
            additional: #"{"thinking":{"type":"enabled","budget_tokens":1024}}"#),
        Case(
            budgetClaude, #""reasoning_effort":"low","max_tokens":1024,"temperature":0.2"#,
            inference: #"{"maxTokens":1024,"temperature":0.2}"#, dropped: ["reasoning_effort"]),
        Case(adaptiveClaude, #"\#(tools)"reasoning_effort":"high""#, dropped: ["reasoning_effort"]),
        Case(
            novaTwo, #""reasoning_effort":"minimal","top_p":0.5"#, inference: #"{"topP":0.5}"#,
            additional: #"{"reasoningConfig":{"type":"enabled","maxReasoningEffort":"low"}}"#),
        Case(
            novaTwo, #""reasoning_effort":"max","top_p":0.5,"max_tokens":9"#,
            additional: #"{"reasoningConfig":{"type":"enabled","maxReasoningEffort":"high"}}"#,
            dropped: ["top_p", "max_tokens"]),
        Case(
            gptOSS, #""reasoning_effort":"xhigh""#, additional: #"{"reasoning_effort":"high"}"#),
        Case(BedrockTarget.llama, #""reasoning_effort":"low""#, dropped: ["reasoning_effort"]),
    ]

    private static let others: [Case] = [
        Case(
            budgetClaude,
            #""thinking":{"type":"enabled","budget_tokens":4000},"top_k":5,"#
                + #""reasoning_effort":"low","temperature":1"#,
            additional: #"{"thinking":{"type":"enabled","budget_tokens":4000}}"#,
            dropped: ["top_k"]),
        Case(
            budgetClaude, #""thinking":{"type":"enabled","budget_tokens":4000},"top_p":0.95"#,
            inference: #"{"topP":0.95}"#,
            additional: #"{"thinking":{"type":"enabled","budget_tokens":4000}}"#),
        Case(
            budgetClaude, #""thinking":{"type":"enabled","budget_tokens":4000},"top_p":0.94"#,
            additional: #"{"thinking":{"type":"enabled","budget_tokens":4000}}"#,
            dropped: ["top_p"]),
        Case(
            budgetClaude, #""thinking":{"type":"disabled"},"temperature":0.5,"top_p":0.2"#,
            inference: #"{"temperature":0.5}"#, additional: #"{"thinking":{"type":"disabled"}}"#,
            dropped: ["top_p"]),
        Case(BedrockTarget.nova, #""thinking":{"type":"enabled"}"#, dropped: ["thinking"]),
        Case(
            BedrockTarget.nova, #""top_k":40,"temperature":0.5,"top_p":0.2"#,
            inference: #"{"temperature":0.5,"topP":0.2}"#,
            additional: #"{"inferenceConfig":{"topK":40}}"#),
        Case(BedrockTarget.llama, #""top_k":4e1"#, additional: #"{"top_k":40}"#),
        Case(newestClaude, #""temperature":1,"top_p":1.0"#),
        Case(
            newestClaude, #""temperature":0,"top_p":0.9,"top_k":3"#,
            dropped: ["temperature", "top_p", "top_k"]),
        Case(
            budgetClaude, #""temperature":1.0,"top_p":1"#, inference: #"{"temperature":1.0}"#),
        Case(
            BedrockTarget.llama, #""temperature":1.7"#, inference: #"{"temperature":1}"#,
            dropped: ["temperature"]),
        Case(
            BedrockTarget.llama, #""max_tokens":5,"max_completion_tokens":7"#,
            inference: #"{"maxTokens":7}"#),
        Case(
            BedrockTarget.llama, #""stop":["",""," ","\n\n"]"#,
            inference: #"{"stopSequences":[" ","\n\n"]}"#),
        Case(budgetClaude, #""stop":[""," "]"#, dropped: ["stop"]),
        Case(budgetClaude, #""stop":"END""#, inference: #"{"stopSequences":["END"]}"#),
    ]

    @Test(arguments: efforts + others)
    func `sampling and thinking are what the model accepts`(_ sample: Case) throws {
        let call = try BedrockTarget.chat(Self.user + sample.members, model: sample.model)
        let body = try JSONDocument(call.requests[0].body).root
        #expect(body["inferenceConfig"]?.text == sample.inference)
        #expect(body["additionalModelRequestFields"]?.text == sample.additional)
        #expect(Set(call.droppedParameters) == sample.dropped)
    }

    @Test func `adaptive thinking says its effort beside the fields`() throws {
        let body = try BedrockTarget.body(
            Self.user + #""reasoning_effort":"minimal""#, model: Self.adaptiveClaude)
        #expect(body["outputConfig"]?.text == #"{"effort":"low"}"#)
        #expect(
            body["additionalModelRequestFields"]?.text == #"{"thinking":{"type":"adaptive"}}"#)
    }

    @Test(arguments: [("fast", "priority"), ("priority", "priority"), ("default", "default")])
    func `service tiers are passed on`(_ given: String, _ sent: String) throws {
        let body = try BedrockTarget.body(Self.user + #""service_tier":"\#(given)""#)
        #expect(body["serviceTier"]?["type"]?.string == sent)
    }

    @Test func `metadata goes on only when it may and where it fits`() throws {
        let long = String(repeating: "k", count: 257)
        let pairs = (0..<20).map { #""k\#($0)":"v""# }.joined(separator: ",")
        let metadata =
            #""metadata":{"a b":"c:_@$#=/+,-.","é":"x","x":"é","n":7,"":"e","#
            + #""\#(long)":"x",\#(pairs)}"#
        #expect(try BedrockTarget.body(Self.user + metadata)["requestMetadata"] == nil)
        let sent = try BedrockTarget.body(Self.user + metadata) { $0.forwardsMetadata = true }
        let names = sent["requestMetadata"]?.members.compactMap { $0.key.string }
        #expect(names == ["a b"] + (0..<15).map { "k\($0)" })
    }
}
