import Primitives
import Wire

/// Turns OpenAI's messages into alternating turns (rules A7 to A26).
struct MessageReader {
    /// A user turn while it is being put together: results stand before everything else (rule A19).
    private struct OpenTurn {
        let role: ChatTurn.Role
        var results: [ChatBlock] = []
        var blocks: [ChatBlock] = []
    }

    let profile: ModelProfile
    var parts: PartReader
    var names = ToolNames()
    /// Text blocks and cache points of system and developer messages.
    var system: [ChatBlock] = []
    /// Names of tools that the history calls, in order of first use.
    private(set) var usedTools: [[UInt8]] = []
    private var knownTools: Set<[UInt8]> = []
    private var turns: [OpenTurn] = []
    private var calls = OpenCalls()
    private var legacyCount = 0

    init(profile: ModelProfile, target: TargetOptions) {
        self.profile = profile
        parts = PartReader(allowsS3: target.allowsS3)
    }

    mutating func read(_ messages: JSONValue) throws(APIError) {
        var count = 0
        for (index, message) in messages.elements.enumerated() {
            count = index + 1
            let path = MessagePath(message: index)
            guard message.kind == .object, let role = message.present("role")?.string else {
                throw RequestFields.invalid("\(path).role", "A message needs a role.")
            }
            switch role {
            case "system", "developer": try readSystem(message, path)
            case "user":
                try checkAnswered(path)
                try readUser(message, path)
            case "assistant":
                try checkAnswered(path)
                try readAssistant(message, path)
            case "tool", "function": try readResult(message, path, isLegacy: role == "function")
            default:
                throw RequestFields.invalid("\(path).role", "There is no role '\(role)'.")
            }
        }
        try checkAnswered(MessagePath(message: count))
    }

    /// The turns, alternating and complete (rules A9 to A11, A17 and A19).
    mutating func finish() -> [ChatTurn] {
        var finished: [ChatTurn] = []
        if turns.first?.role != .user {
            finished.append(ChatTurn(role: .user, blocks: [.text([UInt8]("Continue."))]))
        }
        for turn in turns {
            var blocks = turn.blocks
            let results = turn.results.map(Self.filled)
            if blocks.contains(where: { $0.isDocument }), !blocks.contains(where: { $0.isText }) {
                blocks.append(.text([UInt8]("See the attached document.")))
            }
            let isMixed = !results.isEmpty && !blocks.isEmpty
            guard isMixed, !profile.hasMixedToolResultTurn else {
                finished.append(ChatTurn(role: turn.role, blocks: results + blocks))
                continue
            }
            finished.append(ChatTurn(role: .user, blocks: results))
            finished.append(ChatTurn(role: .assistant, blocks: [.text([UInt8]("Understood."))]))
            finished.append(ChatTurn(role: .user, blocks: blocks))
        }
        trimPrefill(&finished)
        return finished
    }

    /// Rule A22: a result must hold something.
    private static func filled(_ block: ChatBlock) -> ChatBlock {
        guard case .toolResult(let id, let content, let isError) = block, content.isEmpty else {
            return block
        }
        return .toolResult(id: id, content: [.text([UInt8]("(empty)"))], isError: isError)
    }

    /// Rule A11: Claude refuses a prefill that ends in white space, also in front of a cache point.
    private func trimPrefill(_ turns: inout [ChatTurn]) {
        guard let last = turns.last, last.role == .assistant,
            let index = last.blocks.lastIndex(where: { !$0.isCachePoint }),
            case .text(let text) = last.blocks[index]
        else { return }
        var scalars = String(decoding: text, as: UTF8.self).unicodeScalars
        while scalars.last?.properties.isWhitespace == true { scalars.removeLast() }
        turns[turns.count - 1].blocks[index] = .text(Array(String(scalars).utf8))
    }

    // MARK: - Roles

    /// Rule A7.
    private mutating func readSystem(_ message: JSONValue, _ path: MessagePath) throws(APIError) {
        var blocks: [ChatBlock] = []
        if let text = message["content"]?.stringBytes {
            if !text.isBlank { blocks.append(.text(text)) }
        } else {
            for (index, part) in try contentParts(message, path).enumerated() {
                let place = path.part(index)
                guard part["type"]?.equals("text") == true else {
                    throw RequestFields.invalid(
                        "\(place).type", "Only text is allowed in a system message.")
                }
                try parts.appendText(part, place, to: &blocks)
            }
        }
        appendMarker(of: message, to: &blocks)
        system += blocks
    }

