import Testing
import Wire

@testable import Translation

@Suite struct ToolRuleTests {
    private static let user = #""messages":[{"role":"user","content":"q"}]"#
    private static let history =
        #""messages":[{"role":"user","content":"q"},{"role":"assistant","tool_calls":["#
        + #"{"id":"a","type":"function","function":{"name":"old.f","arguments":"{}"}}]},"#
        + #"{"role":"tool","tool_call_id":"a","content":"A"}]"#

    private static func function(_ name: String, _ rest: String = "") -> String {
        #"{"type":"function","function":{"name":"\#(name)"\#(rest)}}"#
    }

    private func config(
        _ members: String, messages: String = user, model: String = BedrockTarget.claude
    ) throws -> String? {
        try BedrockTarget.body("\(messages),\(members)", model: model)["toolConfig"]?.text
    }

    @Test func `more tools and calls than anybody needs are refused`() throws {
        let tools = (0...1_024).map { Self.function("f\($0)") }.joined(separator: ",")
        let refusal = try BedrockTarget.refusal("\(Self.user),\"tools\":[\(tools)]")
        #expect(refusal?.param == "tools")
        let calls = (0...1_024).map {
            #"{"id":"c\#($0)","type":"function","function":{"name":"f","arguments":"{}"}}"#
        }.joined(separator: ",")
        let message = #"{"role":"assistant","tool_calls":[\#(calls)]}"#
        let history = #""messages":[{"role":"user","content":"q"},\#(message)]"#
        #expect(try BedrockTarget.refusal(history)?.param == "messages[1].tool_calls")
        let entry = #"{"type":"function","function":{"name":"f"}}"#
        let entries = [String](repeating: entry, count: 1_025).joined(separator: ",")
        let choice = #"{"type":"allowed_tools","allowed_tools":{"tools":[\#(entries)]}}"#
        let members = #"\#(Self.user),"tools":[\#(Self.function("f"))],"tool_choice":\#(choice)"#
        #expect(try BedrockTarget.refusal(members)?.param == "tool_choice")
    }

