import Primitives
import Testing
import Wire

@testable import Translation

@Suite struct ConverseAnswerTests {
    private static let user = #""messages":[{"role":"user","content":"q"}]"#

    private func finish(
        _ content: String, stop: String = "end_turn", request: String = user, rest: String = ""
    ) throws -> CallResult {
        let body =
            #"{"output":{"message":{"role":"assistant","content":[\#(content)]}},"#
            + #""stopReason":"\#(stop)"\#(rest)}"#
        return try BedrockTarget.chat(request).finish([BedrockTarget.answer(Array(body.utf8))])
    }

    private func message(
        _ content: String, stop: String = "end_turn", request: String = user
    ) throws -> JSONValue {
        let result = try finish(content, stop: stop, request: request)
        let choices = try JSONDocument(result.body).root["choices"]
        return try #require(choices?.elements.first { _ in true }?["message"])
    }

    @Test func `citations of the web point into the content by character`() throws {
        let content = """
            {"text":"é𝄞: "},{"citationsContent":{"content":[{"text":"naïve "},{"text":"日本"}],
            "citations":[{"title":"T","location":{"web":{"url":"https://a","domain":"a"}}},
              {"location":{"web":{"url":"https://b"}}},
              {"title":"page","location":{"documentPage":{"documentIndex":0,"start":1,"end":2}}}]}},
            {"text":"."}
            """
        let message = try message(content)
        #expect(message["content"]?.string == "é𝄞: naïve 日本.")
        #expect(
            JSONComparing.differences(
                message["annotations"]?.source ?? [],
                try JSONDocument(
                    Array(
                        """
                        [{"type":"url_citation","url_citation":
                          {"start_index":4,"end_index":12,"title":"T","url":"https://a"}},
                         {"type":"url_citation","url_citation":
                          {"start_index":4,"end_index":12,"title":"https://b","url":"https://b"}}]
                        """.utf8)
                ).root) == [])
    }

    @Test func `an answer in very many pieces is put together in one pass`() throws {
        let piece = #"{"text":"é"},{"citationsContent":{"content":[{"text":"ab"}],"citations":[]}}"#
        let count = 3_000
        let content = Array(repeating: piece, count: count).joined(separator: ",")
        let last =
            #",{"citationsContent":{"content":[{"text":"z"}],"citations":"#
            + #"[{"location":{"web":{"url":"u"}}}]}}"#
        let message = try message(content + last)
        #expect(message["content"]?.stringBytes?.count == 4 * count + 1)
        let citation = message["annotations"]?.elements.first { _ in true }?["url_citation"]
        #expect(citation?["start_index"]?.int == 3 * count)
        #expect(citation?["end_index"]?.int == 3 * count + 1)
    }

    @Test func `no answer makes more tool calls than a message may`() throws {
        func calls(_ count: Int) -> String {
            (0..<count).map { #"{"toolUse":{"toolUseId":"t\#($0)","name":"f","input":{}}}"# }
                .joined(separator: ",")
        }
        #expect(try finish(calls(Limits.chatToolCalls), stop: "tool_use").finishReason != nil)
        let error = #expect(throws: APIError.self) {
            try finish(calls(Limits.chatToolCalls + 1), stop: "tool_use")
        }
        #expect(error?.code == "upstream_malformed")
    }

    @Test func `arguments are compact, in order, and not escaped beyond ASCII`() throws {
        let escapes = #"{"b": [1.50, "\u00e9\ud834\udd1e\u0007\n\"\\u00e9"], "a" : "é"}"#
        let message = try message(
            #"{"toolUse":{"toolUseId":"t","name":"f","input":\#(escapes)}}"#, stop: "tool_use")
        let call = message["tool_calls"]?.elements.first { _ in true }
        #expect(
            call?["function"]?["arguments"]?.source
                == Array(
                    #""{\"b\":[1.50,\"é𝄞\\u0007\\n\\\"\\\\u00e9\"],\"a\":\"é\"}""#.utf8))
    }

    @Test func `server tools, images and unknown blocks are not shown`() throws {
        let message = try message(
            """
            {"toolUse":{"toolUseId":"t","name":"f","input":{},"type":"server_tool_use"}},
            {"toolResult":{"toolUseId":"t","content":[]}},{"image":{}},{"new":1},{"text":"a"}
            """, stop: "tool_use")
        #expect(message["tool_calls"] == nil)
        #expect(message["content"]?.string == "a")
    }

    @Test func `reasoning without a signature is no thinking block`() throws {
        let message = try message(
            """
            {"reasoningContent":{"reasoningText":{"text":"a"}}},
            {"reasoningContent":{"reasoningText":{"text":"b","signature":""}}},
            {"reasoningContent":{"reasoningText":{"text":"c","signature":"s"}}},{"text":"t"}
            """)
        #expect(message["reasoning_content"]?.string == "abc")
        #expect(
            message["thinking_blocks"]?.text
                == #"[{"type":"thinking","thinking":"c","signature":"s"}]"#)
    }

    @Test(arguments: [
        ("end_turn", false, "stop"), ("tool_use", false, "stop"), ("max_tokens", false, "length"),
        ("model_context_window_exceeded", true, "length"), ("stop_sequence", true, "tool_calls"),
        ("tool_use", true, "tool_calls"), ("content_filtered", true, "content_filter"),
        ("guardrail_intervened", false, "content_filter"),
        ("malformed_tool_use", true, "tool_calls"),
        ("malformed_model_output", false, "stop"), ("something_new", false, "stop"),
    ])
    func `stop reasons become finish reasons`(
        _ stop: String, _ hasCall: Bool, _ finish: String
    ) throws {
        let call = #"{"toolUse":{"toolUseId":"t","name":"f","input":{}}}"#
        let result = try self.finish(hasCall ? call : #"{"text":"a"}"#, stop: stop)
        #expect(result.finishReason == finish)
        #expect(result.fields.value(of: "x-sluice-stop-reason") == Array(stop.utf8))
    }

    @Test func `cached tokens count as prompt tokens`() throws {
        let usage =
            #","usage":{"inputTokens":5,"outputTokens":3,"totalTokens":99,"#
            + #""cacheReadInputTokens":7,"cacheWriteInputTokens":11,"#
            + #""cacheDetails":[{"ttl":"1h","inputTokens":4},{"ttl":"5m","inputTokens":7}]},"#
            + #""serviceTier":{"type":"flex"}"#
        let result = try finish(#"{"text":"a"}"#, rest: usage)
        var expected = TokenUsage(input: 23, output: 3)
        expected.cacheRead = 7
        expected.cacheWrite = 11
        expected.cacheWriteOneHour = 4
        expected.hasCacheCounts = true
        #expect(result.usage == expected)
        #expect(result.serviceTier == "flex")
        #expect(
            try JSONDocument(result.body).root["usage"]?.text
                == #"{"prompt_tokens":23,"completion_tokens":3,"total_tokens":26,"#
                + #""prompt_tokens_details":{"cached_tokens":7,"cache_write_tokens":11}}"#)
    }

    @Test(arguments: [
        "9223372036854775807", "-1", "1e300", #""7""#, "null",
    ])
    func `absurd counts never trap`(_ count: String) throws {
        let usage =
            #","usage":{"inputTokens":\#(count),"outputTokens":\#(count),"#
            + #""cacheReadInputTokens":\#(count),"cacheWriteInputTokens":\#(count)}"#
        let result = try finish(#"{"text":"a"}"#, rest: usage)
        #expect((result.usage?.input ?? 0) >= 0)
    }

    @Test(arguments: [
        "", "<html>", "[]", "{}", #"{"output":{}}"#, #"{"output":{"message":"hi"}}"#,
    ])
    func `an answer without a message is malformed`(_ body: String) throws {
        let call = try BedrockTarget.chat(Self.user)
        let error = #expect(throws: APIError.self) {
            try call.finish([BedrockTarget.answer(Array(body.utf8))])
        }
        #expect(error?.status == 502)
        #expect(error?.code == "upstream_malformed")
        #expect(error?.isWorthAnotherTarget == true)
    }

    @Test func `a custom tool's call comes back as its input`() throws {
        let request = Self.user + #","tools":[{"type":"custom","custom":{"name":"my sh"}}]"#
        let sent = try BedrockTarget.read(request).tools.list[0].name
        let message = try message(
            #"{"toolUse":{"toolUseId":"t","name":"\#(String(decoding: sent, as: UTF8.self))","#
                + #""input":{"input":"ls\n"}}}"#, stop: "tool_use", request: request)
        #expect(
            message["tool_calls"]?.text
                == #"[{"id":"t","type":"custom","custom":{"name":"my sh","input":"ls\n"}}]"#)
    }
}
