import Primitives
import Wire

/// Writes a streamed answer as OpenAI's chunks in server-sent events (rules S1 to S8).
struct ChatChunkWriter {
    /// A block that has begun and not ended.
    private struct OpenBlock {
        enum Kind {
            /// A call that the client sees under this index.
            case call(index: Int)
            /// A custom tool's call, sent whole at its end.
            case custom(index: Int, id: [UInt8], name: [UInt8])
            /// The tool that stands for structured output.
            case structuredOutput
            /// A call that the client does not see.
            case hidden
            case reasoning
            case redacted
        }

        /// The backend's index.
        let key: Int
        let kind: Kind
        /// Whether a call has arguments yet.
        var hasArguments = false
        /// What is sent again or only at the end: a custom tool's input, reasoning, redacted data.
        var text: [UInt8] = []
        var signature: [UInt8] = []
    }

    let tools: ChatTools
    private var chunks: ChatChunkEncoder
    private var blocks: [OpenBlock] = []
    private var hasBegun = false
    /// Structured output goes through a tool, and is the answer alone where it comes (rule A42).
    private let wantsStructuredOutput: Bool
    private var hasStructuredOutput = false
    /// The text beside it, which is the answer where it does not come.
    private var heldText: [UInt8] = []
    /// In `heldText` and `blocks`.
    private var heldBytes = 0
    private var callCount = 0
    private var thinkingCount = 0
    /// Whether the model has said or called anything (rule R6).
    private var hasOutput = false
    /// The model spoke nonsense and nothing else. That is told at the end: the backend's counts are
    /// still to come.
    private(set) var isMalformed = false

    init(request: ClientRequest, tools: ChatTools) {
        self.tools = tools
        wantsStructuredOutput = tools.list.contains { $0.kind == .structuredOutput }
        chunks = ChatChunkEncoder(request: request)
    }

    /// Appends what a delta means to the client; whatever comes first, the role goes before it.
    mutating func write(_ delta: ChatDelta, into output: inout StreamOutput) {
        switch delta {
        case .finish(let reason): return finish(reason, &output)
        case .usage(let usage, let tier):
            output.usage = usage
            output.serviceTier = tier
            return
        default: begin(&output)
        }
        switch delta {
        case .begin, .finish, .usage: break
        case .text(let text) where wantsStructuredOutput:
            // Limits count it now, and may cut the stream.
            output.outputBytes += text.count
            heldText.append(span: text)
            heldBytes += text.count
        // There is one for each token, and nothing of it is kept.
        case .text(let text): return content(text, &output)
        case .callBegin(let block, let id, let name, let isHidden):
            beginCall(block, id: id, name: name, isHidden: isHidden, &output)
        case .callInput(let block, let fragment): callInput(block, fragment, &output)
        case .reasoning(let block, let text): reasoning(block, text, &output)
        case .reasoningSignature(let block, let signature):
            blocks[place(of: block, .reasoning)].signature.append(span: signature)
            heldBytes += signature.count
        case .redactedReasoning(let block, let data):
            blocks[place(of: block, .redacted)].text.append(span: data)
            heldBytes += data.count
        case .blockEnd(let block): end(block, &output)
        }
        guard heldBytes <= Limits.heldStreamBytes, blocks.count <= Limits.openStreamBlocks else {
            output.state = .failed(.upstreamHoldsTooMuch)
            return
        }
    }

    /// Appends the usage chunk, if it was asked for, and the terminator; or the answer was none.
    mutating func terminate(into output: inout StreamOutput) {
        guard !isMalformed else {
            output.state = .failed(.malformedModelOutput)
            return
        }
        if let usage = output.usage { chunks.appendUsage(usage, to: &output) }
        output.bytes.append("data: [DONE]\n\n")
        output.state = .finished
    }

    // MARK: - Blocks

