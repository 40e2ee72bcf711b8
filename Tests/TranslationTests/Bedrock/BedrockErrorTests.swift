import Testing
import Wire

@testable import Translation

@Suite struct BedrockErrorTests {
    @Test(arguments: try Vector.all("errors", where: { $0["upstream"]?.equals("bedrock") == true }))
    func `an exception becomes an error of OpenAI's`(_ vector: Vector) throws {
        let fields = try #require(vector.input["headers"]).members.map {
            ($0.key.string ?? "", $0.value.string ?? "")
        }
        let error = BedrockErrors.classify(
            BedrockTarget.answer(
                vector.input["body"]?.stringBytes ?? [], status: vector.input["status"]?.int ?? 0,
                fields: fields))
        let body = try #require(vector.expect["body"]?["error"])
        #expect(error.status == vector.expect["status"]?.int)
        #expect(error.message == body["message"]?.string)
        #expect(error.type == body["type"]?.string)
        #expect(error.code == body["code"]?.string)
        #expect(error.param == body["param"]?.string)
        let expected = try #require(vector.expect["headers"]).dictionary
        #expect(error.retryAfterSeconds.map { "\($0)" } == expected["retry-after"]?.string)
        #expect(error.shouldRetry.map { "\($0)" } == expected["x-should-retry"]?.string)
    }
}
