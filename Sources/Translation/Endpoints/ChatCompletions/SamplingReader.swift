import Primitives
import Wire

/// Reads temperature and its like, and applies what a model makes of them.
///
/// Rules A4, A5 and A35 to A41.
struct SamplingReader {
    private(set) var result = ChatSampling()
    private(set) var maximumTokens: Int?
    private var effort: String?
    private var thinking: JSONValue?

    private static let efforts = ["none", "minimal", "low", "medium", "high", "xhigh", "max"]

    static func read(_ fields: inout RequestFields) throws(APIError) -> SamplingReader {
        var reader = SamplingReader()
        reader.result.temperature = try fields.number("temperature", 0...2)
        reader.result.topP = try fields.number("top_p", 0...1)
        let frequency = try fields.number("frequency_penalty", -2...2)
        let presence = try fields.number("presence_penalty", -2...2)
        let limit = try fields.count("max_tokens")
        reader.maximumTokens = try fields.count("max_completion_tokens") ?? limit
        if let topK = try fields.integer("top_k") {
            reader.result.topK = ChatNumber(text: Array("\(topK)".utf8), value: Double(topK))
        }
        if let frequency, frequency.value != 0 { try fields.hint("frequency_penalty") }
        if let presence, presence.value != 0 { try fields.hint("presence_penalty") }
        if let bias = fields.root.present("logit_bias"), bias.count > 0 {
            try fields.hint("logit_bias")
        }
        if fields.root.present("seed") != nil { try fields.hint("seed") }
        if fields.root.present("verbosity") != nil { try fields.hint("verbosity") }
        reader.effort = try readEffort(fields.root)
        reader.thinking = fields.root.present("thinking")
        if let thinking = reader.thinking, thinking.kind != .object {
            throw RequestFields.wrongType("thinking", "an object")
        }
        return reader
    }

    private static func readEffort(_ root: JSONValue) throws(APIError) -> String? {
        guard let value = root.present("reasoning_effort") else { return nil }
        guard let effort = value.string, efforts.contains(effort) else {
            throw RequestFields.invalid(
                "reasoning_effort",
                "'reasoning_effort' must be one of \(efforts.joined(separator: ", ")).")
        }
        return effort == "none" ? nil : effort
    }

    /// Applies the model's rules; afterwards `result` and `maximumTokens` are what to send.
    mutating func apply(
        profile: ModelProfile, request: ChatRequest, endsInBareToolResult: Bool,
        fields: inout RequestFields
    ) throws(APIError) {
        let isThinking = try applyReasoning(
            profile, isForced: request.tools.isForced,
            endsInBareToolResult: endsInBareToolResult, &fields)
        try applyTemperature(profile, &fields)
        guard isThinking else { return }
        // Rule A41: Claude takes no temperature while it thinks.
        if let temperature = result.temperature {
            if temperature.value != 1 { try fields.hint("temperature") }
            result.temperature = nil
        }
        if let topP = result.topP, topP.value < 0.95 {
            try fields.hint("top_p")
            result.topP = nil
        }
        if result.topK != nil {
            try fields.hint("top_k")
            result.topK = nil
        }
    }

    /// Whether Claude thinks.
    private mutating func applyReasoning(
        _ profile: ModelProfile, isForced: Bool, endsInBareToolResult: Bool,
        _ fields: inout RequestFields
    ) throws(APIError) -> Bool {
        if let thinking {
            if profile.family == .anthropic {
                var json: [UInt8] = []
                thinking.appendCompact(to: &json)
                result.thinking = json
                return thinking["type"]?.equals("disabled") != true
            }
            try fields.hint("thinking")
        }
        guard let effort else { return false }
        let low = effort == "minimal" ? "low" : effort
        let capped = low == "xhigh" || low == "max" ? "high" : low
        switch profile.reasoning {
        case .none: try fields.hint("reasoning_effort")
        case .budget:
            let isTooShort = maximumTokens.map { $0 <= 1024 } ?? false
            guard !isTooShort, !isForced, !endsInBareToolResult else {
                try fields.hint("reasoning_effort")
                return false
            }
            result.thinking = Self.budget(effort, maximumTokens: maximumTokens)
            return true
        case .adaptive:
            guard !isForced else {
                try fields.hint("reasoning_effort")
                return false
            }
            result.thinking = [UInt8](#"{"type":"adaptive"}"#)
            result.effort = low
            return true
        case .nova:
            result.novaEffort = capped
            if capped == "high" { try dropForNova(&fields) }
        case .effort: result.reasoningEffort = capped
        }
        return false
    }

    /// Nova with high effort refuses all three.
    private mutating func dropForNova(_ fields: inout RequestFields) throws(APIError) {
        if result.temperature != nil { try fields.hint("temperature") }
        if result.topP != nil { try fields.hint("top_p") }
        if maximumTokens != nil {
            try fields.hint(
                fields.root.present("max_completion_tokens") != nil
                    ? "max_completion_tokens" : "max_tokens")
        }
        result.temperature = nil
        result.topP = nil
        maximumTokens = nil
    }

    private static func budget(_ effort: String, maximumTokens: Int?) -> [UInt8] {
        var budget =
            switch effort {
            case "minimal": 1024
            case "low": 2048
            case "medium": 8192
            case "high": 16_384
            default: 32_768
            }
        if let maximumTokens, budget >= maximumTokens { budget = max(1024, maximumTokens / 2) }
        var json = [UInt8](#"{"type":"enabled","budget_tokens":"#)
        json.append(decimal: budget)
        json.append("}")
        return json
    }

    /// Rules A36, A37 and A40.
    private mutating func applyTemperature(
        _ profile: ModelProfile, _ fields: inout RequestFields
    ) throws(APIError) {
        guard profile.hasSampling else {
            if let value = result.temperature?.value, value != 1 { try fields.hint("temperature") }
            if let value = result.topP?.value, value != 1 { try fields.hint("top_p") }
            if result.topK != nil { try fields.hint("top_k") }
            result.temperature = nil
            result.topP = nil
            result.topK = nil
            return
        }
        if let temperature = result.temperature, temperature.value > 1 {
            try fields.hint("temperature")
            result.temperature = ChatNumber(text: [UInt8]("1"), value: 1)
        }
        if profile.isTemperatureExclusive, result.temperature != nil, let topP = result.topP {
            if topP.value != 1 { try fields.hint("top_p") }
            result.topP = nil
        }
        if profile.family == .openai, result.topK != nil {
            try fields.hint("top_k")
            result.topK = nil
        }
    }
}