    @Test(arguments: [
        ("", #"{"type":"object","properties":{}}"#), (#","parameters":{}"#, #"{"type":"object"}"#),
        (
            #","parameters":{ "b": 1.0, "a" : [] }"#, #"{"type":"object","b":1.0,"a":[]}"#
        ),
        (#","parameters":{"z":1,"type":"object"}"#, #"{"z":1,"type":"object"}"#),
    ])
    func `a schema keeps its order and gets a type`(_ rest: String, _ schema: String) throws {
        let text = try config(#""tools":[\#(Self.function("f", rest))]"#)
        #expect(
            text == #"{"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":\#(schema)}}}]}"#)
    }

    @Test(arguments: [
        ("us.anthropic.claude-opus-4-6-v1", true), ("global.anthropic.claude-opus-4-7", false),
        ("us.amazon.nova-pro-v1:0", false), ("anthropic.claude-3-haiku-20240307-v1:0", true),
    ])
    func `strict goes to Claude up to 4_6 only`(_ model: String, _ isSent: Bool) throws {
        let tools = #""tools":[\#(Self.function("f", #","strict":true"#))]"#
        #expect(try config(tools, model: model)?.contains(#""strict":true"#) == isSent)
    }

    @Test(arguments: [
        (
            #""tools":[\#(function("f")),\#(function("f"))]"#, "invalid_value",
            "tools[1].function.name"
        ),
        (#""tools":[\#(function("f"))],"functions":[{"name":"f"}]"#, "invalid_value", "functions"),
        (#""tools":[{"type":"web_search"}]"#, "unsupported_value", "tools[0].type"),
        (
            #""tools":[{"type":"custom","custom":{"name":"c","format":{"type":"grammar"}}}]"#,
            "unsupported_value", "tools[0].custom.format"
        ),
        (#""tool_choice":"required""#, "invalid_value", "tool_choice"),
        (
            #""tool_choice":{"type":"function","function":{"name":"f"}}"#, "invalid_value",
            "tool_choice"
        ),
        (
            #""tools":[\#(function("f"))],"tool_choice":{"type":"allowed_tools","allowed_tools":"#
                + #"{"mode":"auto","tools":[{"type":"function","function":{"name":"g"}}]}}"#,
            "invalid_value", "tool_choice"
        ),
    ])
    func `tools that cannot be are named`(
        _ members: String, _ code: String, _ param: String
    ) throws {
        let error = try #require(try BedrockTarget.refusal("\(Self.user),\(members)"))
        #expect(error.code == code)
        #expect(error.param == param)
    }

    @Test func `one map of names serves tools, choice and history`() throws {
        let tools =
            #""tools":[\#(Self.function("old.f"))],"#
            + #""tool_choice":{"type":"function","function":{"name":"old.f"}}"#
        let body = try BedrockTarget.body("\(Self.history),\(tools)")
        #expect(body.text.components(#""name":"old_f_c2fb0885""#) == 3)
    }

    @Test func `history without tools gets stubs, and calls are dropped`() throws {
        let chat = try BedrockTarget.read(Self.history)
        #expect(chat.tools.isSuppressed)
        #expect(chat.tools.list.count == 1)
        #expect(
            try config(#""tools":[]"#, messages: Self.history)?.contains("Unavailable.") == true)
    }

    @Test func `none without tools means nothing`() throws {
        #expect(try !BedrockTarget.read(#"\#(Self.user),"tool_choice":"none""#).tools.isSuppressed)
    }

    @Test func `none keeps the tools that a history needs but offers no choice`() throws {
        let members = #""tools":[\#(Self.function("f"))],"tool_choice":"none""#
        #expect(try config(members) == nil)
        let kept = try #require(try config(members, messages: Self.history))
        #expect(kept.contains(#""name":"f""#))
        #expect(!kept.contains("toolChoice"))
    }

    @Test(arguments: [
        ("auto", "auto"), ("required", "any"),
    ])
    func `allowed tools narrow the list`(_ mode: String, _ choice: String) throws {
        let members =
            #""tools":[\#(Self.function("f")),\#(Self.function("g"))],"tool_choice":"#
            + #"{"type":"allowed_tools","allowed_tools":{"mode":"\#(mode)","tools":"#
            + #"[{"type":"function","function":{"name":"g"}}]}}"#
        let text = try #require(try config(members))
        #expect(!text.contains(#""name":"f""#))
        #expect(text.hasSuffix(#""toolChoice":{"\#(choice)":{}}}"#))
    }

    @Test func `structured output by a tool refuses other tools`() throws {
        let format = #""response_format":{"type":"json_schema","json_schema":{"name":"n"}}"#
        let model = "anthropic.claude-3-haiku-20240307-v1:0"
        let error = try BedrockTarget.refusal(
            #"\#(Self.user),\#(format),"tools":[\#(Self.function("f"))]"#, model: model)
        #expect(error?.code == "unsupported_parameter")
        #expect(error?.param == "response_format")
        let stubbed = try BedrockTarget.read("\(Self.history),\(format)", model: model)
        #expect(stubbed.tools.list.count == 2)
        #expect(stubbed.tools.isForced)
    }

    @Test func `the tool for structured output has a type and a name of its own`() throws {
        let format =
            #""response_format":{"type":"json_schema","json_schema":{"name":"n","#
            + #""schema":{"anyOf":[]}}}"#
        let history = Self.history.replacing(#""name":"old.f""#, with: #""name":"json_output""#)
        let text = try config(
            format, messages: history, model: "anthropic.claude-3-haiku-20240307-v1:0")
        #expect(
            text == #"{"tools":[{"toolSpec":{"name":"json_output","inputSchema":{"json":"#
                + #"{"type":"object","anyOf":[]}}}}],"toolChoice":{"tool":{"name":"json_output"}}}"#
        )
    }

    @Test func `a native schema goes as text in the client's order`() throws {
        let format =
            #""response_format":{"type":"json_schema","json_schema":{"name":"n","description":" ","#
            + #""schema":{ "type" : "object", "a": {"x": 1.50} }}}"#
        let body = try BedrockTarget.body("\(Self.user),\(format)")
        #expect(
            body["outputConfig"]?.text == #"{"textFormat":{"type":"json_schema","structure":"#
                + #"{"jsonSchema":{"schema":"{\"type\":\"object\",\"a\":{\"x\":1.50}}","#
                + #""name":"n"}}}}"#)
    }
}
