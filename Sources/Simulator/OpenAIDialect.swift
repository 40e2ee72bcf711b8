import Primitives
import Wire

/// Answers as vLLM does.
struct OpenAIDialect {
    let root: JSONValue
    let model: [UInt8]
    let body: [UInt8]
    let options: SimulatorOptions

    static let models = [UInt8](
        """
        {"object":"list","data":[{"id":"simulated","object":"model","created":0,\
        "owned_by":"vllm","root":"simulated","parent":null,"max_model_len":131072}]}
        """
    )

    static func error(_ status: Int, _ type: String, _ message: String) -> SimulatedReply {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("error")
        writer.beginObject()
        writer.key("message")
        writer.string(text: message)
        writer.key("type")
        writer.string(text: type)
        writer.key("param")
        writer.null()
        writer.key("code")
        writer.integer(status)
        writer.endObject()
        writer.endObject()
        return .json(writer.bytes, status: status)
    }

    // MARK: - Completions

    func completion(isChat: Bool) -> SimulatedReply {
        let turn = SimulatedTurn(
            conversation: isChat ? conversation : Conversation(maximumTokens: maximumTokens),
            body: body, options: options)
        switch turn.failure {
        case .overloaded:
            return Self.error(429, "RateLimitError", "Too many requests, try again.")
        case .serverError: return Self.error(500, "InternalServerError", "The engine failed.")
        case .unavailable:
            return Self.error(503, "Service Unavailable", "The queue is full, try again later.")
        case .reset:
            var reply = SimulatedReply()
            reply.isStreamed = true
            reply.ending = .reset
            return reply
        case .cutStream, .errorInStream, nil: break
        }
        guard root["stream"]?.bool == true else { return whole(turn, isChat: isChat) }
        return stream(turn, isChat: isChat)
    }

    private var maximumTokens: Int? {
        root.present("max_completion_tokens")?.int ?? root.present("max_tokens")?.int
    }

    private var conversation: Conversation {
        var conversation = Conversation(maximumTokens: maximumTokens)
        var last: JSONValue?
        for message in root["messages"]?.elements ?? root.elements { last = message }
        if last?["role"]?.equals("tool") == true {
            let text = last?["content"]?.string ?? "something"
            conversation.fixedText = "The tool says: \(text)"
            return conversation
        }
        if root["response_format"]?["type"]?.equals("json_schema") == true {
            let schema = root["response_format"]?["json_schema"]?["schema"]
            conversation.fixedText = String(
                decoding: SchemaExample.write(schema), as: UTF8.self)
            return conversation
        }
        if root["response_format"]?["type"]?.equals("json_object") == true {
            conversation.fixedText = "{}"
            return conversation
        }
        guard root["tool_choice"]?.equals("none") != true else { return conversation }
        let wanted = root["tool_choice"]?["function"]?["name"]?.stringBytes
        for tool in root["tools"]?.elements ?? root.elements {
            guard let function = tool["function"], let name = function["name"]?.stringBytes,
                wanted == nil || wanted == name
            else { continue }
            conversation.tool = Conversation.Tool(name: name, schema: function["parameters"])
            break
        }
        return conversation
    }

    private func whole(_ turn: SimulatedTurn, isChat: Bool) -> SimulatedReply {
        var writer = JSONWriter()
        begin(turn, isChat ? "chat.completion" : "text_completion", isChat, &writer)
        writer.key("choices")
        writer.beginArray()
        for index in 0..<min(max(root["n"]?.int ?? 1, 1), 8) {
            writer.beginObject()
            writer.key("index")
            writer.integer(index)
            writeMessage(turn, isChat: isChat, &writer)
            writer.key("logprobs")
            writer.null()
            writer.key("finish_reason")
            writer.string(text: finishReason(turn))
            writer.key("stop_reason")
            writer.null()
            writer.endObject()
        }
        writer.endArray()
        writeUsage(turn, &writer)
        writer.endObject()
        var reply = SimulatedReply.json(writer.bytes)
        let ending = turn.failure == nil ? SimulatedReply.Ending.complete : .reset
        if ending == .reset { reply.isStreamed = true }
        reply.tokens = turn.failure == nil ? turn.tokens : nil
        reply.ending = ending
        reply.writes[0].afterMilliseconds = options.firstTokenMilliseconds
        return reply
    }

