import Primitives
import Wire

/// Writes a streamed answer as OpenAI's chunks in server-sent events (rules S1 to S8).
struct ChatChunkWriter {
    /// What is known of a block that is open.
    private enum OpenBlock {
        /// A call that the client sees under this index.
        case call(index: Int, hasArguments: Bool)
        /// A custom tool's call, sent whole at its end.
        case custom(index: Int, id: [UInt8], name: [UInt8], input: [UInt8])
        /// The tool that stands for structured output.
        case structuredOutput
        /// A call that the client does not see.
        case hidden
        case reasoning(text: [UInt8], signature: [UInt8])
        case redacted([UInt8])
    }

    let request: ClientRequest
    let tools: ChatTools
    private var writer = JSONWriter()
    private var blocks: [(key: Int, block: OpenBlock)] = []
    private var hasBegun = false
    private var callCount = 0
    private var thinkingCount = 0
    /// Whether the model has said or called anything (rule R6).
    private var hasOutput = false

    init(request: ClientRequest, tools: ChatTools) {
        self.request = request
        self.tools = tools
    }

    /// Appends what a delta means to the client.
    mutating func write(_ delta: ChatDelta, into output: inout StreamOutput) {
        switch delta {
        case .begin: begin(&output)
        case .text(let text):
            begin(&output)
            if !text.isEmpty { content(text, &output) }
        case .callBegin(let block, let id, let name, let isHidden):
            begin(&output)
            beginCall(block, id: id, name: name, isHidden: isHidden, &output)
        case .callInput(let block, let fragment): callInput(block, fragment, &output)
        case .reasoning(let block, let text):
            begin(&output)
            if !text.isEmpty { reasoning(block, text, &output) }
        case .reasoningSignature(let block, let signature): sign(block, signature)
        case .redactedReasoning(let block, let data): redact(block, data)
        case .blockEnd(let block): end(block, &output)
        case .finish(let reason): finish(reason, &output)
        case .usage(let usage, let tier):
            output.usage = usage
            output.serviceTier = tier
        }
    }

    /// Appends the usage chunk, if it was asked for, and the terminator.
    mutating func terminate(into output: inout StreamOutput) {
        if request.summary.wantsUsage, let usage = output.usage {
            beginChunk(&output)
            writer.key("choices")
            writer.beginArray()
            writer.endArray()
            writer.key("usage")
            ChatUsageWriter.write(usage, to: &writer)
            endChunk(&output)
        }
        output.bytes.append("data: [DONE]\n\n")
        output.state = .finished
    }

    // MARK: - Blocks

    private mutating func begin(_ output: inout StreamOutput) {
        guard !hasBegun else { return }
        hasBegun = true
        output.hasBegun = true
        chunk(&output) { writer in
            writer.key("role")
            writer.string("assistant")
            writer.key("content")
            writer.string("")
        }
    }

    private mutating func content(_ text: [UInt8], _ output: inout StreamOutput) {
        hasOutput = true
        output.outputBytes += text.count
        chunk(&output) { writer in
            writer.key("content")
            writer.string(bytes: text)
        }
    }

    private mutating func beginCall(
        _ block: Int, id: [UInt8], name: [UInt8], isHidden: Bool, _ output: inout StreamOutput
    ) {
        let kind = tools.kind(of: name)
        // Without a stop, the block before it ends where the next one begins.
        end(block, &output)
        if kind == .structuredOutput { return open(block, .structuredOutput) }
        if !isHidden { hasOutput = true }
        guard !isHidden, !tools.isSuppressed, !tools.isFirstCallOnly || callCount == 0 else {
            return open(block, .hidden)
        }
        let index = callCount
        callCount += 1
        let original = tools.originalNames[name] ?? name
        output.outputBytes += original.count
        if kind == .custom {
            return open(block, .custom(index: index, id: id, name: original, input: []))
        }
        open(block, .call(index: index, hasArguments: false))
        let isLegacy = tools.isLegacy
        chunk(&output) { writer in
            guard !isLegacy else {
                writer.key("function_call")
                writer.beginObject()
                writer.key("name")
                writer.string(bytes: original)
                writer.key("arguments")
                writer.string("")
                return writer.endObject()
            }
            Self.beginListElement("tool_calls", index, &writer)
            writer.key("id")
            writer.string(bytes: id)
            writer.key("type")
            writer.string("function")
            writer.key("function")
            writer.beginObject()
            writer.key("name")
            writer.string(bytes: original)
            writer.key("arguments")
            writer.string("")
            writer.endObject()
            Self.endListElement(&writer)
        }
    }

