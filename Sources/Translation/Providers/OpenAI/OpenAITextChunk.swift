import Primitives
import Wire

/// A chunk of a stream that brought text and nothing else, and what was done with it.
///
/// A chunk that is like the one before but for that text is passed on without being parsed.
struct OpenAITextChunk {
    private var pattern = JSONPattern()
    private var editor = JSONEditor()
    /// What counts as output beside the text.
    private var surplus = 0

    /// Remembers a chunk that has been passed on with these edits, if it is of that kind.
    mutating func learn(
        _ members: OpenAIMembers, _ tape: JSONTape, _ data: Span<UInt8>, _ editor: JSONEditor
    ) {
        pattern.forget()
        guard let choices = members.choices, tape.kind(choices) == .array,
            tape.next(after: choices) > choices + 1,
            tape.next(after: choices + 1) == tape.next(after: choices),
            members.usage.map({ tape.kind($0) == .null }) ?? true
        else { return }
        let choice = OpenAIChoice(tape, choices + 1, data)
        guard choice.finishReason.map({ tape.kind($0) == .null }) ?? true,
            let said = choice.delta ?? choice.text, choice.delta == nil || choice.text == nil,
            let text = Self.text(of: said, tape, data)
        else { return }
        // OpenAI's own chunks end with a string that hides how long the text is.
        let padding = members.obfuscation.flatMap { node in
            tape.kind(node) == .string && node > text ? node : nil
        }
        pattern.learn(data, tape, first: text, second: padding)
        self.editor = editor
        let syntax = choice.delta == nil ? OpenAIChoice.textSyntax : OpenAIChoice.deltaSyntax
        surplus = tape.range(said).count - (tape.range(text).count - 2) - syntax
    }

    /// Passes an event on whose chunk is like the last one. False: it is not.
    func passOn(_ event: SSEParser, _ data: Span<UInt8>, _ output: inout StreamOutput) -> Bool {
        guard let match = pattern.match(data) else { return false }
        output.outputBytes += max(0, match.content.count + surplus)
        if editor.isEmpty {
            output.bytes.append(span: event.raw())
        } else {
            event.append(to: &output.bytes) { editor.append(data, as: match, to: &$0) }
        }
        return true
    }

    /// The string that will be another in the next chunk: a choice's text, or what its delta says.
    private static func text(of said: Int, _ tape: JSONTape, _ data: Span<UInt8>) -> Int? {
        let last = tape.next(after: said) - 1
        if tape.kind(last) == .string { return last }
        var text: Int?
        tape.forEachMember(of: said, in: data) { _, value in
            if tape.kind(value) == .string { text = value }
        }
        return text
    }
}
