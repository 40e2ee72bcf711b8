import Primitives
import Wire

/// Reads OpenAI's chat completion request into the canonical one (rules A2 to A6 and A35 to A52).
struct ChatCompletionsReader {
    let profile: ModelProfile
    let target: TargetOptions
    /// Images that have been fetched: URL to bytes.
    var fetchedImages: [[UInt8]: [UInt8]] = [:]
    var fetchesImages = false

    /// Reads a request.
    /// - Throws: a 400 that names the field, in OpenAI's order of checks.
    func read(_ root: JSONValue) throws(APIError) -> ChatRequest {
        var fields = RequestFields(root, isStrict: target.isStrict)
        let messages = try checkMessages(root)
        try refuseWhatCannotBe(fields)
        var sampling = try SamplingReader.read(&fields)
        var request = ChatRequest()
        request.maximumTokens = sampling.maximumTokens
        request.isStreamed = root.present("stream")?.bool ?? false

        var conversation = MessageReader(profile: profile, target: target)
        conversation.parts.fetchedImages = fetchedImages
        conversation.parts.fetchesImages = fetchesImages
        try conversation.read(messages)
        var tools = try ToolReader(profile: profile).read(fields, names: &conversation.names)
        tools.declareUsedOnes(conversation.usedTools)
        try readResponseFormat(root, &fields, &request, &tools, &conversation)
        tools.originalNames = conversation.names.originals
        request.tools = tools
        request.system = conversation.system
        request.turns = conversation.finish()
        request.remoteImages = conversation.parts.missingImages

        try sampling.apply(
            profile: profile, request: request, endsInBareToolResult: request.endsInBareToolResult,
            fields: &fields)
        request.sampling = sampling.result
        request.maximumTokens = sampling.maximumTokens
        request.stop = try readStop(root, &fields)
        request.serviceTier = try readServiceTier(root, &fields)
        if target.forwardsMetadata { request.metadata = Self.metadata(root) }
        CachePointRules.apply(profile.cachePoints, to: &request)
        request.dropped = fields.dropped
        return request
    }

    private func checkMessages(_ root: JSONValue) throws(APIError) -> JSONValue {
        guard root.kind == .object, let model = root.present("model")?.stringBytes, !model.isEmpty
        else {
            throw .badRequest(
                "missing_required_parameter", param: "model", "The request must name a model.")
        }
        guard let messages = root.present("messages"), messages.kind == .array else {
            throw .badRequest(
                "missing_required_parameter", param: "messages",
                "The request needs 'messages', a list.")
        }
        guard messages.count > 0 else {
            throw RequestFields.invalid("messages", "'messages' must not be empty.")
        }
        return messages
    }

    /// Rule A3: what would change the answer and has no equivalent.
    private func refuseWhatCannotBe(_ fields: RequestFields) throws(APIError) {
        let root = fields.root
        if let count = try fields.integer("n") {
            guard (1...128).contains(count) else {
                throw RequestFields.invalid("n", "'n' must be between 1 and 128.")
            }
            if count > 1 { throw RequestFields.unsupported("n") }
        }
        if try fields.flag("logprobs") == true { throw RequestFields.unsupported("logprobs") }
        if let count = try fields.integer("top_logprobs"), count > 0 {
            throw RequestFields.unsupported("top_logprobs")
        }
        let modalities = root.present("modalities")
        if modalities?.elements.contains(where: { $0.equals("audio") }) == true {
            throw RequestFields.unsupported("modalities")
        }
        for name in ["audio", "web_search_options", "moderation"] as [StaticString]
        where root.present(name) != nil {
            throw RequestFields.unsupported("\(name)")
        }
    }

