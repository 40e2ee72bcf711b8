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
}