    private mutating func begin(_ output: inout StreamOutput) {
        guard !hasBegun else { return }
        hasBegun = true
        output.hasBegun = true
        chunks.append(to: &output) { writer in
            writer.key("role")
            writer.string("assistant")
            writer.key("content")
            writer.string("")
        }
    }

    private mutating func content(_ text: Span<UInt8>, _ output: inout StreamOutput) {
        guard !text.isEmpty else { return }
        hasOutput = true
        output.outputBytes += text.count
        chunks.append(to: &output, "content", text)
    }

    /// Sends the text that was held, where there is no structured output instead.
    private mutating func sendHeldText(_ output: inout StreamOutput) {
        guard !hasStructuredOutput, !heldText.isEmpty else { return }
        hasOutput = true
        let text = heldText
        chunks.append(to: &output, "content", text.span)
    }

    private mutating func beginCall(
        _ block: Int, id: [UInt8], name: [UInt8], isHidden: Bool, _ output: inout StreamOutput
    ) {
        let kind = tools.kind(of: name)
        // Without a stop, the block before it ends where the next one begins.
        end(block, &output)
        guard !isHidden else { return open(block, .hidden) }
        if kind == .structuredOutput { return beginStructuredOutput(block) }
        hasOutput = true
        guard !tools.isSuppressed, !tools.isFirstCallOnly || callCount == 0 else {
            return open(block, .hidden)
        }
        let index = callCount
        callCount += 1
        let original = tools.originalNames[name] ?? name
        output.outputBytes += original.count
        if kind == .custom {
            return open(block, .custom(index: index, id: id, name: original))
        }
        open(block, .call(index: index))
        let isLegacy = tools.isLegacy
        chunks.append(to: &output) { writer in
            guard !isLegacy else {
                return Self.writeFunction("function_call", original, arguments: Span(), &writer)
            }
            Self.writeElement("tool_calls", index, &writer) { writer in
                writer.key("id")
                writer.string(bytes: id)
                writer.key("type")
                writer.string("function")
                Self.writeFunction("function", original, arguments: Span(), &writer)
            }
        }
    }

    /// The first one is the answer, as in whole answers: two JSON texts in a row would be none.
    private mutating func beginStructuredOutput(_ block: Int) {
        open(block, hasStructuredOutput ? .hidden : .structuredOutput)
        hasStructuredOutput = true
    }

    private mutating func callInput(
        _ block: Int, _ fragment: Span<UInt8>, _ output: inout StreamOutput
    ) {
        guard !fragment.isEmpty, let place = blocks.firstIndex(where: { $0.key == block }) else {
            return
        }
        switch blocks[place].kind {
        case .call(let index):
            blocks[place].hasArguments = true
            arguments(index, fragment, &output)
        case .custom:
            blocks[place].text.append(span: fragment)
            heldBytes += fragment.count
        case .structuredOutput:
            blocks[place].hasArguments = true
            content(fragment, &output)
        case .hidden, .reasoning, .redacted: break
        }
    }

    private mutating func arguments(
        _ index: Int, _ fragment: Span<UInt8>, _ output: inout StreamOutput
    ) {
        output.outputBytes += fragment.count
        let isLegacy = tools.isLegacy
        chunks.append(to: &output) { writer in
            guard !isLegacy else {
                return Self.writeFunction("function_call", nil, arguments: fragment, &writer)
            }
            Self.writeElement("tool_calls", index, &writer) { writer in
                Self.writeFunction("function", nil, arguments: fragment, &writer)
            }
        }
    }

    /// A function's name, in its first fragment, and a fragment of its arguments.
    private static func writeFunction(
        _ key: StaticString, _ name: [UInt8]?, arguments: Span<UInt8>,
        _ writer: inout JSONWriter
    ) {
        writer.key(key)
        writer.beginObject()
        if let name {
            writer.key("name")
            writer.string(bytes: name)
        }
        writer.key("arguments")
        writer.string(span: arguments)
        writer.endObject()
    }

