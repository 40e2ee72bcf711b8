import Primitives
import Wire

/// Writes the canonical chat as a Converse body (bedrock-api.md section 2.1).
struct ConverseRequestWriter {
    let request: ChatRequest
    let profile: ModelProfile
    let guardrail: TargetOptions.Guardrail?
    private var writer = JSONWriter()

    init(request: ChatRequest, profile: ModelProfile, guardrail: TargetOptions.Guardrail?) {
        self.request = request
        self.profile = profile
        self.guardrail = guardrail
    }

    mutating func body() -> [UInt8] {
        writer.beginObject()
        writer.key("messages")
        writer.beginArray()
        for turn in request.turns { write(turn) }
        writer.endArray()
        if !request.system.isEmpty {
            writer.key("system")
            write(request.system)
        }
        writeInference()
        writeTools()
        writeGuardrail()
        writeAdditionalFields()
        writeMetadata()
        if let tier = request.serviceTier {
            writer.key("serviceTier")
            writer.beginObject()
            text("type", Array(tier.utf8))
            writer.endObject()
        }
        writeOutput()
        writer.endObject()
        return writer.bytes
    }

    // MARK: - Messages

    private mutating func write(_ turn: ChatTurn) {
        writer.beginObject()
        writer.key("role")
        writer.string(turn.role == .user ? "user" : "assistant")
        writer.key("content")
        write(turn.blocks)
        writer.endObject()
    }

    private mutating func write(_ blocks: [ChatBlock]) {
        writer.beginArray()
        for block in blocks {
            writer.beginObject()
            write(block)
            writer.endObject()
        }
        writer.endArray()
    }

    private mutating func write(_ block: ChatBlock) {
        switch block {
        case .text(let content): text("text", content)
        case .image(let format, let data):
            begin("image")
            text("format", Array(format.utf8))
            source("bytes", data)
            writer.endObject()
        case .imageInS3(let format, let uri):
            begin("image")
            text("format", Array(format.utf8))
            begin("source")
            begin("s3Location")
            text("uri", uri)
            writer.endObject()
            writer.endObject()
            writer.endObject()
        case .document(let format, let name, let data):
            begin("document")
            text("format", Array(format.utf8))
            text("name", name)
            source("bytes", data)
            writer.endObject()
        case .audio(let format, let data):
            begin("audio")
            text("format", format)
            source("bytes", data)
            writer.endObject()
        case .toolUse(let id, let name, let input):
            begin("toolUse")
            text("toolUseId", id)
            text("name", name)
            writer.key("input")
            writer.raw(input)
            writer.endObject()
        case .toolResult(let id, let content, let isError):
            begin("toolResult")
            text("toolUseId", id)
            writer.key("content")
            write(content)
            if isError { text("status", [UInt8]("error")) }
            writer.endObject()
        case .reasoning(let content, let signature):
            begin("reasoningContent")
            begin("reasoningText")
            text("text", content)
            text("signature", signature)
            writer.endObject()
            writer.endObject()
        case .redactedReasoning(let data):
            begin("reasoningContent")
            text("redactedContent", data)
            writer.endObject()
        case .cachePoint(let lifetime): writeCachePoint(lifetime)
        }
    }

    private mutating func writeCachePoint(_ lifetime: String?) {
        begin("cachePoint")
        text("type", [UInt8]("default"))
        if let lifetime { text("ttl", Array(lifetime.utf8)) }
        writer.endObject()
    }

    // MARK: - Settings

    private mutating func writeInference() {
        let sampling = request.sampling
        guard
            request.maximumTokens != nil || sampling.temperature != nil || sampling.topP != nil
                || !request.stop.isEmpty
        else { return }
        begin("inferenceConfig")
        if let limit = request.maximumTokens {
            writer.key("maxTokens")
            writer.integer(limit)
        }
        number("temperature", sampling.temperature)
        number("topP", sampling.topP)
        if !request.stop.isEmpty {
            writer.key("stopSequences")
            writer.beginArray()
            for sequence in request.stop { writer.string(bytes: sequence) }
            writer.endArray()
        }
        writer.endObject()
    }