    private mutating func callInput(
        _ block: Int, _ fragment: [UInt8], _ output: inout StreamOutput
    ) {
        guard !fragment.isEmpty, let place = blocks.firstIndex(where: { $0.key == block }) else {
            return
        }
        switch blocks[place].block {
        case .call(let index, _):
            blocks[place].block = .call(index: index, hasArguments: true)
            arguments(index, fragment, &output)
        case .custom(let index, let id, let name, let input):
            blocks[place].block = .custom(index: index, id: id, name: name, input: input + fragment)
        case .structuredOutput: content(fragment, &output)
        case .hidden, .reasoning, .redacted: break
        }
    }

    private mutating func arguments(
        _ index: Int, _ fragment: [UInt8], _ output: inout StreamOutput
    ) {
        output.outputBytes += fragment.count
        let isLegacy = tools.isLegacy
        chunk(&output) { writer in
            if isLegacy {
                writer.key("function_call")
                writer.beginObject()
            } else {
                Self.beginListElement("tool_calls", index, &writer)
                writer.key("function")
                writer.beginObject()
            }
            writer.key("arguments")
            writer.string(bytes: fragment)
            writer.endObject()
            if !isLegacy { Self.endListElement(&writer) }
        }
    }

    private mutating func reasoning(
        _ block: Int, _ text: [UInt8], _ output: inout StreamOutput
    ) {
        output.outputBytes += text.count
        if let place = blocks.firstIndex(where: { $0.key == block }),
            case .reasoning(let known, let signature) = blocks[place].block
        {
            blocks[place].block = .reasoning(text: known + text, signature: signature)
        } else {
            open(block, .reasoning(text: text, signature: []))
        }
        chunk(&output) { writer in
            writer.key("reasoning_content")
            writer.string(bytes: text)
        }
    }

    private mutating func sign(_ block: Int, _ signature: [UInt8]) {
        if let place = blocks.firstIndex(where: { $0.key == block }),
            case .reasoning(let text, let known) = blocks[place].block
        {
            blocks[place].block = .reasoning(text: text, signature: known + signature)
        } else {
            open(block, .reasoning(text: [], signature: signature))
        }
    }

    private mutating func redact(_ block: Int, _ data: [UInt8]) {
        if let place = blocks.firstIndex(where: { $0.key == block }),
            case .redacted(let known) = blocks[place].block
        {
            blocks[place].block = .redacted(known + data)
        } else {
            open(block, .redacted(data))
        }
    }

    private mutating func open(_ key: Int, _ block: OpenBlock) {
        blocks.removeAll { $0.key == key }
        blocks.append((key, block))
    }

    private mutating func end(_ key: Int, _ output: inout StreamOutput) {
        guard let place = blocks.firstIndex(where: { $0.key == key }) else { return }
        let block = blocks.remove(at: place).block
        switch block {
        case .call(let index, hasArguments: false): arguments(index, [UInt8]("{}"), &output)
        case .custom(let index, let id, let name, let input):
            endCustom(index, id: id, name: name, input: input, &output)
        case .reasoning(let text, let signature) where !signature.isEmpty:
            thinking(&output) { writer in
                writer.key("type")
                writer.string("thinking")
                writer.key("thinking")
                writer.string(bytes: text)
                writer.key("signature")
                writer.string(bytes: signature)
            }
        case .redacted(let data):
            begin(&output)
            thinking(&output) { writer in
                writer.key("type")
                writer.string("redacted_thinking")
                writer.key("data")
                writer.string(bytes: data)
            }
        case .call, .structuredOutput, .hidden, .reasoning: break
        }
    }

