import Primitives
import TestSupport
import Testing
import Wire

@testable import Translation

/// How streams and their counts end that are not quite as OpenAI's.
@Suite struct OpenAIEndingTests {
    private func play(_ text: String, wantsUsage: Bool = false) throws -> StreamOutput {
        let options = wantsUsage ? #","stream_options":{"include_usage":true}"# : ""
        let body = Array(#"{"model":"m","stream":true\#(options),"messages":[]}"#.utf8)
        var output = StreamOutput()
        let call = OpenAICall.open(try BedrockTarget.request(body), TargetOptions())
        call.begin(
            BedrockTarget.answer([], fields: [("content-type", "text/event-stream")]).head,
            into: &output)
        call.receive(Array(text.utf8).span, into: &output)
        call.end(into: &output)
        return output
    }

    @Test(arguments: ["data: [DONE]", "data: [DONE]\n", "data:[DONE]\r\n", "data: [DONE]\r"])
    func `DONE ends a stream also without a blank line behind it`(_ done: String) throws {
        let output = try play(OpenAIStreamTests.word + OpenAIStreamTests.finish + done)
        #expect(output.state == .finished)
        let text = String(decoding: output.bytes, as: UTF8.self)
        #expect(text.hasPrefix(OpenAIStreamTests.word + OpenAIStreamTests.finish))
        // Whatever the backend left out, the client's reader gets the event.
        var parser = SSEParser()
        parser.receive(output.bytes.span)
        var last: [UInt8] = []
        while try parser.next() { last = parser.data }
        #expect(last == Array("[DONE]".utf8))
    }

    @Test(arguments: [
        "", "data: [DON", "data: {\"choices\":[]", ": [DONE]", "data: [DONE]x", "data: {}\n",
    ])
    func `what else a stream is cut off in stays unfinished`(_ rest: String) throws {
        let whole = OpenAIStreamTests.word + OpenAIStreamTests.finish
        let output = try play(whole + rest)
        #expect(output.state == .failed(OpenAIErrors.incomplete))
        #expect(String(decoding: output.bytes, as: UTF8.self) == whole)
    }

    @Test func `DONE without a blank line is not believed without a finish reason`() throws {
        #expect(
            try play(OpenAIStreamTests.word + "data: [DONE]").state
                == .failed(OpenAIErrors.incomplete))
    }

    @Test(arguments: [#""choices":[],"#, #""choices":null,"#, ""])
    func `a chunk of nothing but usage goes, with choices or without`(_ choices: String) throws {
        let counts = #""usage":{"prompt_tokens":5,"completion_tokens":3}"#
        let usage = #"data: {"id":"i",\#(choices)\#(counts)}"#
        let rest = OpenAIStreamTests.finish + usage + "\n\n" + OpenAIStreamTests.done
        let output = try play(rest)
        #expect(output.usage == TokenUsage(input: 5, output: 3))
        let text = String(decoding: output.bytes, as: UTF8.self)
        #expect(text == OpenAIStreamTests.finish + OpenAIStreamTests.done)
        let asked = try play(rest, wantsUsage: true)
        #expect(String(decoding: asked.bytes, as: UTF8.self) == rest)
    }

    @Test func `reasoning that is counted beside the answer is part of it`() throws {
        // xAI's figures: the total alone tells.
        let details = #""completion_tokens_details":{"reasoning_tokens":94}"#
        let figures = [
            (#""prompt_tokens":32,"completion_tokens":9,"total_tokens":135"#, 103),
            (#""prompt_tokens":32,"completion_tokens":103,"total_tokens":135"#, 103),
            (#""prompt_tokens":32,"completion_tokens":103"#, 103),
        ]
        for (counts, output) in figures {
            let usage = #"data: {"choices":[],"usage":{\#(counts),\#(details)}}"# + "\n\n"
            let tokens = try #require(try play(usage).usage)
            #expect(tokens.input == 32 && tokens.output == output, "\(counts)")
            #expect(tokens.reasoning == 94)
        }
    }

    @Test func `a prompt that is not counted follows from the total`() throws {
        let usage = #"data: {"choices":[],"usage":{"completion_tokens":5,"total_tokens":15}}"#
        #expect(try play(usage + "\n\n").usage == TokenUsage(input: 10, output: 5))
    }
}
