import Primitives
import Wire

/// Writes the canonical chat as a Converse body (bedrock-api.md section 2.1).
struct ConverseRequestWriter {
    let request: ChatRequest
    let profile: ModelProfile
    let guardrail: TargetOptions.Guardrail?
    var writer: JSONWriter

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

    mutating func begin(_ name: StaticString) {
        writer.key(name)
        writer.beginObject()
    }

    mutating func text(_ name: StaticString, _ value: [UInt8]) {
        writer.key(name)
        writer.string(bytes: value)
    }

    mutating func number(_ name: StaticString, _ value: ChatNumber?) {
        guard let value else { return }
        writer.key(name)
        writer.raw(value.text)
    }

    mutating func source(_ name: StaticString, _ data: [UInt8]) {
        begin("source")
        text(name, data)
        writer.endObject()
    }
}
