import Primitives

/// What a model understands; decides the model-dependent rules of the translation (rule A1).
struct ModelProfile: Equatable, Sendable {
    enum Family: String, CaseIterable, Sendable { case anthropic, amazon, openai, generic }
    enum Reasoning: String, CaseIterable, Sendable { case none, budget, adaptive, nova, effort }
    enum CachePoints: String, CaseIterable, Sendable {
        case full
        case withoutToolsAndLifetimes = "no_tools_no_ttl"
        case none
    }
    enum JSONSchema: String, CaseIterable, Sendable { case native, tool }

    var family = Family.generic
    var reasoning = Reasoning.none
    /// Temperature, top_p and top_k are accepted.
    var hasSampling = true
    /// Temperature and top_p exclude each other.
    var isTemperatureExclusive = false
    var cachePoints = CachePoints.none
    var jsonSchema = JSONSchema.native
    var hasNamedToolChoice = false
    /// A user turn may hold tool results and other blocks.
    var hasMixedToolResultTurn = false
    /// Claude's version times 100, such as 405 for 4.5; 0 for other families.
    var claudeVersion = 0

    /// Whether a tool may be marked as strict (rule A27). The version is unknown where only the
    /// configuration knows the family; Claude lost this when it lost sampling.
    var takesStrictTools: Bool {
        guard family == .anthropic else { return false }
        return claudeVersion > 0 ? claudeVersion <= 406 : hasSampling
    }

    /// The profile that follows from a model id, with the configuration's overrides.
    init(modelID: String, overrides: [String: String] = [:]) {
        self = Self.derived(from: modelID)
        if !overrides.isEmpty { apply(overrides) }
    }

    /// What follows from an id is found once. Ids can come from clients, so not all are kept.
    private static let known = Locked<[String: ModelProfile]>([:])

    private static func derived(from modelID: String) -> ModelProfile {
        if let profile = known.withLock({ $0[modelID] }) { return profile }
        let profile = ModelProfile(deriving: modelID)
        known.withLock { known in
            if known.count < Limits.modelProfiles { known[modelID] = profile }
        }
        return profile
    }

    private init(deriving modelID: String) {
        let name = Self.baseName(modelID)
        switch name.prefix(while: { $0 != "." }) {
        case "anthropic" where name.contains("."): setAnthropic(name)
        case "amazon" where name.contains("."): setAmazon(name)
        case "openai" where name.contains("."):
            family = .openai
            reasoning = .effort
        default: break
        }
    }

    private mutating func setAnthropic(_ name: String) {
        claudeVersion = Self.claudeVersion(name)
        family = .anthropic
        reasoning = claudeVersion >= 406 ? .adaptive : claudeVersion >= 307 ? .budget : .none
        hasSampling = claudeVersion < 407
        isTemperatureExclusive = true
        cachePoints = .full
        jsonSchema = claudeVersion >= 405 ? .native : .tool
        hasNamedToolChoice = true
        hasMixedToolResultTurn = true
    }

    private mutating func setAmazon(_ name: String) {
        family = .amazon
        reasoning = name.dropFirst("amazon.".count).hasPrefix("nova-2") ? .nova : .none
        cachePoints = .withoutToolsAndLifetimes
        jsonSchema = .tool
        hasNamedToolChoice = true
        hasMixedToolResultTurn = true
    }

    private mutating func apply(_ overrides: [String: String]) {
        if let value = overrides["family"].flatMap(Family.init(rawValue:)) { family = value }
        if let value = overrides["reasoning"].flatMap(Reasoning.init(rawValue:)) {
            reasoning = value
        }
        if let value = overrides["cache_points"].flatMap(CachePoints.init(rawValue:)) {
            cachePoints = value
        }
        if let value = overrides["json_schema"].flatMap(JSONSchema.init(rawValue:)) {
            jsonSchema = value
        }
        hasSampling = overrides["sampling"].flatMap { Bool($0) } ?? hasSampling
        isTemperatureExclusive =
            overrides["exclusive_temp_top_p"].flatMap { Bool($0) } ?? isTemperatureExclusive
        hasNamedToolChoice =
            overrides["named_tool_choice"].flatMap { Bool($0) } ?? hasNamedToolChoice
        hasMixedToolResultTurn =
            overrides["mixed_tool_result_turn"].flatMap { Bool($0) } ?? hasMixedToolResultTurn
    }

    /// The model's own name: an ARN's resource, without a region prefix.
    private static func baseName(_ modelID: String) -> String {
        guard var name = BedrockModelID.name(of: modelID) else { return "" }
        name = BedrockModelID.withoutRegion(name)
        return name
    }

    /// `claude-(opus|sonnet|haiku|…)-MAJOR[-MINOR]`, else `claude-MAJOR[-MINOR]`, else 2.0.
    /// A minor has at most two digits: eight are a date.
    private static func claudeVersion(_ name: String) -> Int {
        if name.contains("fable") || name.contains("mythos") { return 9_999 }
        guard let claude = name.firstRange(of: "claude-") else { return 200 }
        var words = name[claude.upperBound...].split(separator: "-")[...]
        if let first = words.first, ["opus", "sonnet", "haiku"].contains(first) {
            words = words.dropFirst()
        }
        guard let major = words.first.flatMap({ number($0) }) else { return 200 }
        let minor = words.dropFirst().first.flatMap { number($0) } ?? 0
        return major * 100 + minor
    }

    private static func number(_ word: Substring) -> Int? {
        let digits = word.prefix { $0.isASCII && $0.isNumber }
        guard (1...2).contains(digits.count) else { return nil }
        return Int(digits)
    }
}

extension TargetOptions {
    /// The fields of a profile that can be set, and what each of them takes.
    public static let profileFields: [(name: String, choices: [String])] =
        [
            ("family", ModelProfile.Family.allCases.map(\.rawValue)),
            ("reasoning", ModelProfile.Reasoning.allCases.map(\.rawValue)),
            ("cache_points", ModelProfile.CachePoints.allCases.map(\.rawValue)),
            ("json_schema", ModelProfile.JSONSchema.allCases.map(\.rawValue)),
        ]
        + ["sampling", "exclusive_temp_top_p", "named_tool_choice", "mixed_tool_result_turn"]
        .map { ($0, ["true", "false"]) }
}
