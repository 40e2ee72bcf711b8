import Primitives
import Wire

/// Answers as Bedrock Runtime does.
struct ConverseDialect {
    let root: JSONValue
    let body: [UInt8]
    let options: SimulatorOptions

    static func error(_ status: Int, _ name: String, _ message: String) -> SimulatedReply {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("message")
        writer.string(text: message)
        writer.endObject()
        var reply = SimulatedReply.json(writer.bytes, status: status)
        reply.fields.append("x-amzn-errortype", text: name)
        return reply
    }

    // MARK: - Converse

    func converse() -> SimulatedReply {
        let turn = SimulatedTurn(conversation: conversation, body: body, options: options)
        if let reply = failure(turn) { return reply }
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("output")
        writer.beginObject()
        writer.key("message")
        writer.beginObject()
        writer.key("role")
        writer.string("assistant")
        writer.key("content")
        writer.beginArray()
        writer.beginObject()
        switch turn.content {
        case .text(let words):
            writer.key("text")
            writer.string(text: words.joined())
        case .call(let name, let arguments):
            writer.key("toolUse")
            writer.beginObject()
            writeCallHead(turn, name, &writer)
            writer.key("input")
            writer.raw(arguments)
            writer.endObject()
        }
        writer.endObject()
        writer.endArray()
        writer.endObject()
        writer.endObject()
        writer.key("stopReason")
        writer.string(text: stopReason(turn))
        writeUsage(turn, &writer)
        writer.endObject()
        var reply = SimulatedReply.json(writer.bytes)
        reply.tokens = turn.tokens
        reply.writes[0].afterMilliseconds = options.firstTokenMilliseconds
        return reply
    }

    func converseStream() -> SimulatedReply {
        let turn = SimulatedTurn(conversation: conversation, body: body, options: options)
        if let reply = failure(turn) { return reply }
        var frames = [
            frame("messageStart") {
                $0.key("role"); $0.string("assistant")
            }
        ]
        switch turn.content {
        case .text(let words):
            for word in words {
                frames.append(
                    delta {
                        $0.key("text"); $0.string(text: word)
                    })
            }
        case .call(let name, let arguments):
            frames.append(callStart(turn, name))
            let middle = arguments.count / 2
            for piece in [arguments.prefix(middle), arguments.suffix(arguments.count - middle)] {
                frames.append(
                    delta { writer in
                        writer.key("toolUse")
                        writer.beginObject()
                        writer.key("input")
                        writer.string(bytes: Array(piece))
                        writer.endObject()
                    })
            }
        }
        frames.append(
            frame("contentBlockStop") {
                $0.key("contentBlockIndex"); $0.integer(0)
            })
        frames.append(
            frame("messageStop") {
                $0.key("stopReason"); $0.string(text: stopReason(turn))
            })
        frames.append(frame("metadata") { writeUsage(turn, &$0) })
        var reply = SimulatedReply()
        reply.fields.append("content-type", "application/vnd.amazon.eventstream")
        reply.isStreamed = true
        apply(turn.failure, to: &frames, &reply)
        reply.tokens = turn.failure == nil ? turn.tokens : nil
        reply.writes = frames.enumerated().map { index, bytes in
            SimulatedReply.Write(
                afterMilliseconds: index == 0
                    ? options.firstTokenMilliseconds : options.chunkMilliseconds,
                bytes: bytes)
        }
        return reply
    }

    private var conversation: Conversation {
        var conversation = Conversation()
        conversation.maximumTokens = root["inferenceConfig"]?["maxTokens"]?.int
        var last: JSONValue?
        for message in root["messages"]?.elements ?? root.elements { last = message }
        for block in last?["content"]?.elements ?? root.elements {
            guard let result = block["toolResult"] else { continue }
            for content in result["content"]?.elements ?? root.elements {
                conversation.fixedText = "The tool says: \(content["text"]?.string ?? "something")"
            }
            return conversation
        }
        let format = root["outputConfig"]?["textFormat"]?["structure"]?["jsonSchema"]
        if let schema = format?["schema"]?.stringBytes, let document = try? JSONDocument(schema) {
            conversation.fixedText = String(
                decoding: SchemaExample.write(document.root), as: UTF8.self)
            return conversation
        }
        if wantsJSON {
            conversation.fixedText = "{}"
            return conversation
        }
        let wanted = root["toolConfig"]?["toolChoice"]?["tool"]?["name"]?.stringBytes
        for tool in root["toolConfig"]?["tools"]?.elements ?? root.elements {
            guard let specification = tool["toolSpec"],
                let name = specification["name"]?.stringBytes, wanted == nil || wanted == name
            else { continue }
            conversation.tool = Conversation.Tool(
                name: name, schema: specification["inputSchema"]?["json"])
            break
        }
        return conversation
    }

    /// Whether the system prompt demands a JSON object, as Converse has no other way to say it.
    private var wantsJSON: Bool {
        (root["system"]?.elements ?? root.elements).contains { block in
            block["text"]?.string?.contains("a single valid JSON object") == true
        }
    }

