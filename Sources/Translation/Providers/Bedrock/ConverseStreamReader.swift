import Primitives
import Wire

/// Reads the events of a ConverseStream answer (bedrock-api.md section 2.4, rules S2 to S10).
struct ConverseStreamReader {
    private var decoder = EventStreamDecoder()
    private var events: ConverseEventReader
    /// Memory for a text whose escapes are undone.
    private var scratch: [UInt8] = []

    init(writer: ChatChunkWriter) { events = ConverseEventReader(writer: writer) }

    mutating func receive(_ bytes: Span<UInt8>, into output: inout StreamOutput) {
        guard case .open = output.state else { return }
        decoder.receive(bytes)
        do throws(EventStreamFailure) {
            while try decoder.advance() {
                Self.read(decoder, &events, &scratch, &output)
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
        guard events.hasStopped, (try? decoder.end()) != nil else {
            output.state = .failed(.upstreamIncomplete)
            return
        }
        events.writer.terminate(into: &output)
    }

    /// The answer ends here by a limit, as if it had reached its length.
    mutating func cut(_ usage: TokenUsage, into output: inout StreamOutput) {
        guard case .open = output.state else { return }
        events.cut(into: &output)
        output.usage = usage
        events.writer.terminate(into: &output)
    }

    /// Reads the decoder's message.
    private static func read(
        _ decoder: EventStreamDecoder, _ events: inout ConverseEventReader,
        _ scratch: inout [UInt8], _ output: inout StreamOutput
    ) {
        if let type = decoder.text(of: ":message-type"),
            type.equals("exception") || type.equals("error")
        {
            output.state = .failed(BedrockErrors.inStream(decoder.message()))
            return
        }
        guard let name = decoder.text(of: ":event-type"), let event = ConverseEvent(name) else {
            return
        }
        events.read(event, decoder.payload(), &scratch, into: &output)
    }
}

/// The events that mean something; others are skipped (rule S10).
private enum ConverseEvent {
    case messageStart, blockStart, blockDelta, blockStop, messageStop, metadata

    init?(_ name: Span<UInt8>) {
        if name.equals("contentBlockDelta") {
            self = .blockDelta
        } else if name.equals("contentBlockStart") {
            self = .blockStart
        } else if name.equals("contentBlockStop") {
            self = .blockStop
        } else if name.equals("messageStart") {
            self = .messageStart
        } else if name.equals("messageStop") {
            self = .messageStop
        } else if name.equals("metadata") {
            self = .metadata
        } else {
            return nil
        }
    }
}

/// Reads the payloads of events into deltas. It keeps its memory from one event to the next.
private struct ConverseEventReader {
    private(set) var hasStopped = false
    var writer: ChatChunkWriter
    private var tape = JSONTape()

    init(writer: ChatChunkWriter) { self.writer = writer }

    /// The answer ends where it has not been ended by the backend.
    mutating func cut(into output: inout StreamOutput) {
        if !hasStopped || writer.isMalformed {
            writer.write(.finish(.lengthLimit), into: &output)
        }
        hasStopped = true
    }

    mutating func read(
        _ event: ConverseEvent, _ payload: Span<UInt8>, _ scratch: inout [UInt8],
        into output: inout StreamOutput
    ) {
        do throws(JSONFailure) {
            try tape.parse(payload)
        } catch {
            // Going on would lose a piece of the answer without a word.
            output.state = .failed(.upstreamIncomplete)
            return
        }
        // After the stop there are only counts to come.
        guard !hasStopped || event == .metadata else { return }
        switch event {
        case .messageStart: writer.write(.begin, into: &output)
        case .blockStart: beginBlock(payload, &output)
        case .blockDelta: readDelta(payload, &scratch, &output)
        case .blockStop: writer.write(.blockEnd(block: block(payload)), into: &output)
        case .messageStop:
            hasStopped = true
            let reason = ConverseStopReason.read(bytes("stopReason", of: 0, payload))
            writer.write(.finish(reason), into: &output)
        case .metadata: readMetadata(payload, &output)
        }
    }

    /// Rule S6: an event without an index is one of block 0.
    private func block(_ payload: Span<UInt8>) -> Int {
        guard let index = tape.member("contentBlockIndex", in: payload) else { return 0 }
        return tape.integer(index, in: payload) ?? 0
    }

    private mutating func beginBlock(_ payload: Span<UInt8>, _ output: inout StreamOutput) {
        guard let start = tape.member("start", in: payload),
            let use = tape.member("toolUse", of: start, in: payload), tape.kind(use) != .null
        else {
            // Some models begin text and reasoning blocks too, with nothing in the start.
            return writer.write(.begin, into: &output)
        }
        let type = tape.member("type", of: use, in: payload)
        writer.write(
            .callBegin(
                block: block(payload), id: bytes("toolUseId", of: use, payload),
                name: bytes("name", of: use, payload),
                isHidden: type.map { tape.string($0, equals: "server_tool_use", in: payload) }
                    ?? false),
            into: &output)
    }

    private func bytes(
        _ name: StaticString, of object: Int, _ payload: Span<UInt8>
    ) -> [UInt8] {
        string(name, of: object, payload).map { tape.stringBytes($0, in: payload) } ?? []
    }

    /// The node of a member that is a string.
    private func string(
        _ name: StaticString, of object: Int, _ payload: Span<UInt8>
    ) -> Int? {
        guard let node = tape.member(name, of: object, in: payload), tape.kind(node) == .string
        else { return nil }
        return node
    }

    private mutating func readDelta(
        _ payload: Span<UInt8>, _ scratch: inout [UInt8], _ output: inout StreamOutput
    ) {
        guard let delta = tape.member("delta", in: payload) else {
            return writer.write(.begin, into: &output)
        }
        if let text = string("text", of: delta, payload) {
            writer.write(.text(tape.string(text, in: payload, &scratch)), into: &output)
        } else if let use = tape.member("toolUse", of: delta, in: payload),
            let input = string("input", of: use, payload)
        {
            let fragment = tape.string(input, in: payload, &scratch)
            writer.write(.callInput(block: block(payload), fragment), into: &output)
        } else if let reasoning = tape.member("reasoningContent", of: delta, in: payload),
            tape.kind(reasoning) != .null
        {
            readReasoning(reasoning, payload, &scratch, &output)
        } else {
            // What is not passed on still comes behind the role (rules S2 and S10).
            writer.write(.begin, into: &output)
        }
    }

    private mutating func readReasoning(
        _ reasoning: Int, _ payload: Span<UInt8>, _ scratch: inout [UInt8],
        _ output: inout StreamOutput
    ) {
        let block = block(payload)
        if let node = string("text", of: reasoning, payload) {
            let text = tape.string(node, in: payload, &scratch)
            writer.write(.reasoning(block: block, text), into: &output)
        }
        if let node = string("signature", of: reasoning, payload) {
            let signature = tape.string(node, in: payload, &scratch)
            writer.write(.reasoningSignature(block: block, signature), into: &output)
        }
        if let node = string("redactedContent", of: reasoning, payload) {
            let data = tape.string(node, in: payload, &scratch)
            writer.write(.redactedReasoning(block: block, data), into: &output)
        }
    }

    /// Comes once in a stream: it is read as whole answers' counts are.
    private mutating func readMetadata(_ payload: Span<UInt8>, _ output: inout StreamOutput) {
        guard let root = (try? JSONDocument(payload.array))?.root,
            let usage = root.present("usage").flatMap({ ConverseUsage.read($0) })
        else { return }
        let tier = ConverseUsage.serviceTier(root)
        writer.write(.usage(usage, serviceTier: tier), into: &output)
    }
}
