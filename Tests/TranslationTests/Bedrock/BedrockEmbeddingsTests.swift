import Testing
import Wire

@testable import Translation

@Suite struct BedrockEmbeddingsTests {
    @Test(arguments: try Vector.all("embeddings"))
    func `an embeddings request becomes one call or several`(_ vector: Vector) throws {
        guard let error = vector.expect["error"] else { return try checkAccepted(vector) }
        let thrown = #expect(throws: APIError.self) { try open(vector) }
        #expect(thrown?.status == error["status"]?.int)
        #expect(thrown?.type == error["type"]?.string)
        #expect(thrown?.code == error["code"]?.string)
        #expect(thrown?.param == error["param"]?.string)
    }

    private func checkAccepted(_ vector: Vector) throws {
        let call = try open(vector)
        let bodies = Array(try #require(vector.expect["invoke_bodies"]).elements)
        try #require(call.requests.count == bodies.count)
        for (request, body) in zip(call.requests, bodies) {
            #expect(request.path == vector.expect["path"]?.stringBytes)
            #expect(JSONComparing.differences(request.body, body) == [])
        }
        let answers = try #require(vector.input["answers"]).elements.map { answer in
            BedrockTarget.answer(
                answer["body"]?.source ?? [],
                fields: answer["headers"]?.members.map {
                    ($0.key.string ?? "", $0.value.string ?? "")
                } ?? [])
        }
        let result = try call.finish(answers)
        let expected = try #require(vector.expect["response"])
        #expect(JSONComparing.differences(result.body, expected) == [])
        #expect(result.usage?.input == expected["usage"]?["prompt_tokens"]?.int)
    }

    private func open(_ vector: Vector) throws -> any BackendCall {
        var target = TargetOptions()
        target.model = vector.input["model_id"]?.string
        let body = try #require(vector.input["request"]).source
        return try BedrockProvider.provider.open(
            BedrockTarget.request(body, endpoint: .embeddings), target)
    }

    private func open(_ members: String, model: String) throws -> any BackendCall {
        var target = TargetOptions()
        target.model = model
        return try BedrockProvider.provider.open(
            BedrockTarget.request(
                Array("{\"model\":\"e\",\(members)}".utf8), endpoint: .embeddings), target)
    }

    private static let titan = "amazon.titan-embed-text-v2:0"
    private static let cohere = "cohere.embed-english-v3"

    @Test(arguments: [
        (#""input":"""#, "invalid_value", "input"), (#""input":[]"#, "invalid_value", "input"),
        (#""input":["a",""]"#, "invalid_value", "input"),
        (#""input":[[1,2]]"#, "unsupported_value", "input"),
        (#""input":7"#, "invalid_type", "input"),
        (#""x":1"#, "missing_required_parameter", "input"),
        (#""input":"a","dimensions":0"#, "invalid_value", "dimensions"),
        (#""input":"a","dimensions":"9""#, "invalid_type", "dimensions"),
        (#""input":"a","encoding_format":"hex""#, "invalid_value", "encoding_format"),
        (#""input":"a","encoding_format":5"#, "invalid_value", "encoding_format"),
    ])
    func `a request that cannot be is named`(
        _ members: String, _ code: String, _ param: String
    ) throws {
        let error = #expect(throws: APIError.self) { try open(members, model: Self.titan) }
        #expect(error?.code == code)
        #expect(error?.param == param)
    }

    @Test(arguments: [cohere, "amazon.titan-embed-text-v1", "amazon.titan-embed-g1-text-02"])
    func `a model of fixed size takes no dimensions`(_ model: String) {
        let error = #expect(throws: APIError.self) {
            try open(#""input":"a","dimensions":256"#, model: model)
        }
        #expect(error?.code == "unsupported_parameter")
    }

    @Test func `a chat model makes no embeddings`() {
        let error = #expect(throws: APIError.self) {
            try open(#""input":"a""#, model: BedrockTarget.claude)
        }
        #expect(error?.param == "model")
    }

    @Test func `2048 texts are the most, 96 to a call at Cohere`() throws {
        func list(_ count: Int) -> String {
            #""input":["# + (0..<count).map { #""t\#($0)""# }.joined(separator: ",") + "]"
        }
        #expect(throws: APIError.self) { try open(list(2049), model: Self.cohere) }
        #expect(try open(list(2048), model: Self.cohere).requests.count == 22)
        #expect(try open(list(97), model: Self.titan).requests.count == 97)

        let call = try open(list(97), model: Self.cohere)
        func answer(_ count: Int) -> UpstreamAnswer {
            let vectors = Array(repeating: "[0.5]", count: count).joined(separator: ",")
            return BedrockTarget.answer(Array(#"{"embeddings":{"float":[\#(vectors)]}}"#.utf8))
        }
        let result = try call.finish([answer(96), answer(1)])
        #expect(try JSONDocument(result.body).root["data"]?.count == 97)
        for counts in [[95, 2], [96, 0], [96, 2], [96]] {
            let error = #expect(throws: APIError.self) {
                try call.finish(counts.map { answer($0) })
            }
            #expect(error?.code == "upstream_malformed")
        }
    }

    @Test(arguments: [
        "{}", #"{"embedding":7}"#, #"{"embedding":["a"]}"#, "<html>", #"{"embeddings":[]}"#,
    ])
    func `an answer without numbers is malformed`(_ body: String) throws {
        let call = try open(#""input":"a""#, model: Self.titan)
        let error = #expect(throws: APIError.self) {
            try call.finish([BedrockTarget.answer(Array(body.utf8))])
        }
        #expect(error?.code == "upstream_malformed")
    }

    @Test func `absurd counts never trap`() throws {
        let call = try open(#""input":["a","b"]"#, model: Self.titan)
        let body = Array(#"{"embedding":[1],"inputTextTokenCount":9223372036854775807}"#.utf8)
        let result = try call.finish([BedrockTarget.answer(body), BedrockTarget.answer(body)])
        #expect((result.usage?.input ?? 0) > 0)
    }

    @Test func `tokens that nobody counted are not reported as none`() throws {
        let counted = Array(#"{"embedding":[1],"inputTextTokenCount":3}"#.utf8)
        let uncounted = Array(#"{"embedding":[1]}"#.utf8)
        let call = try open(#""input":["a","b"]"#, model: Self.titan)
        let answers = [BedrockTarget.answer(counted), BedrockTarget.answer(uncounted)]
        #expect(try call.finish(answers).usage == nil)
        let header = BedrockTarget.answer(
            uncounted, fields: [("x-amzn-bedrock-input-token-count", "4")])
        #expect(try call.finish([answers[0], header]).usage == TokenUsage(input: 7, output: 0))
    }
}
