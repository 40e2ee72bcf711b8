import Primitives
import Wire

/// Reads the events of a ConverseStream answer (bedrock-api.md section 2.4, rules S2 to S10).
struct ConverseStreamReader {
    private enum State { case answering, stopped }

    /// The events that mean something; others are skipped (rule S10).
    private enum Event {
        case messageStart, blockStart, blockDelta, blockStop, messageStop, metadata
    }

    private var decoder = EventStreamDecoder()
    private var state = State.answering
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
        guard state == .stopped, (try? decoder.end()) != nil else {
            output.state = .failed(.upstreamIncomplete)
            return
        }
        writer.terminate(into: &output)
    }

    /// The answer ends here by a limit, as if it had reached its length.
    mutating func cut(_ usage: TokenUsage, into output: inout StreamOutput) {
        guard case .open = output.state else { return }
        if state == .answering { writer.write(.finish(.lengthLimit), into: &output) }
        state = .stopped
        output.usage = usage
        writer.terminate(into: &output)
    }

    private mutating func read(_ message: EventStreamMessage, into output: inout StreamOutput) {
        let type = message.string(":message-type") ?? []
        if type.span.equals("exception") || type.span.equals("error") {
            output.state = .failed(BedrockErrors.inStream(message))
            return
        }
        guard let event = message.string(":event-type").flatMap(Self.event) else { return }
        guard let document = try? JSONDocument(message.payload) else {
            // Going on would lose a piece of the answer without a word.
            output.state = .failed(.upstreamIncomplete)
            return
        }
        // After the stop there are only counts to come.
        guard state == .answering || event == .metadata else { return }
        read(event, document.root, into: &output)
    }

    private static func event(_ name: [UInt8]) -> Event? {
        let name = name.span
        if name.equals("contentBlockDelta") { return .blockDelta }
        if name.equals("contentBlockStart") { return .blockStart }
        if name.equals("contentBlockStop") { return .blockStop }
        if name.equals("messageStart") { return .messageStart }
        if name.equals("messageStop") { return .messageStop }
        return name.equals("metadata") ? .metadata : nil
    }

    private mutating func read(
        _ event: Event, _ payload: JSONValue, into output: inout StreamOutput
    ) {
        // Rule S6: an event without an index is one of block 0.
        let block = payload["contentBlockIndex"]?.int ?? 0
        switch event {
        case .messageStart: writer.write(.begin, into: &output)
        case .blockStart: beginBlock(block, payload["start"], &output)
        case .blockDelta: readDelta(block, payload["delta"], &output)
        case .blockStop: writer.write(.blockEnd(block: block), into: &output)
        case .messageStop:
            state = .stopped
            let reason = payload["stopReason"]?.stringBytes ?? []
            writer.write(.finish(ConverseStopReason.read(reason)), into: &output)
        case .metadata:
            if let usage = payload.present("usage").flatMap({ ConverseUsage.read($0) }) {
                let tier = ConverseUsage.serviceTier(payload)
                writer.write(.usage(usage, serviceTier: tier), into: &output)
            }
        }
    }

    private mutating func beginBlock(
        _ block: Int, _ start: JSONValue?, _ output: inout StreamOutput
    ) {
        guard let use = start?.present("toolUse") else {
            // Some models begin text and reasoning blocks too, with nothing in the start.
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
        _ block: Int, _ delta: JSONValue?, _ output: inout StreamOutput
    ) {
        guard let delta else { return writer.write(.begin, into: &output) }
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
        } else {
            // What is not passed on still comes behind the role (rules S2 and S10).
            writer.write(.begin, into: &output)
        }
    }
}