    private func writeMessage(_ turn: SimulatedTurn, isChat: Bool, _ writer: inout JSONWriter) {
        guard isChat else {
            writer.key("text")
            if case .text(let words) = turn.content { writer.string(text: words.joined()) }
            return
        }
        writer.key("message")
        writer.beginObject()
        writer.key("role")
        writer.string("assistant")
        switch turn.content {
        case .text(let words):
            writer.key("content")
            writer.string(text: words.joined())
        case .call(let name, let arguments):
            writer.key("content")
            writer.null()
            writer.key("tool_calls")
            writer.beginArray()
            writer.beginObject()
            writeCall(turn, name: name, arguments: arguments, &writer)
            writer.endObject()
            writer.endArray()
        }
        writer.endObject()
    }

    private func writeCall(
        _ turn: SimulatedTurn, name: [UInt8], arguments: [UInt8]?, _ writer: inout JSONWriter
    ) {
        writer.key("id")
        writer.string(bytes: [UInt8]("chatcmpl-tool-") + turn.identity)
        writer.key("type")
        writer.string("function")
        writer.key("function")
        writer.beginObject()
        writer.key("name")
        writer.string(bytes: name)
        if let arguments {
            writer.key("arguments")
            writer.string(bytes: arguments)
        }
        writer.endObject()
    }

    private func finishReason(_ turn: SimulatedTurn) -> String {
        if case .call = turn.content { return "tool_calls" }
        return turn.isCutShort ? "length" : "stop"
    }

    // MARK: - Streams

    private func stream(_ turn: SimulatedTurn, isChat: Bool) -> SimulatedReply {
        var events: [[UInt8]] = []
        if isChat {
            events.append(
                chunk(turn, isChat) { writer in
                    writer.key("role")
                    writer.string("assistant")
                    writer.key("content")
                    writer.string("")
                })
        }
        switch turn.content {
        case .text(let words):
            for word in words {
                events.append(
                    chunk(turn, isChat) { writer in
                        writer.key(isChat ? "content" : "text")
                        writer.string(text: word)
                    })
            }
        case .call(let name, let arguments): events += callChunks(turn, name, arguments)
        }
        events.append(chunk(turn, isChat, finishReason: finishReason(turn)) { _ in })
        if root["stream_options"]?["include_usage"]?.bool == true {
            events.append(usageChunk(turn, isChat))
        }
        var reply = SimulatedReply()
        reply.fields.append("content-type", "text/event-stream; charset=utf-8")
        reply.isStreamed = true
        apply(turn.failure, to: &events, &reply)
        reply.tokens = turn.failure == nil ? turn.tokens : nil
        reply.writes = events.enumerated().map { index, event in
            SimulatedReply.Write(
                afterMilliseconds: index == 0
                    ? options.firstTokenMilliseconds : options.chunkMilliseconds,
                bytes: event)
        }
        return reply
    }

    /// A dead engine still says `[DONE]` (vllm.md 10.4); a cut stream says nothing.
    private func apply(
        _ failure: SimulatedTurn.Failure?, to events: inout [[UInt8]], _ reply: inout SimulatedReply
    ) {
        switch failure {
        case .cutStream:
            events = Array(events.prefix(events.count / 2))
            reply.ending = .reset
        case .errorInStream:
            events = Array(events.prefix(events.count / 2))
            events.append(
                [UInt8](
                    """
                    data: {"error": {"message": "EngineCore encountered an issue.", \
                    "type": "InternalServerError", "param": null, "code": 500}}


                    """
                ))
            events.append([UInt8]("data: [DONE]\n\n"))
        default: events.append([UInt8]("data: [DONE]\n\n"))
        }
    }

    private func callChunks(
        _ turn: SimulatedTurn, _ name: [UInt8], _ arguments: [UInt8]
    ) -> [[UInt8]] {
        let middle = arguments.count / 2
        let pieces = [arguments.prefix(middle), arguments.suffix(arguments.count - middle)]
        let first = chunk(turn, true) { writer in
            writer.key("tool_calls")
            writer.beginArray()
            writer.beginObject()
            writer.key("index")
            writer.integer(0)
            writeCall(turn, name: name, arguments: nil, &writer)
            writer.endObject()
            writer.endArray()
        }
        return [first]
            + pieces.map { piece in
                chunk(turn, true) { writer in
                    writer.key("tool_calls")
                    writer.beginArray()
                    writer.beginObject()
                    writer.key("index")
                    writer.integer(0)
                    writer.key("function")
                    writer.beginObject()
                    writer.key("arguments")
                    writer.string(bytes: Array(piece))
                    writer.endObject()
                    writer.endObject()
                    writer.endArray()
                }
            }
    }

