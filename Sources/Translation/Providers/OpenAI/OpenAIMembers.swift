import Primitives
import Wire

/// Where the members of an answer, or of a chunk of a stream, lie that are looked at: the first of
/// each name.
struct OpenAIMembers {
    private(set) var error: Int?
    private(set) var choices: Int?
    private(set) var usage: Int?
    private(set) var model: Int?
    private(set) var serviceTier: Int?
    private(set) var obfuscation: Int?

    init(_ tape: JSONTape, _ bytes: Span<UInt8>) {
        tape.forEachMember(in: bytes) { name, value in
            if name.equals("choices") {
                choices = choices ?? value
            } else if name.equals("model") {
                model = model ?? value
            } else if name.equals("usage") {
                usage = usage ?? value
            } else if name.equals("error") {
                error = error ?? value
            } else if name.equals("service_tier") {
                serviceTier = serviceTier ?? value
            } else if name.equals("obfuscation") {
                obfuscation = obfuscation ?? value
            }
        }
    }
}

/// The same for one choice.
struct OpenAIChoice {
    private(set) var index: Int?
    private(set) var delta: Int?
    private(set) var text: Int?
    private(set) var finishReason: Int?

    /// What a delta, or a text, holds beside what it says: syntax of about the length of its name
    /// and 9.
    static let deltaSyntax = 14
    static let textSyntax = 13

    init(_ tape: JSONTape, _ choice: Int, _ bytes: Span<UInt8>) {
        tape.forEachMember(of: choice, in: bytes) { name, value in
            if name.equals("delta") {
                delta = delta ?? value
            } else if name.equals("index") {
                index = index ?? value
            } else if name.equals("finish_reason") {
                finishReason = finishReason ?? value
            } else if name.equals("text") {
                text = text ?? value
            }
        }
    }
}

/// The `usage` object of OpenAI-shaped answers.
enum OpenAIUsage {
    /// The tokens; nil when it holds no counts (rule F3: details may be null or missing).
    static func read(_ usage: Int, _ tape: JSONTape, _ bytes: Span<UInt8>) -> TokenUsage? {
        var (prompt, total, completion): (Int?, Int?, Int?)
        var (promptDetails, completionDetails): (Int?, Int?)
        tape.forEachMember(of: usage, in: bytes) { name, value in
            if name.equals("prompt_tokens") {
                prompt = prompt ?? value
            } else if name.equals("total_tokens") {
                total = total ?? value
            } else if name.equals("completion_tokens") {
                completion = completion ?? value
            } else if name.equals("prompt_tokens_details") {
                promptDetails = promptDetails ?? value
            } else if name.equals("completion_tokens_details") {
                completionDetails = completionDetails ?? value
            }
        }
        func count(_ node: Int?) -> Int? { node.flatMap { tape.integer($0, in: bytes) } }
        let sum = count(total).map { TokenUsage.count($0) }
        guard let known = count(prompt) ?? sum else { return nil }
        var tokens = TokenUsage()
        tokens.output = TokenUsage.count(count(completion))
        tokens.input = TokenUsage.count(count(prompt) ?? known - tokens.output)
        if let promptDetails { read(prompt: promptDetails, tape, bytes, into: &tokens) }
        if let completionDetails { read(completion: completionDetails, tape, bytes, into: &tokens) }
        // xAI counts reasoning beside the completion; only the total tells.
        if sum == tokens.input + tokens.output + tokens.reasoning {
            tokens.output += tokens.reasoning
        }
        return tokens
    }

    private static func read(
        prompt details: Int, _ tape: JSONTape, _ bytes: Span<UInt8>, into tokens: inout TokenUsage
    ) {
        var (cached, written, audio): (Int?, Int?, Int?)
        tape.forEachMember(of: details, in: bytes) { name, value in
            if name.equals("cached_tokens") {
                cached = cached ?? value
            } else if name.equals("cache_write_tokens") {
                // vLLM's created_cache_tokens are no charge of their own: only OpenAI's counts.
                written = written ?? value
            } else if name.equals("audio_tokens") {
                audio = audio ?? value
            }
        }
        tokens.cacheRead = count(cached, tape, bytes)
        tokens.cacheWrite = count(written, tape, bytes)
        tokens.audioInput = count(audio, tape, bytes)
    }

    private static func read(
        completion details: Int, _ tape: JSONTape, _ bytes: Span<UInt8>,
        into tokens: inout TokenUsage
    ) {
        var (reasoning, audio): (Int?, Int?)
        tape.forEachMember(of: details, in: bytes) { name, value in
            if name.equals("reasoning_tokens") {
                reasoning = reasoning ?? value
            } else if name.equals("audio_tokens") {
                audio = audio ?? value
            }
        }
        tokens.reasoning = count(reasoning, tape, bytes)
        tokens.audioOutput = count(audio, tape, bytes)
    }

    private static func count(_ node: Int?, _ tape: JSONTape, _ bytes: Span<UInt8>) -> Int {
        TokenUsage.count(node.flatMap { tape.integer($0, in: bytes) })
    }
}
