import Primitives
import TestSupport
import Testing
import Wire

@testable import Translation

/// Chunks that are like the one before are not parsed: what becomes of them must be what becomes of
/// each alone.
@Suite struct OpenAITextChunkTests {
    private static let texts = [
        "Hi", "", " there", #"\n\n\"quoted\" \u00e9\ud83d\ude00"#, "é👋", "a longer piece of text",
        #"}],"usage":{"#.replacing("\"", with: "\\\""), "x",
    ]

    /// Streams whose chunks differ in a text, and in what hides its length.
    private static let streams: [@Sendable (String, Int) -> String] = [
        { text, _ in #"{"id":"1","choices":[{"index":0,"delta":{"content":"\#(text)"}}]}"# },
        { text, _ in
            #"{"choices":[{"delta":{"content":"\#(text)","refusal":null},"finish_reason":null}],"#
                + #""model":"b","usage":null}"#
        },
        { text, number in
            #"{"model":"b","usage":null,"choices":[{"delta":{"content":"\#(text)"}}],"#
                + #""obfuscation":"\#(String(repeating: "x", count: number))"}"#
        },
        { text, number in
            #"{"obfuscation":"\#(number)","choices":[{"delta":{"content":"\#(text)"}}]}"#
        },
        { text, _ in #"{"choices":[{"index":0,"text":"\#(text)","logprobs":null}]}"# },
        { text, _ in
            #"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\#(text)"}}]}"#
                + #"}]}"#
        },
        { text, number in
            #"{"choices":[{"index":\#(number % 2),"delta":{"content":"\#(text)"}}]}"#
        },
        { text, number in
            #"{"choices":[{"delta":{"content":"\#(text)"},"#
                + #""finish_reason":\#(number == 4 ? #""stop""# : "null")}]}"#
        },
        { text, number in
            #"{"choices":[{"delta":{"content":"\#(text)"}}],"usage":"#
                + (number > 3 ? #"{"prompt_tokens":3,"completion_tokens":\#(number)}}"# : "null}")
        },
        { text, number in
            #"{"choices":[{"delta":{"content":"\#(text)"}}],"service_tier":"\#(number / 3)"}"#
        },
        { text, number in number == 3 ? "{" : #"{"choices":[{"delta":{"content":"\#(text)"}}]}"# },
        { text, number in #"{"choices":[],"x":"\#(text)","y":\#(number)}"# },
        { text, _ in #"{"choices":[{"delta":"\#(text)"},{"delta":{"content":"\#(text)"}}]}"# },
    ]

    @Test(
        arguments: streams.indices, [(false, nil), (true, nil), (false, "asked"), (true, "asked")])
    func `what is alike is passed on as what is not`(
        _ stream: Int, _ options: (wantsUsage: Bool, modelName: String?)
    ) {
        let events = Self.texts.enumerated().map { number, text in
            "event: e\ndata: " + Self.streams[stream](text, number) + "\n\n"
        }
        func play(_ pieces: [[UInt8]]) -> StreamOutput {
            var stream = OpenAIStream(wantsUsage: options.wantsUsage, modelName: options.modelName)
            var output = StreamOutput()
            for piece in pieces { stream.receive(piece.span, into: &output) }
            return output
        }
        let alone = events.map { play([Array($0.utf8)]) }
        for pieces in cuts(Array(events.joined().utf8)) {
            let together = play(pieces)
            #expect(together.bytes == alone.flatMap(\.bytes))
            #expect(together.outputBytes == alone.reduce(0) { $0 + $1.outputBytes })
            #expect(together.usage == alone.compactMap(\.usage).last)
            #expect(together.finishReason == alone.compactMap(\.finishReason).last)
            #expect(together.serviceTier == alone.compactMap(\.serviceTier).last)
            #expect(together.state == .open)
        }
    }
}