    private func failure(_ turn: SimulatedTurn) -> SimulatedReply? {
        switch turn.failure {
        case .overloaded:
            return Self.error(429, "ThrottlingException", "Too many requests, please wait.")
        case .serverError:
            return Self.error(500, "InternalServerException", "The service failed.")
        case .unavailable:
            return Self.error(503, "ServiceUnavailableException", "The service is unavailable.")
        case .reset:
            var reply = SimulatedReply()
            reply.isStreamed = true
            reply.ending = .reset
            return reply
        case .cutStream, .errorInStream, nil: return nil
        }
    }

    private func apply(
        _ failure: SimulatedTurn.Failure?, to frames: inout [[UInt8]], _ reply: inout SimulatedReply
    ) {
        switch failure {
        case .cutStream:
            frames = Array(frames.prefix(frames.count / 2))
            reply.ending = .reset
        case .errorInStream:
            frames = Array(frames.prefix(frames.count / 2))
            var bytes: [UInt8] = []
            EventStreamEncoder.exception(
                "modelStreamErrorException",
                payload: [UInt8](#"{"message":"The model failed.","originalStatusCode":500}"#),
                to: &bytes)
            frames.append(bytes)
        default: break
        }
    }

    // MARK: - Frames

    private func callStart(_ turn: SimulatedTurn, _ name: [UInt8]) -> [UInt8] {
        frame("contentBlockStart") { writer in
            writer.key("contentBlockIndex")
            writer.integer(0)
            writer.key("start")
            writer.beginObject()
            writer.key("toolUse")
            writer.beginObject()
            writeCallHead(turn, name, &writer)
            writer.endObject()
            writer.endObject()
        }
    }

    private func delta(_ members: (inout JSONWriter) -> Void) -> [UInt8] {
        frame("contentBlockDelta") { writer in
            writer.key("contentBlockIndex")
            writer.integer(0)
            writer.key("delta")
            writer.beginObject()
            members(&writer)
            writer.endObject()
        }
    }

    /// One event, with the padding member that the service adds.
    private func frame(_ type: String, _ members: (inout JSONWriter) -> Void) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        members(&writer)
        writer.key("p")
        writer.string("abcd")
        writer.endObject()
        var bytes: [UInt8] = []
        EventStreamEncoder.event(type, payload: writer.bytes, to: &bytes)
        return bytes
    }

    private func writeCallHead(
        _ turn: SimulatedTurn, _ name: [UInt8], _ writer: inout JSONWriter
    ) {
        writer.key("toolUseId")
        writer.string(bytes: [UInt8]("tooluse_") + turn.identity)
        writer.key("name")
        writer.string(bytes: name)
    }

    private func stopReason(_ turn: SimulatedTurn) -> String {
        if case .call = turn.content { return "tool_use" }
        return turn.isCutShort ? "max_tokens" : "end_turn"
    }

    private func writeUsage(_ turn: SimulatedTurn, _ writer: inout JSONWriter) {
        writer.key("usage")
        writer.beginObject()
        writer.key("inputTokens")
        writer.integer(turn.inputTokens)
        writer.key("outputTokens")
        writer.integer(turn.outputTokens)
        writer.key("totalTokens")
        writer.integer(turn.inputTokens + turn.outputTokens)
        writer.endObject()
        writer.key("metrics")
        writer.beginObject()
        writer.key("latencyMs")
        writer.integer(options.firstTokenMilliseconds)
        writer.endObject()
    }

    // MARK: - InvokeModel

    /// Embeddings of Titan, Cohere and Nova, told apart by their bodies.
    func invoke() -> SimulatedReply {
        var writer = JSONWriter()
        writer.beginObject()
        if let text = root["inputText"]?.stringBytes {
            writer.key("embedding")
            SimulatedVector.write(text, count: dimensions(root["dimensions"]), to: &writer)
            writer.key("inputTextTokenCount")
            writer.integer(max(1, text.count / Limits.bytesPerTokenGuess))
        } else if let texts = root["texts"] {
            writer.key("embeddings")
            writer.beginObject()
            writer.key("float")
            writer.beginArray()
            for text in texts.elements {
                SimulatedVector.write(
                    text.stringBytes ?? [], count: dimensions(root["output_dimension"]),
                    to: &writer)
            }
            writer.endArray()
            writer.endObject()
            writer.key("response_type")
            writer.string("embeddings_by_type")
        } else if let nova = root["singleEmbeddingParams"] {
            writer.key("embeddings")
            writer.beginArray()
            writer.beginObject()
            writer.key("embeddingType")
            writer.string("TEXT")
            writer.key("embedding")
            SimulatedVector.write(
                nova["text"]?["value"]?.stringBytes ?? [],
                count: dimensions(nova["embeddingDimension"]), to: &writer)
            writer.endObject()
            writer.endArray()
        } else {
            return Self.error(400, "ValidationException", "This body is not supported.")
        }
        writer.endObject()
        var reply = SimulatedReply.json(writer.bytes)
        reply.fields.append(
            "x-amzn-bedrock-input-token-count",
            decimal: max(1, body.count / Limits.bytesPerTokenGuess))
        return reply
    }

    private func dimensions(_ asked: JSONValue?) -> Int {
        min(max(asked?.int ?? options.embeddingDimensions, 1), 4096)
    }
}
