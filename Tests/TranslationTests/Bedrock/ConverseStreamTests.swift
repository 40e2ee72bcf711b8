import Primitives
import Testing
import Wire

@testable import Translation

@Suite struct ConverseStreamTests {
    private static let user = #""stream":true,"messages":[{"role":"user","content":"q"}]"#
    private static let role = #"{"role":"assistant","content":""}"#
    private static let stop = #"{"messageStop":{"stopReason":"end_turn"}}"#

    private func play(_ events: String, request: String = user) throws -> StreamRun {
        StreamRun(try BedrockTarget.chat(request), try StreamRun.frames("[\(events)]"))
    }

    private func start(_ block: Int, _ name: String, _ rest: String = "") -> String {
        #"{"contentBlockStart":{"contentBlockIndex":\#(block),"start":{"toolUse":"#
            + #"{"toolUseId":"t\#(block)","name":"\#(name)"\#(rest)}}}},"#
    }

    private func delta(_ block: Int, _ delta: String) -> String {
        #"{"contentBlockDelta":{"contentBlockIndex":\#(block),"delta":\#(delta)}},"#
    }

    private func end(_ block: Int) -> String {
        #"{"contentBlockStop":{"contentBlockIndex":\#(block)}},"#
    }

    @Test func `the role comes first even when the start is missing`() throws {
        let run = try play(delta(3, #"{"text":""}"#) + delta(3, #"{"text":"é"}"#) + Self.stop)
        #expect(run.deltas == [Self.role, #"{"content":"é"}"#, "stop"])
        #expect(run.isFinished)
        #expect(run.output.outputBytes == 2)
        #expect(run.output.finishReason == "stop")
    }

    @Test func `an event without an index is one of block 0`() throws {
        let run = try play(
            #"{"contentBlockStart":{"start":{"toolUse":{"toolUseId":"t","name":"f"}}}},"#
                + #"{"contentBlockDelta":{"delta":{"toolUse":{"input":"{}"}}}},"#
                + #"{"contentBlockStop":{}},"# + Self.stop)
        #expect(
            run.deltas.dropFirst() == [
                #"{"tool_calls":[{"index":0,"id":"t","type":"function","function":"#
                    + #"{"name":"f","arguments":""}}]}"#,
                #"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#, "tool_calls",
            ])
    }

    @Test func `a call that the next one interrupts still gets its empty object`() throws {
        let run = try play(start(0, "f") + start(0, "g") + Self.stop)
        #expect(run.deltas.count == 6)
        #expect(
            run.deltas[2] == #"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#)
        #expect(
            run.deltas[4] == #"{"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]}"#)
    }

    @Test func `server tools take no index`() throws {
        let run = try play(
            start(0, "search", #","type":"server_tool_use""#)
                + delta(0, #"{"toolUse":{"input":"{}"}}"#) + end(0)
                + delta(1, #"{"toolResult":[{"text":"x"}]}"#) + start(2, "f") + end(2) + Self.stop)
        #expect(run.deltas.count == 4)
        #expect(run.deltas[1].contains(#""index":0,"id":"t2""#))
    }

    @Test func `a custom tool's call comes whole at its end`() throws {
        let run = try play(
            start(0, "sh") + delta(0, #"{"toolUse":{"input":"{\"input\":\"l"}}"#)
                + delta(0, #"{"toolUse":{"input":"s\"}"}}"#) + end(0) + Self.stop,
            request: Self.user + #","tools":[{"type":"custom","custom":{"name":"sh"}}]"#)
        #expect(
            run.deltas == [
                Self.role,
                #"{"tool_calls":[{"index":0,"id":"t0","type":"custom","custom":"#
                    + #"{"name":"sh","input":"ls"}}]}"#, "tool_calls",
            ])
    }

    @Test(arguments: ["", #"{}"#, #" { } "#])
    func `a custom tool that is called without an input gets none`(_ input: String) throws {
        let request = Self.user + #","tools":[{"type":"custom","custom":{"name":"sh"}}]"#
        let piece = input.isEmpty ? "" : delta(0, #"{"toolUse":{"input":"\#(input)"}}"#)
        let run = try play(start(0, "sh") + piece + end(0) + Self.stop, request: request)
        #expect(run.deltas[1].contains(#""custom":{"name":"sh","input":""}"#))
        let whole = try BedrockTarget.chat(request.replacing("true", with: "false")).finish([
            BedrockTarget.answer(
                Array(
                    (#"{"output":{"message":{"content":[{"toolUse":{"toolUseId":"t","name":"sh","#
                        + #""input":\#(input.isEmpty ? "null" : input)}}]}},"#
                        + #""stopReason":"tool_use"}"#).utf8))
        ])
        let text = String(decoding: whole.body, as: UTF8.self)
        #expect(text.contains(#""custom":{"name":"sh","input":""}"#))
    }

    @Test func `structured output is one JSON text, whatever the model calls`() throws {
        let haiku = "anthropic.claude-3-haiku-20240307-v1:0"
        let format =
            #","response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{}}}"#
        func contents(_ events: String) throws -> [String] {
            let call = try BedrockTarget.chat(Self.user + format, model: haiku)
            return StreamRun(call, try StreamRun.frames("[\(events)\(Self.stop)]")).deltas
        }
        let input = delta(0, #"{"toolUse":{"input":"{\"a\":1}"}}"#)
        let second = start(1, "json_output") + delta(1, #"{"toolUse":{"input":"{}"}}"#) + end(1)
        #expect(
            try contents(start(0, "json_output") + input + end(0) + second) == [
                Self.role, #"{"content":"{\"a\":1}"}"#, "stop",
            ])
        #expect(
            try contents(start(0, "json_output") + end(0)) == [
                Self.role, #"{"content":"{}"}"#, "stop",
            ])
        // A server's own tool of that name is not ours.
        let serverTool = start(1, "json_output", #","type":"server_tool_use""#)
        #expect(
            try contents(serverTool + delta(1, #"{"toolUse":{"input":"{}"}}"#) + end(1))
                == [Self.role, "stop"])
        let text = delta(7, #"{"text":"Su"}"#) + delta(7, #"{"text":"re"}"#) + end(7)
        #expect(
            try contents(text + start(0, "json_output") + input + end(0) + text) == [
                Self.role, #"{"content":"{\"a\":1}"}"#, "stop",
            ])
        #expect(try contents(text) == [Self.role, #"{"content":"Sure"}"#, "stop"])
        let call = try BedrockTarget.chat(Self.user + format, model: haiku)
        #expect(
            StreamRun(call, try StreamRun.frames("[\(text)\(Self.stop)]")).output.outputBytes == 4)
    }

    /// Deltas of a megabyte each, one more than may be kept back.
    private func flood(_ delta: (String) -> String) -> String {
        let text = String(repeating: "a", count: 1 << 20)
        return (0...Limits.heldStreamBytes >> 20).map { _ in delta(text) }.joined()
    }

    @Test func `what is kept back until its block ends has a bound`() throws {
        let custom = Self.user + #","tools":[{"type":"custom","custom":{"name":"sh"}}]"#
        let format =
            Self.user
            + #","response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{}}}"#
        let haiku = "anthropic.claude-3-haiku-20240307-v1:0"
        let floods = [
            (format, flood { delta(0, #"{"text":"\#($0)"}"#) }),
            (custom, start(0, "sh") + flood { delta(0, #"{"toolUse":{"input":"\#($0)"}}"#) }),
            (Self.user, flood { delta(0, #"{"reasoningContent":{"text":"\#($0)"}}"#) }),
            (Self.user, flood { delta(0, #"{"reasoningContent":{"signature":"\#($0)"}}"#) }),
            (Self.user, flood { delta(0, #"{"reasoningContent":{"redactedContent":"\#($0)"}}"#) }),
        ]
        for (request, events) in floods {
            let call = try BedrockTarget.chat(request, model: haiku)
            let run = StreamRun(call, try StreamRun.frames("[\(events)\(Self.stop)]"))
            #expect(run.error?.code == "upstream_malformed")
            #expect(run.data.last != Array("[DONE]".utf8))
        }
        // What has ended is kept no more.
        let blocks = (0...Limits.heldStreamBytes >> 20).map { block in
            let text = String(repeating: "a", count: 1 << 20)
            return delta(block, #"{"reasoningContent":{"text":"\#(text)"}}"#) + end(block)
        }
        #expect(try play(blocks.joined() + Self.stop).isFinished)
    }

    @Test func `blocks that never end have a bound`() throws {
        let calls = (0..<Limits.openStreamBlocks).map { start($0, "f") }.joined()
        #expect(try play(calls + Self.stop).isFinished)
        let run = try play(calls + start(Limits.openStreamBlocks, "f") + Self.stop)
        #expect(run.error?.code == "upstream_malformed")
    }

    @Test func `suppressed calls leave nothing behind`() throws {
        let tools = #","tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"none""#
        let run = try play(
            start(0, "f") + delta(0, #"{"toolUse":{"input":"{}"}}"#) + end(0)
                + #"{"messageStop":{"stopReason":"tool_use"}}"#, request: Self.user + tools)
        #expect(run.deltas == [Self.role, "stop"])
    }

    @Test func `reasoning that is still open at the stop is flushed in order`() throws {
        let run = try play(
            delta(0, #"{"reasoningContent":{"text":"a"}}"#)
                + delta(1, #"{"reasoningContent":{"redactedContent":"cg=="}}"#)
                + delta(0, #"{"reasoningContent":{"signature":"s1"}}"#)
                + delta(0, #"{"reasoningContent":{"text":"b"}}"#)
                + delta(0, #"{"reasoningContent":{"signature":"s2"}}"#) + Self.stop)
        #expect(
            run.deltas == [
                Self.role, #"{"reasoning_content":"a"}"#, #"{"reasoning_content":"b"}"#,
                #"{"thinking_blocks":[{"index":0,"type":"thinking","thinking":"ab","#
                    + #""signature":"s1s2"}]}"#,
                #"{"thinking_blocks":[{"index":1,"type":"redacted_thinking","data":"cg=="}]}"#,
                "stop",
            ])
    }

    @Test func `an exception before any chunk is a plain error`() throws {
        let run = try play(#"{"validationException":{"message":"prompt is too long"}}"#)
        #expect(run.data == [])
        #expect(!run.output.hasBegun)
        #expect(run.error?.status == 400)
        #expect(run.error?.code == "context_length_exceeded")
        #expect(run.error?.param == "messages")
    }

    @Test(arguments: [
        (#"{"modelStreamErrorException":{"originalStatusCode":429}}"#, 429, "rate_limit_exceeded"),
        (#"{"modelStreamErrorException":{"message":"m"}}"#, 502, "model_error"),
        (#"{"internalServerException":{"message":"m"}}"#, 500, "internal_error"),
        (#"{"serviceUnavailableException":{"message":"m"}}"#, 503, "service_unavailable"),
        (#"{"novelException":{"message":"m"}}"#, 502, "upstream_error"),
    ])
    func `an exception ends the stream with its own error`(
        _ event: String, _ status: Int, _ code: String
    ) throws {
        let run = try play(#"{"messageStart":{"role":"assistant"}},"# + event)
        #expect(run.deltas == [Self.role])
        #expect(run.error?.status == status)
        #expect(run.error?.code == code)
        #expect(run.error?.isWorthAnotherTarget == true)
    }

    @Test(arguments: [
        ("serviceUnavailableException", 503), ("throttlingException", 429),
        ("validationException", 400), ("novelException", 502),
    ])
    func `an exception without a message tells its own status`(
        _ name: String, _ status: Int
    ) throws {
        let run = try play(#"{"\#(name)":{}}"#)
        #expect(run.error?.message == "upstream returned status \(status)")
    }

    @Test func `an event that is not JSON breaks the stream, an unknown one does not`() throws {
        var bytes: [UInt8] = []
        EventStreamEncoder.event("initial-response", payload: [], to: &bytes)
        EventStreamEncoder.event("novelEvent", payload: Array("?".utf8), to: &bytes)
        #expect(StreamRun(try BedrockTarget.chat(Self.user), [bytes]).data == [])
        EventStreamEncoder.event("contentBlockDelta", payload: Array("?".utf8), to: &bytes)
        EventStreamEncoder.event(
            "messageStop", payload: Array(#"{"stopReason":"end_turn"}"#.utf8), to: &bytes)
        let run = StreamRun(try BedrockTarget.chat(Self.user), [bytes])
        #expect(run.error?.code == "upstream_incomplete")
        #expect(run.data == [])
    }

    @Test func `every flipped bit is noticed`() throws {
        let events = "[" + delta(0, #"{"text":"a"}"#) + Self.stop + "]"
        let bytes = try StreamRun.frames(events).flatMap { $0 }
        for index in bytes.indices {
            var broken = bytes
            broken[index] ^= 0x10
            let run = StreamRun(try BedrockTarget.chat(Self.user), [broken])
            #expect(run.error?.code == "upstream_incomplete", "byte \(index)")
        }
    }

    @Test func `after the stop only counts are read`() throws {
        let usage =
            #"{"metadata":{"usage":{"inputTokens":1,"outputTokens":2},"#
            + #""serviceTier":{"type":"priority"}}}"#
        let run = try play(
            Self.stop + "," + delta(0, #"{"text":"late"}"#) + Self.stop + "," + usage)
        #expect(run.deltas == [Self.role, "stop"])
        #expect(run.output.usage == TokenUsage(input: 1, output: 2))
        #expect(run.output.serviceTier == "priority")
    }

    @Test func `malformed output without a word is an error`() throws {
        let stop = #"{"messageStop":{"stopReason":"malformed_tool_use"}}"#
        #expect(try play(stop).error?.code == "malformed_model_output")
        #expect(try !play(stop).output.hasBegun)
        #expect(try play(start(0, "f") + stop).isFinished)
    }

    @Test func `what malformed output has used is known`() throws {
        let run = try play(
            #"{"messageStart":{"role":"assistant"}},"#
                + #"{"messageStop":{"stopReason":"malformed_model_output"}},"#
                + #"{"metadata":{"usage":{"inputTokens":7,"outputTokens":2}}}"#)
        #expect(run.deltas == [Self.role])
        #expect(run.error?.code == "malformed_model_output")
        #expect(run.output.usage == TokenUsage(input: 7, output: 2))
    }

    @Test func `usage is sent when asked for and known`() throws {
        let usage = #",{"metadata":{"usage":{"inputTokens":1,"outputTokens":2}}}"#
        let asked = Self.user + #","stream_options":{"include_usage":true}"#
        let chunk = try #require(try play(Self.stop + usage, request: asked).chunks.last)
        let root = try JSONDocument(chunk).root
        #expect(root["choices"]?.text == "[]")
        #expect(root["usage"]?["total_tokens"]?.int == 3)
        #expect(try play(Self.stop, request: asked).chunks.count == 2)
        #expect(try play(Self.stop + usage).chunks.count == 2)
    }
}
