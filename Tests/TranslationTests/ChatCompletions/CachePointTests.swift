import Testing
import Wire

@testable import Translation

@Suite struct CachePointTests {
    private static let mark = #""cache_control":{"type":"ephemeral"}"#
    private static let hour = #""cache_control":{"type":"ephemeral","ttl":"1h"}"#
    private static let six =
        #""messages":[{"role":"system","content":"s",\#(hour)},"#
        + #"{"role":"user","content":[{"type":"text","text":"a",\#(mark)},"#
        + #"{"type":"text","text":"b",\#(hour)},{"type":"text","text":"c",\#(mark)}]}],"#
        + #""tools":[{"type":"function","function":{"name":"f"},\#(hour)},"#
        + #"{"type":"function","function":{"name":"g"},\#(mark)}]"#

    @Test func `of more than four the earliest in messages go first`() throws {
        let body = try BedrockTarget.body(Self.six)
        #expect(
            body["messages"]?.text == #"[{"role":"user","content":[{"text":"a"},{"text":"b"},"#
                + #"{"text":"c"},{"cachePoint":{"type":"default"}}]}]"#)
        #expect(body["system"]?.text.components("cachePoint") == 1)
        #expect(body["toolConfig"]?.text.components("cachePoint") == 2)
    }

    @Test func `then those of system and of tools go`() throws {
        let tools = (0..<5).map {
            #"{"type":"function","function":{"name":"f\#($0)"},\#(Self.mark)}"#
        }
        let body = try BedrockTarget.body(
            #""messages":[{"role":"system","content":"s",\#(Self.mark)},"#
                + #"{"role":"user","content":"q",\#(Self.mark)}],"#
                + #""tools":[\#(tools.joined(separator: ","))]"#)
        #expect(body["messages"]?.text.contains("cachePoint") == false)
        #expect(body["system"]?.text.contains("cachePoint") == false)
        let list = Array(try #require(body["toolConfig"]?["tools"]).elements)
        #expect(list.count == 9)
        #expect(list[1]["toolSpec"] != nil)
    }

    @Test func `Nova takes no points in tools and no lifetimes`() throws {
        let body = try BedrockTarget.body(Self.six, model: BedrockTarget.nova)
        #expect(body["toolConfig"]?.text.contains("cachePoint") == false)
        #expect(!body.text.contains("ttl"))
        #expect(body.text.components("cachePoint") == 4)
    }

    @Test func `other models take none`() throws {
        #expect(
            try !BedrockTarget.body(Self.six, model: BedrockTarget.llama).text.contains(
                "cachePoint"))
    }

    @Test func `the point of a tool message stands once, behind the result`() throws {
        let body = try BedrockTarget.body(
            #""messages":[{"role":"user","content":"q"},{"role":"assistant","tool_calls":["#
                + #"{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},"#
                + #"{"role":"tool","tool_call_id":"a","content":["#
                + #"{"type":"text","text":"A",\#(Self.hour)},"#
                + #"{"type":"text","text":"B",\#(Self.mark)}]},"#
                + #"{"role":"user","content":"w"}]"#)
        #expect(
            body["messages"]?.text.hasSuffix(
                #"{"toolResult":{"toolUseId":"a","content":[{"text":"A"},{"text":"B"}]}},"#
                    + #"{"cachePoint":{"type":"default","ttl":"1h"}},{"text":"w"}]}]"#) == true)
    }

    @Test(arguments: [
        (#""cache_control":{"type":"ephemeral","ttl":"5m"}"#, #"{"type":"default","ttl":"5m"}"#),
        (#""cache_control":{"type":"ephemeral","ttl":"9m"}"#, #"{"type":"default"}"#),
        (#""prompt_cache_breakpoint":{"mode":"explicit"}"#, #"{"type":"default"}"#),
        (
            #""prompt_cache_breakpoint":{"mode":"explicit","ttl":"12h"}"#,
            #"{"type":"default","ttl":"1h"}"#
        ),
        (#""prompt_cache_breakpoint":{"mode":"implicit"}"#, nil),
        (#""cache_control":{"type":"persistent"}"#, nil), (#""cache_control":null"#, nil),
    ])
    func `markers say a lifetime or none`(_ marker: String, _ point: String?) throws {
        let body = try BedrockTarget.body(
            #""messages":[{"role":"user","content":[{"type":"text","text":"q",\#(marker)}]}]"#)
        let blocks = body["messages"]?.elements.first { _ in true }?["content"]?.elements
        #expect(blocks?.compactMap { $0["cachePoint"]?.text } == point.map { [$0] } ?? [])
    }
}