    private func chunk(
        _ turn: SimulatedTurn, _ isChat: Bool, finishReason: String? = nil,
        _ members: (inout JSONWriter) -> Void
    ) -> [UInt8] {
        var writer = JSONWriter()
        writer.bytes = [UInt8]("data: ")
        begin(turn, isChat ? "chat.completion.chunk" : "text_completion", isChat, &writer)
        writer.key("choices")
        writer.beginArray()
        writer.beginObject()
        writer.key("index")
        writer.integer(0)
        if isChat {
            writer.key("delta")
            writer.beginObject()
            members(&writer)
            writer.endObject()
        } else if finishReason == nil {
            members(&writer)
        } else {
            writer.key("text")
            writer.string("")
        }
        writer.key("logprobs")
        writer.null()
        writer.key("finish_reason")
        if let finishReason { writer.string(text: finishReason) } else { writer.null() }
        writer.endObject()
        writer.endArray()
        writer.endObject()
        return writer.bytes + [UInt8]("\n\n")
    }

    private func usageChunk(_ turn: SimulatedTurn, _ isChat: Bool) -> [UInt8] {
        var writer = JSONWriter()
        writer.bytes = [UInt8]("data: ")
        begin(turn, isChat ? "chat.completion.chunk" : "text_completion", isChat, &writer)
        writer.key("choices")
        writer.beginArray()
        writer.endArray()
        writeUsage(turn, &writer)
        writer.endObject()
        return writer.bytes + [UInt8]("\n\n")
    }

    private func begin(
        _ turn: SimulatedTurn, _ object: StaticString, _ isChat: Bool, _ writer: inout JSONWriter
    ) {
        writer.beginObject()
        writer.key("id")
        writer.string(bytes: [UInt8](isChat ? "chatcmpl-" : "cmpl-") + turn.identity)
        writer.key("object")
        writer.string(object)
        writer.key("created")
        writer.integer(1_760_000_000)
        writer.key("model")
        writer.string(bytes: model)
    }

    private func writeUsage(_ turn: SimulatedTurn, _ writer: inout JSONWriter) {
        writer.key("usage")
        writer.beginObject()
        writer.key("prompt_tokens")
        writer.integer(turn.inputTokens)
        writer.key("total_tokens")
        writer.integer(turn.inputTokens + turn.outputTokens)
        writer.key("completion_tokens")
        writer.integer(turn.outputTokens)
        writer.key("prompt_tokens_details")
        writer.beginObject()
        writer.key("cached_tokens")
        writer.integer(0)
        writer.endObject()
        writer.endObject()
    }

    // MARK: - Embeddings

    func embeddings() -> SimulatedReply {
        let input = root["input"]
        var texts: [[UInt8]] = []
        if let text = input?.stringBytes {
            texts = [text]
        } else {
            for element in input?.elements ?? root.elements { texts.append(element.source) }
        }
        let isBase64 = root["encoding_format"]?.equals("base64") == true
        let count = root.present("dimensions")?.int ?? options.embeddingDimensions
        let dimensions = min(max(count, 1), 4096)
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("object")
        writer.string("list")
        writer.key("data")
        writer.beginArray()
        for (index, text) in texts.enumerated() {
            writer.beginObject()
            writer.key("object")
            writer.string("embedding")
            writer.key("index")
            writer.integer(index)
            writer.key("embedding")
            if isBase64 {
                var bytes: [UInt8] = []
                for value in SimulatedVector.values(text, count: dimensions) {
                    for shift in stride(from: 0, to: 32, by: 8) {
                        bytes.append(UInt8(truncatingIfNeeded: value.bitPattern >> UInt32(shift)))
                    }
                }
                writer.string(bytes: Base64.encode(bytes.span))
            } else {
                SimulatedVector.write(text, count: dimensions, to: &writer)
            }
            writer.endObject()
        }
        writer.endArray()
        writer.key("model")
        writer.string(bytes: model)
        let tokens = max(1, body.count / Limits.bytesPerTokenGuess)
        writer.key("usage")
        writer.beginObject()
        writer.key("prompt_tokens")
        writer.integer(tokens)
        writer.key("total_tokens")
        writer.integer(tokens)
        writer.endObject()
        writer.endObject()
        var reply = SimulatedReply.json(writer.bytes)
        reply.tokens = SimulatedReply.Tokens(input: tokens, output: 0)
        return reply
    }
}