    private mutating func reasoning(
        _ block: Int, _ text: Span<UInt8>, _ output: inout StreamOutput
    ) {
        guard !text.isEmpty else { return }
        output.outputBytes += text.count
        blocks[place(of: block, .reasoning)].text.append(span: text)
        heldBytes += text.count
        chunks.append(to: &output, "reasoning_content", text)
    }

    /// Where the reasoning or redacted block of that index stands; it begins with its first piece.
    private mutating func place(of key: Int, _ kind: OpenBlock.Kind) -> Int {
        let known = blocks.firstIndex { block in
            switch (block.kind, kind) {
            case (.reasoning, .reasoning), (.redacted, .redacted): block.key == key
            default: false
            }
        }
        if let known { return known }
        open(key, kind)
        return blocks.count - 1
    }

    private mutating func open(_ key: Int, _ kind: OpenBlock.Kind) {
        blocks.append(OpenBlock(key: key, kind: kind))
    }

    /// Ends the block of that index; there may be two, since some events say no index (rule S6).
    private mutating func end(_ key: Int, _ output: inout StreamOutput) {
        while let place = blocks.firstIndex(where: { $0.key == key }) {
            let block = blocks.remove(at: place)
            heldBytes -= block.text.count + block.signature.count
            end(block, &output)
        }
    }

    private mutating func end(_ block: OpenBlock, _ output: inout StreamOutput) {
        switch block.kind {
        case .call(let index) where !block.hasArguments:
            arguments(index, [UInt8]("{}").span, &output)
        case .structuredOutput where !block.hasArguments:
            content([UInt8]("{}").span, &output)
        case .custom(let index, let id, let name):
            endCustom(index, id: id, name: name, input: block.text, &output)
        case .reasoning where !block.signature.isEmpty:
            thinking(&output) { writer in
                writer.key("type")
                writer.string("thinking")
                writer.key("thinking")
                writer.string(bytes: block.text)
                writer.key("signature")
                writer.string(bytes: block.signature)
            }
        case .redacted:
            thinking(&output) { writer in
                writer.key("type")
                writer.string("redacted_thinking")
                writer.key("data")
                writer.string(bytes: block.text)
            }
        case .call, .structuredOutput, .hidden, .reasoning: break
        }
    }

    private mutating func endCustom(
        _ index: Int, id: [UInt8], name: [UInt8], input: [UInt8], _ output: inout StreamOutput
    ) {
        output.outputBytes += input.count
        chunks.append(to: &output) { writer in
            Self.writeElement("tool_calls", index, &writer) { writer in
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
            }
        }
    }

    private mutating func finish(_ reason: ChatStopReason, _ output: inout StreamOutput) {
        for key in Set(blocks.map(\.key)).sorted() { end(key, &output) }
        sendHeldText(&output)
        isMalformed = reason == .malformedOutput && !hasOutput
        guard !isMalformed else { return }
        begin(&output)
        let word = reason.finishReason(hasCalls: callCount > 0, isLegacy: tools.isLegacy)
        output.finishReason = "\(word)"
        chunks.append(to: &output, finishReason: word) { _ in }
    }

    private mutating func thinking(
        _ output: inout StreamOutput, _ members: (inout JSONWriter) -> Void
    ) {
        let index = thinkingCount
        thinkingCount += 1
        chunks.append(to: &output) { writer in
            Self.writeElement("thinking_blocks", index, &writer, members)
        }
    }

    /// A list of one element, with its index: SDKs accumulate by it (rule S6).
    private static func writeElement(
        _ list: StaticString, _ index: Int, _ writer: inout JSONWriter,
        _ members: (inout JSONWriter) -> Void
    ) {
        writer.key(list)
        writer.beginArray()
        writer.beginObject()
        writer.key("index")
        writer.integer(index)
        members(&writer)
        writer.endObject()
        writer.endArray()
    }
}
