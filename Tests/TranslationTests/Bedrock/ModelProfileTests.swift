import Testing

@testable import Translation

@Suite struct ModelProfileTests {
    @Test(arguments: try Vector.all("profiles"))
    func `a model id yields its default profile`(_ vector: Vector) throws {
        let profile = ModelProfile(modelID: vector.input["model_id"]?.string ?? "")
        let expected = try #require(vector.expect["profile"])
        #expect(JSONComparing.differences(Array(profile.json.utf8), expected) == [])
    }

    @Test(arguments: [
        ("anthropic.claude-opus-5:0", 500), ("anthropic.claude-sonnet-4-6:0", 406),
        ("anthropic.claude-opus-4-20250514-v1:0", 400), ("anthropic.claude-v2", 200),
        ("anthropic.claude-instant-v1", 200), ("us.anthropic.claude-haiku-4-5-20251001-v1:0", 405),
        ("anthropic.claude-3-5-haiku-20241022-v1:0", 305), ("anthropic.claude-mythos-1", 9_999),
        ("us-gov.anthropic.claude-3-7-sonnet-20250219-v1:0", 307), ("meta.claude-4-5", 0),
    ])
    func `Claude's version comes from the name and never from a date`(
        _ model: String, _ version: Int
    ) {
        #expect(ModelProfile(modelID: model).claudeVersion == version)
    }

    @Test(arguments: [
        "arn:aws:bedrock:us-east-1:123456789012:imported-model/anthropic.claude-3-haiku",
        "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/amazon.nova", "anthropic", "",
        "arn:",
    ])
    func `an id that names no known model is generic`(_ model: String) {
        #expect(ModelProfile(modelID: model) == ModelProfile(modelID: "vendor.model"))
    }

    @Test func `the configuration overrides single fields`() {
        let profile = ModelProfile(
            modelID: "arn:aws:bedrock:us-east-1:1:application-inference-profile/x",
            overrides: ["family": "anthropic", "cache_points": "full", "sampling": "false"])
        #expect(profile.family == .anthropic)
        #expect(profile.cachePoints == .full)
        #expect(!profile.hasSampling)
        #expect(profile.jsonSchema == .native)
    }
}

extension ModelProfile {
    fileprivate var json: String {
        """
        {"family": "\(family.rawValue)", "reasoning": "\(reasoning.rawValue)",
        "sampling": \(hasSampling), "exclusive_temp_top_p": \(isTemperatureExclusive),
        "cache_points": "\(cachePoints.rawValue)", "json_schema": "\(jsonSchema.rawValue)",
        "named_tool_choice": \(hasNamedToolChoice),
        "mixed_tool_result_turn": \(hasMixedToolResultTurn)}
        """
    }
}