    private mutating func writeTools() {
        guard !request.tools.list.isEmpty else { return }
        begin("toolConfig")
        writer.key("tools")
        writer.beginArray()
        for tool in request.tools.list { write(tool) }
        writer.endArray()
        switch request.tools.choice {
        case .unspecified: break
        case .auto: writeChoice("auto", nil)
        case .any: writeChoice("any", nil)
        case .named(let name): writeChoice("tool", name)
        }
        writer.endObject()
    }

    private mutating func write(_ tool: ChatTools.Tool) {
        writer.beginObject()
        begin("toolSpec")
        text("name", tool.name)
        if let description = tool.description { text("description", description) }
        begin("inputSchema")
        writer.key("json")
        writer.raw(tool.schema)
        writer.endObject()
        if tool.isStrict {
            writer.key("strict")
            writer.bool(true)
        }
        writer.endObject()
        writer.endObject()
        guard let lifetime = tool.cachePoint else { return }
        writer.beginObject()
        writeCachePoint(lifetime)
        writer.endObject()
    }

    private mutating func writeChoice(_ kind: StaticString, _ name: [UInt8]?) {
        begin("toolChoice")
        begin(kind)
        if let name { text("name", name) }
        writer.endObject()
        writer.endObject()
    }

    private mutating func writeGuardrail() {
        guard let guardrail else { return }
        begin("guardrailConfig")
        text("guardrailIdentifier", Array(guardrail.identifier.utf8))
        text("guardrailVersion", Array(guardrail.version.utf8))
        if let trace = guardrail.trace { text("trace", Array(trace.utf8)) }
        if let mode = guardrail.streamProcessingMode, request.isStreamed {
            text("streamProcessingMode", Array(mode.utf8))
        }
        writer.endObject()
    }

    /// Model-native fields (bedrock-api.md section 6.1).
    private mutating func writeAdditionalFields() {
        let sampling = request.sampling
        guard
            sampling.thinking != nil || sampling.topK != nil || sampling.novaEffort != nil
                || sampling.reasoningEffort != nil
        else { return }
        begin("additionalModelRequestFields")
        if let thinking = sampling.thinking {
            writer.key("thinking")
            writer.raw(thinking)
        }
        if let effort = sampling.novaEffort {
            begin("reasoningConfig")
            text("type", [UInt8]("enabled"))
            text("maxReasoningEffort", Array(effort.utf8))
            writer.endObject()
        }
        if let effort = sampling.reasoningEffort { text("reasoning_effort", Array(effort.utf8)) }
        if profile.family == .amazon, sampling.topK != nil {
            begin("inferenceConfig")
            number("topK", sampling.topK)
            writer.endObject()
        } else {
            number("top_k", sampling.topK)
        }
        writer.endObject()
    }

    private mutating func writeMetadata() {
        guard !request.metadata.isEmpty else { return }
        begin("requestMetadata")
        for pair in request.metadata {
            writer.key(bytes: pair.key)
            writer.string(bytes: pair.value)
        }
        writer.endObject()
    }

    private mutating func writeOutput() {
        guard request.schema != nil || request.sampling.effort != nil else { return }
        begin("outputConfig")
        if let schema = request.schema {
            begin("textFormat")
            text("type", [UInt8]("json_schema"))
            begin("structure")
            begin("jsonSchema")
            text("schema", schema.schema)
            text("name", schema.name)
            if let description = schema.description { text("description", description) }
            writer.endObject()
            writer.endObject()
            writer.endObject()
        }
        if let effort = request.sampling.effort { text("effort", Array(effort.utf8)) }
        writer.endObject()
    }

    // MARK: - Syntax

    private mutating func begin(_ name: StaticString) {
        writer.key(name)
        writer.beginObject()
    }

    private mutating func text(_ name: StaticString, _ value: [UInt8]) {
        writer.key(name)
        writer.string(bytes: value)
    }

    private mutating func number(_ name: StaticString, _ value: ChatNumber?) {
        guard let value else { return }
        writer.key(name)
        writer.raw(value.text)
    }

    private mutating func source(_ name: StaticString, _ data: [UInt8]) {
        begin("source")
        text(name, data)
        writer.endObject()
    }
}
