import Primitives
import Wire

/// Reads the events of a ConverseStream answer (bedrock-api.md section 2.4, rules S2 to S10).
struct ConverseStreamReader {
    private var decoder = EventStreamDecoder()
    private var hasStopped = false
    private var writer: ChatChunkWriter

    init(writer: ChatChunkWriter) { self.writer = writer }

    mutating func receive(_ bytes: Span<UInt8>, into output: inout StreamOutput) {
        guard case .open = output.state else { return }
        decoder.receive(bytes)
        do throws(EventStreamFailure) {
            while let message = try decoder.next() {
                read(message, into: &output)
                guard case .open = output.state else { return }
            }
        } catch {
            // There is no way to find the next frame (rule S9).
            output.state = .failed(.upstreamIncomplete)
        }
    }

    /// The answer has ended as HTTP: only a stop before it makes it whole.
    mutating func end(into output: inout StreamOutput) {
        guard case .open = output.state else { return }
        guard hasStopped, (try? decoder.end()) != nil else {
            output.state = .failed(.upstreamIncomplete)
            return
        }
        writer.terminate(into: &output)
    }

    private mutating func read(_ message: EventStreamMessage, into output: inout StreamOutput) {
        let type = message.string(":message-type") ?? []
        if type.span.equals("exception") || type.span.equals("error") {
            output.state = .failed(BedrockErrors.inStream(message))
            return
        }
        guard let name = message.string(":event-type"),
            let document = try? JSONDocument(message.payload)
        else { return }
        let payload = document.root
        let block = payload["contentBlockIndex"]?.int ?? 0
        switch String(decoding: name, as: UTF8.self) {
        case "messageStart": writer.write(.begin, into: &output)
        case "contentBlockStart": beginBlock(block, payload, &output)
        case "contentBlockDelta":
            if let delta = payload.present("delta") { readDelta(block, delta, &output) }
        case "contentBlockStop": writer.write(.blockEnd(block: block), into: &output)
        case "messageStop":
            hasStopped = true
            let reason = payload["stopReason"]?.stringBytes ?? []
            writer.write(.finish(ConverseStopReason.read(reason)), into: &output)
        case "metadata":
            if let usage = payload.present("usage").flatMap({ ConverseUsage.read($0) }) {
                let tier = ConverseUsage.serviceTier(payload)
                writer.write(.usage(usage, serviceTier: tier), into: &output)
            }
        default: break
        }
    }

    private mutating func beginBlock(
        _ block: Int, _ payload: JSONValue, _ output: inout StreamOutput
    ) {
        guard let use = payload["start"]?.present("toolUse") else {
            // An empty start says nothing, but something has come (rule S2).
            return writer.write(.begin, into: &output)
        }
        writer.write(
            .callBegin(
                block: block, id: use["toolUseId"]?.stringBytes ?? [],
                name: use["name"]?.stringBytes ?? [],
                isHidden: use["type"]?.equals("server_tool_use") == true),
            into: &output)
    }

    private mutating func readDelta(
        _ block: Int, _ delta: JSONValue, _ output: inout StreamOutput
    ) {
        if let text = delta["text"]?.stringBytes {
            writer.write(.text(text), into: &output)
        } else if let fragment = delta["toolUse"]?["input"]?.stringBytes {
            writer.write(.callInput(block: block, fragment), into: &output)
        } else if let reasoning = delta.present("reasoningContent") {
            if let text = reasoning["text"]?.stringBytes {
                writer.write(.reasoning(block: block, text), into: &output)
            }
            if let signature = reasoning["signature"]?.stringBytes {
                writer.write(.reasoningSignature(block: block, signature), into: &output)
            }
            if let data = reasoning["redactedContent"]?.stringBytes {
                writer.write(.redactedReasoning(block: block, data), into: &output)
            }
        }
    }
}
