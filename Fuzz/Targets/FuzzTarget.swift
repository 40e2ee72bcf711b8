/// A reader of foreign bytes and what must hold whatever they are: a breach stops the program.
///
/// `make fuzz` lets libFuzzer look for breaches, `make test` plays `Fuzz/Corpus` again.
public struct FuzzTarget: Sendable {
    /// Its name, and that of its folders in `Fuzz/Corpus` and `Fuzz/Findings`.
    public let name: String
    /// Reads one input.
    public let run: @Sendable ([UInt8]) -> Void

    /// All targets.
    public static let all: [FuzzTarget] = [
        FuzzTarget(name: "http1-request", run: HTTP1Fuzzing.requests),
        FuzzTarget(name: "http1-response", run: HTTP1Fuzzing.responses),
        FuzzTarget(name: "chunked", run: HTTP1Fuzzing.chunks),
        FuzzTarget(name: "http2-server", run: HTTP2Fuzzing.server),
        FuzzTarget(name: "http2-client", run: HTTP2Fuzzing.client),
        FuzzTarget(name: "sse", run: StreamFuzzing.events),
        FuzzTarget(name: "event-stream", run: StreamFuzzing.frames),
        FuzzTarget(name: "inflater", run: StreamFuzzing.inflated),
        FuzzTarget(name: "json-tape", run: JSONFuzzing.tape),
        FuzzTarget(name: "json-editor", run: JSONFuzzing.editor),
        FuzzTarget(name: "json-pattern", run: JSONFuzzing.pattern),
        FuzzTarget(name: "chat-request", run: TranslationFuzzing.chatRequest),
        FuzzTarget(name: "embeddings", run: TranslationFuzzing.embeddings),
        FuzzTarget(name: "converse-answer", run: TranslationFuzzing.converseAnswer),
        FuzzTarget(name: "converse-stream", run: TranslationFuzzing.converseStream),
        FuzzTarget(name: "openai-answer", run: TranslationFuzzing.openAIAnswer),
        FuzzTarget(name: "openai-stream", run: TranslationFuzzing.openAIStream),
        FuzzTarget(name: "yaml", run: GatewayFuzzing.configuration),
        FuzzTarget(name: "configuration-text", run: GatewayFuzzing.configurationText),
        FuzzTarget(name: "journal", run: GatewayFuzzing.journal),
        FuzzTarget(name: "encodings", run: EncodingFuzzing.encodings),
        FuzzTarget(name: "sigv4", run: EncodingFuzzing.signature),
    ]
}

/// Choices that an input makes about how it is used: always the same for the same bytes.
struct Choices {
    private var state: UInt64

    init(_ bytes: [UInt8]) {
        // FNV-1a: any input, even of one byte, makes choices of its own.
        state = bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }

    /// A number below `bound`, which is above zero.
    mutating func next(below bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(bound))
    }

    /// The bytes cut into pieces, mostly small ones.
    mutating func pieces(_ bytes: [UInt8]) -> [[UInt8]] {
        var pieces: [[UInt8]] = []
        var at = 0
        while at < bytes.count {
            let most = next(below: 4) == 0 ? 64 : 3
            let end = min(bytes.count, at + 1 + next(below: most))
            pieces.append(Array(bytes[at..<end]))
            at = end
        }
        return pieces
    }
}
