import Primitives
import Wire

/// Writes a whole answer as OpenAI's chat completion (rules R1 to R9).
struct ChatAnswerWriter {
    let request: ClientRequest
    let tools: ChatTools
    private var writer = JSONWriter()

    init(request: ClientRequest, tools: ChatTools) {
        self.request = request
        self.tools = tools
    }

    /// The body, the finish reason and the usage.
    mutating func write(_ answer: ChatAnswer) -> CallResult {
        let text = visibleText(answer)
        let calls = visibleCalls(answer)
        let reason = answer.stopReason.finishReason(
            hasCalls: !calls.isEmpty, isLegacy: tools.isLegacy)
        writer = JSONWriter(reservingBytes: (text?.count ?? 0) + 640)
        writer.beginObject()
        writer.key("id")
        writer.string(text: "chatcmpl-\(request.uniqueID)")
        writer.key("object")
        writer.string("chat.completion")
        writer.key("created")
        writer.integer(request.createdSeconds)
        writer.key("model")
        writer.string(text: request.summary.model)
        writer.key("choices")
        writer.beginArray()
        writer.beginObject()
        writer.key("index")
        writer.integer(0)
        writeMessage(answer, text: text, calls: calls)
        writer.key("logprobs")
        writer.null()
        writer.key("finish_reason")
        writer.string(reason)
        writer.endObject()
        writer.endArray()
        if let usage = answer.usage {
            writer.key("usage")
            ChatUsageWriter.write(usage, to: &writer)
        }
        if let tier = answer.serviceTier {
            writer.key("service_tier")
            writer.string(text: tier)
        }
        writer.endObject()
        return CallResult(
            body: writer.bytes, usage: answer.usage, outputBytes: answer.outputBytes,
            finishReason: "\(reason)", serviceTier: answer.serviceTier)
    }

    /// The text, or the input of the tool that stands for structured output (rule A42).
    private func visibleText(_ answer: ChatAnswer) -> [UInt8]? {
        let structured = answer.calls.first { tools.kind(of: $0.name) == .structuredOutput }
        return structured?.input ?? answer.text
    }

    private func visibleCalls(_ answer: ChatAnswer) -> [ChatAnswer.Call] {
        guard !tools.isSuppressed else { return [] }
        let calls = answer.calls.filter { tools.kind(of: $0.name) != .structuredOutput }
        return tools.isFirstCallOnly ? Array(calls.prefix(1)) : calls
    }

    private mutating func writeMessage(
        _ answer: ChatAnswer, text: [UInt8]?, calls: [ChatAnswer.Call]
    ) {
        writer.key("message")
        writer.beginObject()
        writer.key("role")
        writer.string("assistant")
        writer.key("content")
        if let text {
            writer.string(bytes: text)
        } else if calls.isEmpty {
            writer.string("")
        } else {
            writer.null()
        }
        writer.key("refusal")
        writer.null()
        if !answer.reasoning.isEmpty {
            writer.key("reasoning_content")
            writer.string(bytes: answer.reasoning)
        }
        writeThinking(answer.thinking)
        writeCitations(answer.citations)
        writeCalls(calls)
        writer.endObject()
    }

    private mutating func writeThinking(_ blocks: [ChatAnswer.Thinking]) {
        guard !blocks.isEmpty else { return }
        writer.key("thinking_blocks")
        writer.beginArray()
        for block in blocks {
            writer.beginObject()
            switch block {
            case .signed(let text, let signature):
                member("type", [UInt8]("thinking"))
                member("thinking", text)
                member("signature", signature)
            case .redacted(let data):
                member("type", [UInt8]("redacted_thinking"))
                member("data", data)
            }
            writer.endObject()
        }
        writer.endArray()
    }

    private mutating func writeCitations(_ citations: [ChatAnswer.Citation]) {
        guard !citations.isEmpty else { return }
        writer.key("annotations")
        writer.beginArray()
        for citation in citations {
            writer.beginObject()
            member("type", [UInt8]("url_citation"))
            writer.key("url_citation")
            writer.beginObject()
            writer.key("start_index")
            writer.integer(citation.start)
            writer.key("end_index")
            writer.integer(citation.end)
            member("title", citation.title)
            member("url", citation.url)
            writer.endObject()
            writer.endObject()
        }
        writer.endArray()
    }

    private mutating func writeCalls(_ calls: [ChatAnswer.Call]) {
        guard let first = calls.first else { return }
        if tools.isLegacy {
            writer.key("function_call")
            writer.beginObject()
            member("name", name(of: first))
            member("arguments", first.input)
            writer.endObject()
            return
        }
        writer.key("tool_calls")
        writer.beginArray()
        for call in calls {
            let isCustom = tools.kind(of: call.name) == .custom
            writer.beginObject()
            member("id", call.id)
            member("type", [UInt8](isCustom ? "custom" : "function"))
            writer.key(isCustom ? "custom" : "function")
            writer.beginObject()
            member("name", name(of: call))
            if isCustom {
                member("input", CustomToolInput.text(call.input))
            } else {
                member("arguments", call.input)
            }
            writer.endObject()
            writer.endObject()
        }
        writer.endArray()
    }

    private func name(of call: ChatAnswer.Call) -> [UInt8] {
        tools.originalNames[call.name] ?? call.name
    }

    private mutating func member(_ name: StaticString, _ text: [UInt8]) {
        writer.key(name)
        writer.string(bytes: text)
    }
}

/// What a custom tool is called with: the one string in its input (rule A29). An empty object is
/// nothing; anything else is shown as it is.
enum CustomToolInput {
    static func text(_ input: [UInt8]) -> [UInt8] {
        guard let root = (try? JSONDocument(input))?.root else { return input }
        if let text = root.present("input")?.stringBytes { return text }
        return root.kind == .object && root.count == 0 ? [] : input
    }
}

/// The `usage` object (rule R7).
enum ChatUsageWriter {
    static func write(_ usage: TokenUsage, to writer: inout JSONWriter) {
        writer.beginObject()
        writer.key("prompt_tokens")
        writer.integer(usage.input)
        writer.key("completion_tokens")
        writer.integer(usage.output)
        writer.key("total_tokens")
        writer.integer(usage.input + usage.output)
        if usage.hasCacheCounts {
            writer.key("prompt_tokens_details")
            writer.beginObject()
            writer.key("cached_tokens")
            writer.integer(usage.cacheRead)
            writer.key("cache_write_tokens")
            writer.integer(usage.cacheWrite)
            writer.endObject()
        }
        writer.endObject()
    }
}