    private mutating func readUser(_ message: JSONValue, _ path: MessagePath) throws(APIError) {
        var blocks: [ChatBlock] = []
        if let text = message["content"]?.stringBytes {
            if !text.isBlank { blocks.append(.text(text)) }
        } else {
            for (index, part) in try contentParts(message, path).enumerated() {
                try parts.append(part, path.part(index), to: &blocks)
            }
        }
        appendMarker(of: message, to: &blocks)
        append(blocks, role: .user)
        calls.removeAll()
    }

    /// Rules A13, A23 to A25b.
    private mutating func readAssistant(_ message: JSONValue, _ path: MessagePath) throws(APIError)
    {
        var reasoning = ReasoningReader(profile: profile)
        reasoning.readBlocks(message)
        var blocks = try readAssistantText(message, path, &reasoning)
        calls.removeAll()
        try readCalls(message, path, &blocks)
        blocks = reasoning.blocks + blocks
        appendMarker(of: message, to: &blocks)
        append(blocks, role: .assistant)
    }

    private mutating func readAssistantText(
        _ message: JSONValue, _ path: MessagePath, _ reasoning: inout ReasoningReader
    ) throws(APIError) -> [ChatBlock] {
        var blocks: [ChatBlock] = []
        if let text = message["content"]?.stringBytes {
            if !text.isBlank { blocks.append(.text(text)) }
        } else {
            for (index, part) in try contentParts(message, path).enumerated() {
                let place = path.part(index)
                switch part["type"]?.string {
                case "text": try parts.appendText(part, place, to: &blocks)
                case "refusal":
                    if let text = part["refusal"]?.stringBytes, !text.isBlank {
                        blocks.append(.text(text))
                    }
                case "thinking", "redacted_thinking": reasoning.readPart(part)
                default:
                    throw RequestFields.invalid(
                        "\(place).type", "This part is not allowed in an assistant message.")
                }
            }
        }
        if !blocks.contains(where: { $0.isText }),
            let refusal = message.present("refusal")?.stringBytes, !refusal.isBlank
        {
            blocks.append(.text(refusal))
        }
        return blocks
    }

    private mutating func readCalls(
        _ message: JSONValue, _ path: MessagePath, _ blocks: inout [ChatBlock]
    ) throws(APIError) {
        if let call = message.present("function_call") {
            legacyCount += 1
            var id = [UInt8]("fc_")
            id.append(decimal: legacyCount)
            guard let given = call.present("name")?.stringBytes, !given.isEmpty else {
                throw .badRequest(
                    "missing_required_parameter", param: "\(path).function_call.name",
                    "A function call needs a name.")
            }
            let name = names.sent(for: given)
            noteUse(of: name)
            calls.add(id, isLegacy: true)
            blocks.append(
                .toolUse(id: id, name: name, input: ToolArguments.object(call["arguments"])))
        }
        guard let toolCalls = message.present("tool_calls") else { return }
        guard toolCalls.kind == .array else {
            throw RequestFields.wrongType("\(path).tool_calls", "a list")
        }
        for (index, call) in toolCalls.elements.enumerated() {
            guard index < Limits.chatToolCalls else {
                throw RequestFields.invalid(
                    "\(path).tool_calls",
                    "A message may have at most \(Limits.chatToolCalls) tool calls.")
            }
            guard let given = call.present("id")?.stringBytes, !given.isEmpty else {
                throw .badRequest(
                    "missing_required_parameter", param: "\(path).tool_calls[\(index)].id",
                    "A tool call needs an id.")
            }
            let id = NameAlphabet.toolCallID.fit(given)
            if calls.place(of: id) != nil { continue }
            let custom = call["type"]?.equals("custom") == true ? call.present("custom") : nil
            let function = custom ?? call.present("function")
            guard let name = function?.present("name")?.stringBytes, !name.isEmpty else {
                throw .badRequest(
                    "missing_required_parameter",
                    param: "\(path).tool_calls[\(index)].function.name",
                    "A tool call needs a name.")
            }
            let sent = names.sent(for: name)
            noteUse(of: sent)
            calls.add(id, isLegacy: false)
            let input =
                custom.map { ToolArguments.wrapped("input", $0["input"]?.stringBytes ?? []) }
                ?? ToolArguments.object(function?["arguments"])
            blocks.append(.toolUse(id: id, name: sent, input: input))
        }
    }

