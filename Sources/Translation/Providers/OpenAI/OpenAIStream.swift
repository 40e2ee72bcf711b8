import Primitives
import Wire

/// Passes a stream of chat or text completions on, event by event, and reads what it must know.
///
/// Events go on byte for byte. Only the usage that the client did not ask for is taken out.
struct OpenAIStream {
    private var parser = SSEParser()
    private var chunks: OpenAIChunkReader

    init(wantsUsage: Bool, modelName: String?, mayBeCut: Bool = false) {
        chunks = OpenAIChunkReader(
            wantsUsage: wantsUsage, modelName: modelName, mayBeCut: mayBeCut)
    }

    /// The answer ends here by a limit: chunks in the backend's name say so.
    mutating func cut(
        _ request: ClientRequest, _ usage: TokenUsage, into output: inout StreamOutput
    ) {
        guard case .open = output.state else { return }
        chunks.cut(request, usage, into: &output)
    }

    mutating func receive(_ bytes: Span<UInt8>, into output: inout StreamOutput) {
        guard case .open = output.state else { return }
        parser.receive(bytes)
        do throws(SSEFailure) {
            while try parser.next() {
                chunks.passOn(parser, &output)
                guard case .open = output.state else { return }
            }
        } catch {
            output.state = .failed(OpenAIErrors.malformed("sent an event that is too long"))
        }
    }

    /// The body has ended as HTTP. What is left of an event counts only if it is the terminator:
    /// some servers leave out the blank line behind it.
    mutating func end(into output: inout StreamOutput) {
        guard case .open = output.state else { return }
        parser.receive(Self.blankLine.span)
        if (try? parser.next()) == true, parser.payload().equals("[DONE]") {
            return chunks.passOn(parser, &output)
        }
        output.state = .failed(OpenAIErrors.incomplete)
    }

    private static let blankLine = [UInt8]("\n\n")
}

/// Passes events on. It keeps its memory from one event to the next.
private struct OpenAIChunkReader {
    private var tape = JSONTape()
    private var textChunk = OpenAITextChunk()
    private var hasFinishReason = false
    private let wantsUsage: Bool
    /// The model's name as JSON, where the client's goes into the answer.
    private let modelName: [UInt8]?
    /// What a chunk of our own must repeat; nil where none will be needed.
    private var ending: OpenAIStreamEnding?

    init(wantsUsage: Bool, modelName: String?, mayBeCut: Bool) {
        self.wantsUsage = wantsUsage
        self.modelName = modelName.map { JSONText.string($0) }
        ending = mayBeCut ? OpenAIStreamEnding() : nil
    }

    mutating func cut(
        _ request: ClientRequest, _ usage: TokenUsage, into output: inout StreamOutput
    ) {
        guard let ending else { return }
        ending.append(request, usage, modelName: modelName, to: &output.bytes)
        output.finishReason = "length"
        output.usage = usage
        output.state = .finished
    }

    /// Passes the parser's event on.
    mutating func passOn(_ event: SSEParser, _ output: inout StreamOutput) {
        guard event.hasData else { return output.bytes.append(span: event.raw()) }
        let data = event.payload()
        if textChunk.passOn(event, data, &output) { return }
        if data.starts(with: "[DONE]") {
            // vLLM says so even when its engine has died: only a finish reason makes it true (D8).
            guard hasFinishReason else {
                output.state = .failed(OpenAIErrors.incomplete)
                return
            }
            output.bytes.append(span: event.raw())
            output.state = .finished
            return
        }
        do throws(JSONFailure) {
            try tape.parse(data)
        } catch {
            output.hasBegun = true
            return output.bytes.append(span: event.raw())
        }
        let members = OpenAIMembers(tape, data)
        if let error = members.error, tape.kind(error) != .null {
            output.state = .failed(OpenAIErrors.inStream(data.array, at: tape.range(error)))
            return
        }
        output.hasBegun = true
        ending?.chunkPassed(tape, data)
        read(members, data, &output)
        guard let editor = edits(members, data) else { return }
        textChunk.learn(members, tape, data, editor)
        guard !editor.isEmpty else { return output.bytes.append(span: event.raw()) }
        event.append(to: &output.bytes) { editor.append(data, to: &$0) }
    }

    private mutating func read(
        _ members: OpenAIMembers, _ bytes: Span<UInt8>, _ output: inout StreamOutput
    ) {
        if let tier = members.serviceTier.flatMap({ tape.text($0, in: bytes) }) {
            output.serviceTier = tier
        }
        if let choices = members.choices, tape.kind(choices) == .array {
            var choice = choices + 1
            let end = tape.next(after: choices)
            while choice < end {
                read(OpenAIChoice(tape, choice, bytes), bytes, &output)
                choice = tape.next(after: choice)
            }
        }
        // A chunk's count includes what the chunk says.
        if let usage = members.usage, let tokens = OpenAIUsage.read(usage, tape, bytes) {
            output.usage = tokens
        }
    }

    /// Remembers how a choice ends, and how much it says.
    private mutating func read(
        _ choice: OpenAIChoice, _ bytes: Span<UInt8>, _ output: inout StreamOutput
    ) {
        if let reason = choice.finishReason, tape.kind(reason) == .string,
            tape.range(reason).count > 2
        {
            hasFinishReason = true
            ending?.choiceEnded(choice.index, tape, bytes)
            output.finishReason = tape.text(reason, in: bytes)
        }
        if let delta = choice.delta {
            output.outputBytes += max(0, tape.range(delta).count - OpenAIChoice.deltaSyntax)
        }
        if let text = choice.text {
            output.outputBytes += max(0, tape.range(text).count - OpenAIChoice.textSyntax)
        }
    }

    /// What must change in this chunk; nil when all of it is to be left out.
    private func edits(_ members: OpenAIMembers, _ bytes: Span<UInt8>) -> JSONEditor? {
        var editor = JSONEditor()
        if let modelName, let model = members.model {
            editor.replace(tape.range(model), with: modelName)
        }
        guard !wantsUsage, let usage = members.usage else { return editor }
        let hasChoices = members.choices.map { tape.next(after: $0) > $0 + 1 } ?? false
        if !hasChoices, tape.kind(usage) == .object { return nil }
        editor.removeMember(
            key: tape.range(usage - 1), value: tape.range(usage), ofObjectAt: tape.range(0),
            in: bytes)
        return editor
    }
}

extension SSEParser {
    /// Appends the last event with other data, which is JSON as well. Its other lines stay.
    func append(to bytes: inout [UInt8], _ data: (inout [UInt8]) -> Void) {
        guard let range = rangeOfData else { return appendJoined(to: &bytes, data) }
        let raw = raw()
        bytes.append(span: raw.extracting(0..<range.lowerBound))
        data(&bytes)
        bytes.append(span: raw.extracting(range.upperBound..<raw.count))
    }

    /// Data that came on several lines goes out on one: in JSON their ends are white space.
    private func appendJoined(to bytes: inout [UInt8], _ data: (inout [UInt8]) -> Void) {
        bytes.append("data: ")
        let start = bytes.count
        data(&bytes)
        for index in start..<bytes.count where bytes[index] == 0x0a { bytes[index] = 0x20 }
        bytes.append("\n\n")
    }
}
