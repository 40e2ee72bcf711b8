import Primitives
import Wire

/// Passes a stream of chat or text completions on, event by event, and reads what it must know.
///
/// Events go on byte for byte. Only the usage that the client did not ask for is taken out.
struct OpenAIStream {
    private var parser = SSEParser()
    private var tape = JSONTape()
    private var hasFinishReason = false
    private let wantsUsage: Bool
    private let modelName: String?
    /// What a chunk of our own must repeat; nil where none will be needed.
    private var ending: OpenAIStreamEnding?

    init(wantsUsage: Bool, modelName: String?, mayBeCut: Bool = false) {
        self.wantsUsage = wantsUsage
        self.modelName = modelName
        ending = mayBeCut ? OpenAIStreamEnding() : nil
    }

    /// The answer ends here by a limit: chunks in the backend's name say so.
    mutating func cut(
        _ request: ClientRequest, _ usage: TokenUsage, into output: inout StreamOutput
    ) {
        guard case .open = output.state, let ending else { return }
        ending.append(request, usage, modelName: modelName, to: &output.bytes)
        output.finishReason = "length"
        output.usage = usage
        output.state = .finished
    }

    mutating func receive(_ bytes: Span<UInt8>, into output: inout StreamOutput) {
        guard case .open = output.state else { return }
        parser.receive(bytes)
        do throws(SSEFailure) {
            while try parser.next() {
                passOn(&output)
                guard case .open = output.state else { return }
            }
        } catch {
            output.state = .failed(OpenAIErrors.malformed("sent an event that is too long"))
        }
    }

    private mutating func passOn(_ output: inout StreamOutput) {
        guard parser.hasData else { return output.bytes.append(span: parser.raw()) }
        if parser.data.span.starts(with: "[DONE]") {
            // vLLM says so even when its engine has died: only a finish reason makes it true (D8).
            guard hasFinishReason else {
                output.state = .failed(OpenAIErrors.incomplete)
                return
            }
            output.bytes.append(span: parser.raw())
            output.state = .finished
            return
        }
        let data = parser.data
        do throws(JSONFailure) {
            try tape.parse(data.span)
        } catch {
            output.hasBegun = true
            return output.bytes.append(span: parser.raw())
        }
        if let error = tape.member("error", in: data.span), tape.kind(error) != .null {
            output.state = .failed(OpenAIErrors.inStream(data, at: tape.range(error)))
            return
        }
        output.hasBegun = true
        ending?.chunkPassed(tape, data.span)
        readChoices(&output)
        let editor = edits(&output)
        guard let editor else { return }
        guard !editor.isEmpty else { return output.bytes.append(span: parser.raw()) }
        output.bytes.append("data: ")
        editor.append(data.span, to: &output.bytes)
        output.bytes.append("\n\n")
    }

    /// Remembers how the choices end, and how much they say.
    private mutating func readChoices(_ output: inout StreamOutput) {
        let data = parser.data
        let bytes = data.span
        if let tier = tape.member("service_tier", in: bytes), tape.kind(tier) == .string {
            output.serviceTier = String(
                decoding: tape.stringBytes(tier, in: bytes), as: UTF8.self)
        }
        guard let choices = tape.member("choices", in: bytes), tape.kind(choices) == .array else {
            return
        }
        var choice = choices + 1
        while choice < tape.next(after: choices) {
            if let reason = tape.member("finish_reason", of: choice, in: bytes),
                tape.kind(reason) == .string, tape.range(reason).count > 2
            {
                hasFinishReason = true
                ending?.choiceEnded(tape.member("index", of: choice, in: bytes), tape, bytes)
                output.finishReason = String(
                    decoding: tape.stringBytes(reason, in: bytes), as: UTF8.self)
            }
            for name in ["delta", "text"] as [StaticString] {
                // What a delta holds beside the text is syntax of about this length.
                guard let said = tape.member(name, of: choice, in: bytes) else { continue }
                output.outputBytes += max(0, tape.range(said).count - (name.utf8CodeUnitCount + 9))
            }
            choice = tape.next(after: choice)
        }
    }

    /// What must change in this chunk; nil when all of it is to be left out.
    private func edits(_ output: inout StreamOutput) -> JSONEditor? {
        let data = parser.data
        let bytes = data.span
        var editor = JSONEditor()
        if let modelName, let model = tape.member("model", in: bytes) {
            editor.replace(tape.range(model), with: JSONText.string(modelName))
        }
        guard let usage = tape.member("usage", in: bytes) else { return editor }
        if let tokens = OpenAIUsage.read(usage, tape, bytes) { output.usage = tokens }
        guard !wantsUsage else { return editor }
        if let choices = tape.member("choices", in: bytes),
            tape.next(after: choices) == choices + 1, tape.kind(usage) == .object
        {
            return nil
        }
        editor.removeMember(
            key: tape.range(usage - 1), value: tape.range(usage), ofObjectAt: tape.range(0),
            in: bytes)
        return editor
    }
}
