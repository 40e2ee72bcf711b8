import Primitives
import Wire

/// Reads a Converse answer into the canonical one (rules R2 to R8).
enum ConverseAnswerReader {
    /// - Throws: 502 when there is no message in it.
    static func read(_ root: JSONValue) throws(APIError) -> (ChatAnswer, stopReason: [UInt8]) {
        guard let message = root["output"]?["message"], message.kind == .object else {
            throw OpenAIErrors.malformed("answered without a message")
        }
        var answer = ChatAnswer()
        var counter = CharacterCounter()
        for block in message["content"]?.elements ?? root.elements {
            try read(block, into: &answer, &counter)
        }
        let stopReason = root["stopReason"]?.stringBytes ?? []
        answer.stopReason = ConverseStopReason.read(stopReason)
        answer.usage = root.present("usage").flatMap { ConverseUsage.read($0) }
        answer.serviceTier = ConverseUsage.serviceTier(root)
        return (answer, stopReason)
    }

    private static func read(
        _ block: JSONValue, into answer: inout ChatAnswer, _ counter: inout CharacterCounter
    ) throws(APIError) {
        if let text = block["text"]?.stringBytes {
            append(text, to: &answer.text)
        } else if let use = block.present("toolUse") {
            guard use["type"]?.equals("server_tool_use") != true else { return }
            // Each is looked up among the request's tools.
            guard answer.calls.count < Limits.chatToolCalls else {
                throw OpenAIErrors.malformed("made more than \(Limits.chatToolCalls) tool calls")
            }
            answer.calls.append(
                ChatAnswer.Call(
                    id: use["toolUseId"]?.stringBytes ?? [], name: use["name"]?.stringBytes ?? [],
                    input: use.present("input").map(PlainJSON.text) ?? [UInt8]("{}")))
        } else if let reasoning = block.present("reasoningContent") {
            read(reasoning: reasoning, into: &answer)
        } else if let cited = block.present("citationsContent") {
            read(cited: cited, into: &answer, &counter)
        }
    }

    /// In place: an answer may come in any number of pieces.
    private static func append(_ piece: [UInt8], to text: inout [UInt8]?) {
        guard text != nil else { return text = piece }
        text?.append(contentsOf: piece)
    }

    private static func read(reasoning: JSONValue, into answer: inout ChatAnswer) {
        if let data = reasoning["redactedContent"]?.stringBytes {
            answer.thinking.append(.redacted(data))
            return
        }
        guard let block = reasoning["reasoningText"], let text = block["text"]?.stringBytes else {
            return
        }
        answer.reasoning += text
        if let signature = block.present("signature")?.stringBytes, !signature.isEmpty {
            answer.thinking.append(.signed(text: text, signature: signature))
        }
    }

    /// Rule R5: indexes count characters of the whole content.
    private static func read(
        cited: JSONValue, into answer: inout ChatAnswer, _ counter: inout CharacterCounter
    ) {
        let start = counter.count(answer.text)
        for part in cited["content"]?.elements ?? cited.elements {
            if let text = part["text"]?.stringBytes { append(text, to: &answer.text) }
        }
        let end = counter.count(answer.text)
        for citation in cited["citations"]?.elements ?? cited.elements {
            guard let url = citation["location"]?["web"]?["url"]?.stringBytes else { continue }
            let title = citation.present("title")?.stringBytes ?? []
            answer.citations.append(
                ChatAnswer.Citation(
                    start: start, end: end, title: title.isEmpty ? url : title, url: url))
        }
    }
}

/// Counts the characters of a text that grows, as Python does: Unicode scalars. Each byte is looked
/// at once.
private struct CharacterCounter {
    private var bytes = 0
    private var characters = 0

    mutating func count(_ text: [UInt8]?) -> Int {
        guard let text else { return 0 }
        characters += text[bytes...].count { $0 & 0xc0 != 0x80 }
        bytes = text.count
        return characters
    }
}

/// Bedrock's stop reasons (rule R6).
enum ConverseStopReason {
    static func read(_ reason: [UInt8]) -> ChatStopReason {
        switch String(decoding: reason, as: UTF8.self) {
        case "end_turn", "stop_sequence": .endOfTurn
        case "max_tokens", "model_context_window_exceeded": .lengthLimit
        case "tool_use": .toolUse
        case "guardrail_intervened", "content_filtered": .filtered
        case "malformed_model_output", "malformed_tool_use": .malformedOutput
        default: .other
        }
    }
}

/// Bedrock counts cached tokens beside its input tokens; OpenAI, and we, within (rule R7).
enum ConverseUsage {
    static func read(_ usage: JSONValue) -> TokenUsage? {
        guard let input = usage["inputTokens"]?.int, let output = usage["outputTokens"]?.int else {
            return nil
        }
        let read = usage.present("cacheReadInputTokens")?.int
        let written = usage.present("cacheWriteInputTokens")?.int
        var tokens = TokenUsage()
        tokens.cacheRead = TokenUsage.count(read)
        tokens.cacheWrite = TokenUsage.count(written)
        tokens.input = TokenUsage.count(input) + tokens.cacheRead + tokens.cacheWrite
        tokens.output = TokenUsage.count(output)
        tokens.hasCacheCounts = read != nil || written != nil
        for detail in usage["cacheDetails"]?.elements ?? usage.elements
        where detail["ttl"]?.equals("1h") == true {
            tokens.cacheWriteOneHour += TokenUsage.count(detail["inputTokens"]?.int)
        }
        return tokens
    }

    /// Rule R8.
    static func serviceTier(_ root: JSONValue) -> String? {
        guard let tier = root["serviceTier"]?["type"]?.string,
            ["default", "flex", "priority"].contains(tier)
        else { return nil }
        return tier
    }
}
