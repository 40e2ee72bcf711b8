import Wire

/// Reasoning that comes back from the client (rule A24).
struct ReasoningReader {
    let profile: ModelProfile
    private(set) var blocks: [ChatBlock] = []
    private var hasThinkingBlocks = false

    init(profile: ModelProfile) { self.profile = profile }

    /// `thinking_blocks` come before parts of the content.
    mutating func readBlocks(_ message: JSONValue) {
        guard let list = message.present("thinking_blocks") else { return }
        hasThinkingBlocks = list.count > 0
        for block in list.elements { read(block) }
    }

    mutating func readPart(_ part: JSONValue) {
        if !hasThinkingBlocks { read(part) }
    }

    private mutating func read(_ block: JSONValue) {
        guard profile.family == .anthropic else { return }
        if block["type"]?.equals("redacted_thinking") == true {
            let data = block.present("data") ?? block.present("redactedContent")
            if let data = data?.stringBytes, !data.isEmpty {
                blocks.append(.redactedReasoning(data))
            }
            return
        }
        // Claude refuses what it has not signed.
        guard let signature = block.present("signature")?.stringBytes, !signature.isEmpty,
            let text = (block.present("thinking") ?? block.present("text"))?.stringBytes
        else { return }
        blocks.append(.reasoning(text: text, signature: signature))
    }
}
