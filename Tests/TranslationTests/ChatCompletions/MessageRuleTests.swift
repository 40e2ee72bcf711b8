import Testing
import Wire

@testable import Translation

@Suite struct MessageRuleTests {
    private static let call =
        #"{"role":"assistant","tool_calls":["#
        + #"{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},"#
        + #"{"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]}"#
    private static let answers =
        #"{"role":"tool","tool_call_id":"a","content":"A"},"#
        + #"{"role":"tool","tool_call_id":"b","content":"B"}"#
    private static let user = #"{"role":"user","content":"q"}"#

    /// The messages of the Converse body as compact JSON.
    private func messages(_ list: String, model: String = BedrockTarget.claude) throws -> String {
        try BedrockTarget.body(#""messages":[\#(list)]"#, model: model)["messages"]?.text ?? ""
    }

    private func refusal(_ list: String) throws -> String? {
        try BedrockTarget.refusal(#""messages":[\#(list)]"#).map {
            "\($0.code ?? "") \($0.param ?? "")"
        }
    }

    @Test(arguments: [3, 40])
    func `results find their calls in any order`(_ count: Int) throws {
        let calls = (0..<count).map {
            #"{"id":"c\#($0)","type":"function","function":{"name":"f","arguments":"{}"}}"#
        }
        let answers = (0..<count).reversed().map {
            #"{"role":"tool","tool_call_id":"c\#($0)","content":"r\#($0)"}"#
        }
        let history =
            Self.user + #",{"role":"assistant","tool_calls":[\#(calls.joined(separator: ","))]},"#
            + answers.joined(separator: ",")
        let body = try messages(history)
        for number in 0..<count {
            let result = #"{"toolUseId":"c\#(number)","content":[{"text":"r\#(number)"}]}"#
            #expect(body.contains(result))
        }
        let more = #",{"role":"tool","tool_call_id":"c0","content":"more"}"#
        #expect(try messages(history + more).contains(#"[{"text":"r0"},{"text":"more"}]"#))
        let missing = answers.dropLast().joined(separator: ",")
        let unanswered = history.replacing(answers.joined(separator: ","), with: missing)
        #expect(try refusal(unanswered)?.hasPrefix("invalid_value") == true)
    }

    @Test func `a message left without blocks disappears and its neighbours merge`() throws {
        let list = """
            \(Self.user),{"role":"assistant","content":" \\n","reasoning_content":"r"},
            {"role":"user","content":[{"type":"text","text":"\\u3000"},{"type":"text","text":"w"}]}
            """
        #expect(
            try messages(list) == #"[{"role":"user","content":[{"text":"q"},{"text":"w"}]}]"#)
    }

    @Test func `a prefill is trimmed also in front of a cache point`() throws {
        let list =
            #"\#(Self.user),{"role":"assistant","content":"so \n","#
            + #""cache_control":{"type":"ephemeral"}}"#
        #expect(
            try messages(list).hasSuffix(
                #"{"text":"so"},{"cachePoint":{"type":"default"}}]}]"#))
    }

    @Test func `a combining mark on a space is text`() throws {
        let list =
            #"{"role":"user","content":" \u0301"},{"role":"assistant","content":"a \u0301"}"#
        #expect(
            try messages(list) == "[{\"role\":\"user\",\"content\":[{\"text\":\" \u{301}\"}]},"
                + "{\"role\":\"assistant\",\"content\":[{\"text\":\"a \u{301}\"}]}]")
    }

    @Test(arguments: [
        (#"{"role":"tool","tool_call_id":"a","content":"x"}"#, "messages[0].role"),
        (#"\#(user),\#(call),{"role":"tool","tool_call_id":"z"}"#, "messages[2].tool_call_id"),
        (#"\#(user),\#(call),{"role":"tool"}"#, "messages[2].tool_call_id"),
        (
            #"\#(user),\#(call),\#(answers),{"role":"tool","tool_call_id":"z","content":"x"}"#,
            "messages[4].role"
        ),
        (#"\#(user),\#(call)"#, "messages[2]"), (#"\#(user),\#(call),\#(user)"#, "messages[2]"),
        (#"\#(call),\#(call)"#, "messages[1]"),
        (#"\#(user),\#(call),{"role":"function","name":"f","content":"x"}"#, "messages[2].role"),
        (#"{"role":"critic","content":"x"}"#, "messages[0].role"),
        (
            #"{"role":"system","content":[{"type":"image_url"}]}"#, "messages[0].content[0].type"
        ),
        (
            #"{"role":"assistant","content":[{"type":"image_url"}]}"#,
            "messages[0].content[0].type"
        ),
        (
            #"\#(user),\#(call),{"role":"tool","tool_call_id":"a","#
                + #""content":[{"type":"input_audio"}]}"#,
            "messages[2].content[0].type"
        ),
        (#"{"role":"user","content":[{"type":"video"}]}"#, "messages[0].content[0].type"),
    ])
    func `a message that does not fit is named`(_ list: String, _ param: String) throws {
        #expect(try refusal(list) == "invalid_value \(param)")
    }

    @Test(arguments: [#""x""#, "{}", "true"])
    func `calls that are no list are refused`(_ calls: String) throws {
        let list = #"\#(Self.user),{"role":"assistant","content":"a","tool_calls":\#(calls)}"#
        #expect(try refusal(list) == "invalid_type messages[1].tool_calls")
    }

    @Test func `a system message may stand between a call and its answer`() throws {
        let list =
            #"\#(Self.user),\#(Self.call),{"role":"developer","content":"d"},\#(Self.answers)"#
        let body = try BedrockTarget.body(#""messages":[\#(list)]"#)
        #expect(body["system"]?.text == #"[{"text":"d"}]"#)
        #expect(body["messages"]?.count == 3)
    }

    @Test func `a second message for an answered call adds to its result`() throws {
        let list = """
            \(Self.user),\(Self.call),{"role":"tool","tool_call_id":"a","content":""},
            {"role":"tool","tool_call_id":"b","content":"B"},
            {"role":"tool","tool_call_id":"a","content":"more","is_error":true,
             "cache_control":{"type":"ephemeral"}},
            {"role":"tool","tool_call_id":"b","content":"C"}
            """
        #expect(
            try messages(list).hasSuffix(
                #"{"role":"user","content":[{"toolResult":{"toolUseId":"a","content":"#
                    + #"[{"text":"more"}],"status":"error"}},{"cachePoint":{"type":"default"}},"#
                    + #"{"toolResult":{"toolUseId":"b","content":[{"text":"B"},{"text":"C"}]}}]}]"#)
        )
    }

    @Test func `a tool result with nothing in it says so`() throws {
        let list =
            #"\#(Self.user),\#(Self.call),{"role":"tool","tool_call_id":"a","content":null},"#
            + #"{"role":"tool","tool_call_id":"b","content":[{"type":"text","text":" "}]}"#
        let text = try messages(list)
        #expect(text.components(#""content":[{"text":"(empty)"}]"#) == 2)
    }

    @Test func `legacy functions are answered by the latest open call`() throws {
        let list = """
            \(Self.user),
            {"role":"assistant","function_call":{"name":"f","arguments":"{\\"x\\":1.50}"}},
            {"role":"function","name":"f","content":"F"},
            {"role":"assistant","function_call":{"name":"f","arguments":""}},
            {"role":"function","name":"f","content":"G"}
            """
        let text = try messages(list)
        #expect(text.contains(#"{"toolUse":{"toolUseId":"fc_1","name":"f","input":{"x":1.50}}}"#))
        #expect(text.contains(#"{"toolUse":{"toolUseId":"fc_2","name":"f","input":{}}}"#))
        #expect(text.contains(#"{"toolResult":{"toolUseId":"fc_2","content":[{"text":"G"}]}}"#))
    }

    @Test func `an id that repeats within a turn keeps its first call`() throws {
        let list = """
            \(Self.user),{"role":"assistant","tool_calls":[
              {"id":"a","type":"function","function":{"name":"f","arguments":"{\\"n\\":1}"}},
              {"id":"a","type":"function","function":{"name":"g","arguments":"{\\"n\\":2}"}}]},
            {"role":"tool","tool_call_id":"a","content":"A"}
            """
        let text = try messages(list)
        #expect(text.components(#""toolUse""#) == 1)
        #expect(text.contains(#""input":{"n":1}"#))
    }

    @Test func `ids that do not fit are changed alike in calls and results`() throws {
        let list = """
            \(Self.user),{"role":"assistant","tool_calls":[
              {"id":"é b","type":"function","function":{"name":"f","arguments":"{}"}}]},
            {"role":"tool","tool_call_id":"é b","content":"A"}
            """
        // The digest is that of the original text in UTF-8; one character becomes one underscore.
        #expect(try messages(list).components(#""toolUseId":"__b_5eefa2a248c89e51""#) == 2)
    }

    @Test(arguments: [
        (64, String(repeating: "i", count: 64)),
        (65, String(repeating: "i", count: 47) + "_7db92d77e8b1d5ac"),
    ])
    func `an id may have 64 characters`(_ length: Int, _ sent: String) throws {
        let id = String(repeating: "i", count: length)
        let list = """
            \(Self.user),{"role":"assistant","tool_calls":[
              {"id":"\(id)","type":"function","function":{"name":"f","arguments":"{}"}}]},
            {"role":"tool","tool_call_id":"\(id)","content":"A"}
            """
        #expect(try messages(list).components(#""toolUseId":"\#(sent)""#) == 2)
    }

    @Test(arguments: [
        (#""{\"a\":[1, 2.50]}""#, #"{"a":[1,2.50]}"#), (#""  ""#, "{}"), ("null", "{}"),
        (#""[1]""#, #"{"_raw_arguments":"[1]"}"#),
        (#""{\"a\":""#, #"{"_raw_arguments":"{\"a\":"}"#),
        (#""\"text\"""#, #"{"_raw_arguments":"\"text\""}"#),
    ])
    func `arguments are an object or are wrapped in one`(
        _ arguments: String, _ input: String
    ) throws {
        let list = """
            \(Self.user),{"role":"assistant","tool_calls":[
              {"id":"a","type":"function","function":{"name":"f","arguments":\(arguments)}}]},
            {"role":"tool","tool_call_id":"a","content":"A"}
            """
        #expect(try messages(list).contains(#""input":\#(input)}"#))
    }

    @Test func `only signed and redacted reasoning goes back, and only to Claude`() throws {
        let list = """
            \(Self.user),{"role":"assistant","content":[
              {"type":"text","text":"t"},{"type":"thinking","thinking":"no"},
              {"type":"thinking","text":"yes","signature":"s"},
              {"type":"redacted_thinking","redactedContent":"cg=="}]},\(Self.user)
            """
        #expect(
            try messages(list).contains(
                #"{"role":"assistant","content":[{"reasoningContent":{"reasoningText":"#
                    + #"{"text":"yes","signature":"s"}}},{"reasoningContent":{"redactedContent":"#
                    + #""cg=="}},{"text":"t"}]}"#))
        #expect(!(try messages(list, model: BedrockTarget.nova).contains("reasoningContent")))
    }

    @Test func `thinking blocks win over thinking parts`() throws {
        let list = """
            \(Self.user),{"role":"assistant","thinking_blocks":[
              {"index":0,"type":"thinking","thinking":"b","signature":"s"}],"content":[
              {"type":"thinking","thinking":"p","signature":"s"},{"type":"text","text":"t"}]},
            \(Self.user)
            """
        let text = try messages(list)
        #expect(text.components("reasoningContent") == 1)
        #expect(text.contains(#""text":"b""#))
    }

    @Test func `strict models get results and text in turns of their own`() throws {
        let list = #"\#(Self.user),\#(Self.call),\#(Self.answers),\#(Self.user)"#
        let body = try BedrockTarget.body(#""messages":[\#(list)]"#, model: BedrockTarget.llama)
        let roles = body["messages"]?.elements.compactMap { $0["role"]?.string }
        #expect(roles == ["user", "assistant", "user", "assistant", "user"])
        #expect(
            body["messages"]?.text.hasSuffix(
                #"{"role":"assistant","content":[{"text":"Understood."}]},"#
                    + #"{"role":"user","content":[{"text":"q"}]}]"#) == true)
    }
}

extension String {
    /// How often a text occurs.
    func components(_ text: String) -> Int { ranges(of: text).count }
}
