import Primitives
import Testing
import Wire

@testable import Translation

@Suite struct ConverseVectorTests {
    @Test(arguments: try Vector.all("converse", where: { $0["request"] != nil }))
    func `a chat request becomes a Converse request or a named error`(_ vector: Vector) throws {
        let request = try #require(vector.input["request"])
        let target = TargetOptions(
            vector: try #require(vector.input["target"]), profile: vector.input["profile"])
        guard let error = vector.expect["error"] else {
            return try checkAccepted(vector, request, target)
        }
        let thrown = #expect(throws: APIError.self) {
            try BedrockTarget.chat(request.source, target)
        }
        #expect(thrown?.status == error["status"]?.int)
        #expect(thrown?.type == error["type"]?.string)
        #expect(thrown?.code == error["code"]?.string)
        #expect(thrown?.param == error["param"]?.string)
    }

    private func checkAccepted(
        _ vector: Vector, _ request: JSONValue, _ target: TargetOptions
    ) throws {
        let call = try BedrockTarget.chat(request.source, target)
        let sent = try #require(call.requests.first)
        #expect(call.requests.count == 1)
        #expect(sent.path == vector.expect["path"]?.stringBytes)
        #expect(JSONComparing.differences(sent.body, try #require(vector.expect["body"])) == [])
        let dropped = vector.expect["dropped"]?.elements.compactMap(\.string) ?? []
        #expect(Set(call.droppedParameters) == Set(dropped))

        let profile = ModelProfile(modelID: target.model ?? "", overrides: target.profile)
        let chat = try ChatCompletionsReader(profile: profile, target: target).read(request)
        #expect(chat.tools.isSuppressed == vector.expect["suppress_tool_calls"]?.bool)
        let names = Dictionary(
            uniqueKeysWithValues: chat.tools.originalNames.map {
                (String(decoding: $0.key, as: UTF8.self), String(decoding: $0.value, as: UTF8.self))
            })
        #expect(names == vector.expect["tool_name_map"]?.dictionary.mapValues { $0.string ?? "" })
    }

    @Test(arguments: try Vector.all("converse-response"))
    func `a Converse answer becomes a chat completion`(_ vector: Vector) throws {
        let request = try #require(vector.input["request"])
        let call = try BedrockTarget.chat(
            request.source, TargetOptions(vector: try #require(vector.input["target"])))
        let answer = BedrockTarget.answer(try #require(vector.input["response"]).source)
        guard let error = vector.expect["error"] else {
            let result = try call.finish([answer])
            let expected = try #require(vector.expect["response"])
            #expect(JSONComparing.differences(result.body, expected) == [])
            let choice = expected["choices"]?.elements.first { _ in true }
            #expect(result.finishReason == choice?["finish_reason"]?.string)
            let reason = vector.input["response"]?["stopReason"]?.stringBytes
            #expect(result.fields.value(of: "x-sluice-stop-reason") == reason)
            return
        }
        let thrown = #expect(throws: APIError.self) { try call.finish([answer]) }
        #expect(thrown?.status == error["status"]?.int)
        #expect(thrown?.type == error["type"]?.string)
        #expect(thrown?.code == error["code"]?.string)
        #expect(thrown?.isWorthAnotherTarget == true)
    }
}