    /// Rule A38.
    private func readStop(
        _ root: JSONValue, _ fields: inout RequestFields
    ) throws(APIError) -> [[UInt8]] {
        guard let stop = root.present("stop") else { return [] }
        var sequences: [[UInt8]] = []
        if let text = stop.stringBytes {
            sequences = [text]
        } else {
            guard stop.kind == .array else {
                throw RequestFields.wrongType("stop", "a string or a list of strings")
            }
            for element in stop.elements {
                guard let text = element.stringBytes else {
                    throw RequestFields.wrongType("stop", "a string or a list of strings")
                }
                sequences.append(text)
            }
        }
        sequences.removeAll { $0.isEmpty }
        guard profile.family == .anthropic, sequences.contains(where: { $0.isBlank }) else {
            return sequences
        }
        try fields.hint("stop")
        return sequences.filter { !$0.isBlank }
    }

    /// Rule A42.
    private func readResponseFormat(
        _ root: JSONValue, _ fields: inout RequestFields, _ request: inout ChatRequest,
        _ tools: inout ChatTools, _ conversation: inout MessageReader
    ) throws(APIError) {
        guard let format = root.present("response_format") else { return }
        guard let type = format.present("type") else {
            throw RequestFields.invalid("response_format", "'response_format' needs a type.")
        }
        if type.equals("text") { return }
        if type.equals("json_object") {
            conversation.system.append(
                .text([UInt8]("Respond with a single valid JSON object and nothing else.")))
            return
        }
        guard type.equals("json_schema"), let definition = format.present("json_schema") else {
            throw RequestFields.invalid(
                "response_format.type",
                "'response_format.type' must be text, json_object or json_schema.")
        }
        guard let name = definition.present("name")?.stringBytes, !name.isEmpty else {
            throw .badRequest(
                "missing_required_parameter", param: "response_format.json_schema.name",
                "The schema needs a name.")
        }
        let description = definition.present("description")?.stringBytes.flatMap {
            $0.isBlank ? nil : $0
        }
        let schema = try readSchema(definition)
        guard profile.jsonSchema == .tool else {
            request.schema = ChatSchema(name: name, description: description, schema: schema)
            return
        }
        guard tools.list.isEmpty || tools.isSuppressed else {
            throw RequestFields.unsupported("response_format")
        }
        tools.demandStructuredOutput(schema, profile: profile)
    }

    private func readSchema(_ definition: JSONValue) throws(APIError) -> [UInt8] {
        guard let schema = definition.present("schema") else {
            return [UInt8](#"{"type":"object"}"#)
        }
        guard schema.kind == .object else {
            throw RequestFields.wrongType("response_format.json_schema.schema", "an object")
        }
        if profile.jsonSchema == .tool { return ToolReader.typed(schema) }
        var json: [UInt8] = []
        schema.appendCompact(to: &json)
        return json
    }

    /// Rule A43.
    private func readServiceTier(
        _ root: JSONValue, _ fields: inout RequestFields
    ) throws(APIError) -> String? {
        guard let tier = root.present("service_tier")?.string else { return nil }
        switch tier {
        case "default", "flex", "priority": return tier
        case "fast": return "priority"
        case "auto": return nil
        default:
            try fields.hint("service_tier")
            return nil
        }
    }

    /// Rule A52: the first 16 pairs that Bedrock's alphabet allows.
    private static func metadata(_ root: JSONValue) -> [(key: [UInt8], value: [UInt8])] {
        guard let metadata = root.present("metadata") else { return [] }
        var pairs: [(key: [UInt8], value: [UInt8])] = []
        for (key, value) in metadata.members where pairs.count < 16 {
            guard let key = key.stringBytes, let value = value.stringBytes,
                (1...256).contains(key.count), value.count <= 256, (key + value).allSatisfy(isTag)
            else { continue }
            pairs.append((key, value))
        }
        return pairs
    }

    private static func isTag(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: [UInt8](" \t\n\r\u{0b}\u{0c}:_@$#=/+,-.").contains(byte)
        }
    }
}

extension ChatRequest {
    /// Whether the last turn is tool results that answer a turn without reasoning (rule A39).
    fileprivate var endsInBareToolResult: Bool {
        guard let last = turns.last, last.role == .user,
            last.blocks.contains(where: { $0.isToolResult }), turns.count >= 2
        else { return false }
        return turns[turns.count - 2].blocks.first?.isReasoning != true
    }
}