    /// Rules A20 to A22 and A25.
    private mutating func readResult(
        _ message: JSONValue, _ path: MessagePath, isLegacy: Bool
    ) throws(APIError) {
        let index = try openCall(for: message, path, isLegacy: isLegacy)
        var content = try readResultContent(message, path)
        var marker = CacheMarker.read(message)
        for case .cachePoint(let lifetime) in content where marker == nil {
            marker = .some(lifetime)
        }
        content.removeAll { $0.isCachePoint }
        let isError = message.present("is_error")?.bool == true
        if let known = calls.list[index].resultIndex {
            return extend(resultAt: known, with: content, isError: isError, marker: marker)
        }
        if turns.last?.role != .user { turns.append(OpenTurn(role: .user)) }
        calls.list[index].resultIndex = turns[turns.count - 1].results.count
        turns[turns.count - 1].results.append(
            .toolResult(id: calls.list[index].id, content: content, isError: isError))
        if let marker { turns[turns.count - 1].results.append(.cachePoint(lifetime: marker)) }
    }

    private mutating func readResultContent(
        _ message: JSONValue, _ path: MessagePath
    ) throws(APIError) -> [ChatBlock] {
        if let text = message["content"]?.stringBytes { return text.isBlank ? [] : [.text(text)] }
        var content: [ChatBlock] = []
        for (index, part) in try contentParts(message, path).enumerated() {
            let place = path.part(index)
            // A tool result of Converse has no room for audio (bedrock-api.md section 2.2).
            guard part["type"]?.equals("input_audio") != true else {
                throw RequestFields.invalid(
                    "\(place).type", "Audio is not allowed in a tool message.")
            }
            try parts.append(part, place, to: &content)
        }
        return content
    }

    private func openCall(
        for message: JSONValue, _ path: MessagePath, isLegacy: Bool
    ) throws(APIError) -> Int {
        if isLegacy {
            let index = calls.list.lastIndex { $0.isLegacy && $0.resultIndex == nil }
            guard let index else {
                throw RequestFields.invalid(
                    "\(path).role", "This function message answers no call.")
            }
            return index
        }
        let given = message.present("tool_call_id")?.stringBytes
        let id = given.map { NameAlphabet.toolCallID.fit($0) }
        if let index = id.flatMap({ calls.place(of: $0) }) { return index }
        guard calls.list.contains(where: { $0.resultIndex == nil }) else {
            throw RequestFields.invalid("\(path).role", "This tool message answers no call.")
        }
        throw RequestFields.invalid(
            "\(path).tool_call_id", "There is no call with this id to answer.")
    }

    /// Rule A21: another message for an answered call adds to its result.
    private mutating func extend(
        resultAt index: Int, with content: [ChatBlock], isError: Bool, marker: String??
    ) {
        guard let turn = turns.indices.last,
            case .toolResult(let id, var whole, let wasError) = turns[turn].results[index]
        else { return }
        // Kept twice, it would be copied for each message that adds to it.
        turns[turn].results[index] = .cachePoint(lifetime: nil)
        whole += content
        turns[turn].results[index] = .toolResult(
            id: id, content: whole, isError: wasError || isError)
        let next = index + 1
        let isMarked = next < turns[turn].results.count && turns[turn].results[next].isCachePoint
        guard let marker, !isMarked else { return }
        turns[turn].results.insert(.cachePoint(lifetime: marker), at: next)
        for call in calls.list.indices {
            if let result = calls.list[call].resultIndex, result > index {
                calls.list[call].resultIndex = result + 1
            }
        }
    }

    /// Rule A20: each call must be answered before the conversation goes on.
    private func checkAnswered(_ path: MessagePath) throws(APIError) {
        guard calls.list.allSatisfy({ $0.resultIndex != nil }) else {
            throw RequestFields.invalid(
                "\(path)", "A tool call of the assistant message before has no answer.")
        }
    }

    // MARK: - Content

    /// The parts of a message whose content is no string; none for null.
    private func contentParts(
        _ message: JSONValue, _ path: MessagePath
    ) throws(APIError) -> [JSONValue] {
        guard let content = message.present("content") else { return [] }
        guard content.kind == .array else {
            throw RequestFields.wrongType("\(path).content", "a string or a list of parts")
        }
        return Array(content.elements)
    }

    // MARK: - Turns

    /// Rule A9: adjacent messages of a role share a turn; empty ones disappear (rule A8).
    private mutating func append(_ blocks: [ChatBlock], role: ChatTurn.Role) {
        guard !blocks.isEmpty else { return }
        if turns.last?.role != role { turns.append(OpenTurn(role: role)) }
        turns[turns.count - 1].blocks += blocks
    }

    private func appendMarker(of message: JSONValue, to blocks: inout [ChatBlock]) {
        guard !blocks.isEmpty, let lifetime = CacheMarker.read(message) else { return }
        blocks.append(.cachePoint(lifetime: lifetime))
    }

    private mutating func noteUse(of name: [UInt8]) {
        if knownTools.insert(name).inserted { usedTools.append(name) }
    }
}