    private mutating func endCustom(
        _ index: Int, id: [UInt8], name: [UInt8], input: [UInt8], _ output: inout StreamOutput
    ) {
        output.outputBytes += input.count
        chunk(&output) { writer in
            Self.beginListElement("tool_calls", index, &writer)
            writer.key("id")
            writer.string(bytes: id)
            writer.key("type")
            writer.string("custom")
            writer.key("custom")
            writer.beginObject()
            writer.key("name")
            writer.string(bytes: name)
            writer.key("input")
            writer.string(bytes: CustomToolInput.text(input))
            writer.endObject()
            Self.endListElement(&writer)
        }
    }

    private mutating func finish(_ reason: ChatStopReason, _ output: inout StreamOutput) {
        for key in blocks.map(\.key).sorted() { end(key, &output) }
        if reason == .malformedOutput, !hasOutput {
            output.state = .failed(.malformedModelOutput)
            return
        }
        begin(&output)
        let word = reason.finishReason(hasCalls: callCount > 0, isLegacy: tools.isLegacy)
        output.finishReason = "\(word)"
        chunk(&output, finishReason: word) { _ in }
    }

    // MARK: - Chunks

    private mutating func thinking(
        _ output: inout StreamOutput, _ members: (inout JSONWriter) -> Void
    ) {
        let index = thinkingCount
        thinkingCount += 1
        chunk(&output) { writer in
            Self.beginListElement("thinking_blocks", index, &writer)
            members(&writer)
            Self.endListElement(&writer)
        }
    }

    /// Elements of lists in deltas carry an index: SDKs accumulate by it.
    private static func beginListElement(
        _ name: StaticString, _ index: Int, _ writer: inout JSONWriter
    ) {
        writer.key(name)
        writer.beginArray()
        writer.beginObject()
        writer.key("index")
        writer.integer(index)
    }

    private static func endListElement(_ writer: inout JSONWriter) {
        writer.endObject()
        writer.endArray()
    }

    private mutating func chunk(
        _ output: inout StreamOutput, finishReason: StaticString? = nil,
        _ delta: (inout JSONWriter) -> Void
    ) {
        beginChunk(&output)
        writer.key("choices")
        writer.beginArray()
        writer.beginObject()
        writer.key("index")
        writer.integer(0)
        writer.key("delta")
        writer.beginObject()
        delta(&writer)
        writer.endObject()
        writer.key("logprobs")
        writer.null()
        writer.key("finish_reason")
        if let finishReason { writer.string(finishReason) } else { writer.null() }
        writer.endObject()
        writer.endArray()
        if request.summary.wantsUsage {
            writer.key("usage")
            writer.null()
        }
        endChunk(&output)
    }

    /// Chunks are written straight into the output's bytes.
    private mutating func beginChunk(_ output: inout StreamOutput) {
        swap(&writer.bytes, &output.bytes)
        writer.bytes.append("data: ")
        writer.beginDocument()
        writer.beginObject()
        writer.key("id")
        writer.beginString()
        writer.bytes.append("chatcmpl-")
        writer.bytes.append(contentsOf: request.uniqueID)
        writer.endString()
        writer.key("object")
        writer.string("chat.completion.chunk")
        writer.key("created")
        writer.integer(request.createdSeconds)
        writer.key("model")
        writer.string(text: request.summary.model)
    }

    private mutating func endChunk(_ output: inout StreamOutput) {
        writer.endObject()
        writer.bytes.append("\n\n")
        swap(&writer.bytes, &output.bytes)
    }
}
