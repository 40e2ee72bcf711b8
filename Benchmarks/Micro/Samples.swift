import Primitives
import Translation
import Wire

/// The messages that cases work on: what SDKs and backends really send.
enum Samples {
    static let claude = "anthropic.claude-3-5-sonnet-20240620-v1:0"

    /// The head of the OpenAI SDK for Python.
    static let requestHead = [UInt8](
        """
        POST /v1/chat/completions HTTP/1.1\r
        Host: gateway.example.com:8080\r
        Accept-Encoding: gzip, deflate\r
        Connection: keep-alive\r
        Accept: application/json\r
        Content-Type: application/json\r
        User-Agent: OpenAI/Python 1.99.1\r
        X-Stainless-Lang: python\r
        X-Stainless-Package-Version: 1.99.1\r
        X-Stainless-OS: Linux\r
        X-Stainless-Arch: x64\r
        X-Stainless-Runtime: CPython\r
        X-Stainless-Runtime-Version: 3.11.2\r
        Authorization: Bearer sk-sluice-0123456789abcdef0123456789abcdef\r
        X-Stainless-Async: false\r
        x-stainless-retry-count: 0\r
        x-stainless-read-timeout: 600\r
        Content-Length: 2\r
        \r
        {}
        """.utf8)

    static let responseHead = [UInt8](
        """
        HTTP/1.1 200 OK\r
        date: Wed, 25 Nov 2026 12:00:00 GMT\r
        server: uvicorn\r
        content-length: 2\r
        content-type: application/json\r
        x-request-id: 0d4e9c2f7b1a4f6c8e3d5a7b9c1e2f30\r
        \r
        {}
        """.utf8)

    /// About 200 bytes.
    static let smallBody = body(
        #"{"role":"user","content":"How many event loops does one gateway need, and whose?"}"#)

    /// About 1.7 KB, with two tools.
    static let toolsBody = body(
        #"{"role":"system","content":"\#(text(400))"},{"role":"user","content":"\#(text(200))"}"#,
        more: #","tools":[\#(tool("get_weather")),\#(tool("get_forecast"))],"tool_choice":"auto""#)

    /// 64 KB of conversation.
    static let largeBody = body(
        (0..<42).map { turn in
            let role = turn % 2 == 0 ? "user" : "assistant"
            return #"{"role":"\#(role)","content":"\#(text(1_500)) \"as told\"\n"}"#
        }.joined(separator: ","))

    static let openAIAnswer = [UInt8](
        #"""
        {"id":"chatcmpl-8f14e45f","object":"chat.completion","created":1764000000,\#
        "model":"llama-3.1-8b","choices":[{"index":0,"message":{"role":"assistant",\#
        "content":"\#(text(240))","refusal":null},"logprobs":null,"finish_reason":"stop"}],\#
        "usage":{"prompt_tokens":31,"completion_tokens":57,"total_tokens":88}}
        """#.utf8)

    static let openAIEvent = [UInt8](
        #"""
        data: {"id":"chatcmpl-8f14e45f","object":"chat.completion.chunk","created":1764000000,\#
        "model":"llama-3.1-8b","choices":[{"index":0,"delta":{"content":" loop"},\#
        "logprobs":null,"finish_reason":null}]}


        """#.utf8)

    static let converseAnswer = [UInt8](
        #"""
        {"metrics":{"latencyMs":812},"output":{"message":{"content":[{"text":"\#(text(240))"}],\#
        "role":"assistant"}},"stopReason":"end_turn","usage":{"inputTokens":31,\#
        "outputTokens":57,"totalTokens":88}}
        """#.utf8)

    /// A frame of a ConverseStream answer.
    static let converseFrame = frame(
        "contentBlockDelta",
        #"{"contentBlockIndex":0,"delta":{"text":" loop"},"p":"abcdefghijklmnopqrstuvwx"}"#)

    static let converseStart = frame("messageStart", #"{"p":"abcdefgh","role":"assistant"}"#)

    /// A client's request as an endpoint has read it.
    static func request(_ body: [UInt8]) -> ClientRequest {
        var tape = JSONTape()
        guard
            let summary = try? RequestSummaryReader.read(
                body.span, tape: &tape, endpoint: .chatCompletions)
        else { preconditionFailure("a sample is refused") }
        return ClientRequest(
            endpoint: .chatCompletions, body: body, summary: summary,
            uniqueID: "0123456789abcdef01234567", requestID: "", createdSeconds: 1_764_000_000,
            traceFields: HeaderFields())
    }

    static func provider(_ kind: String) -> Provider {
        guard let provider = ProviderCatalogue.provider(kind: kind) else {
            preconditionFailure("there is no such provider")
        }
        return provider
    }

    static func target(_ model: String) -> TargetOptions {
        var target = TargetOptions()
        target.model = model
        return target
    }

    static func call(_ kind: String, _ body: [UInt8], model: String) -> any BackendCall {
        guard let call = try? provider(kind).open(request(body), target(model)) else {
            preconditionFailure("a sample is refused")
        }
        return call
    }

    /// A body whose answer is streamed.
    static func streamed(_ body: [UInt8]) -> [UInt8] {
        Array(body.dropLast())
            + [UInt8](#","stream":true,"stream_options":{"include_usage":true}}"#.utf8)
    }

    private static func body(_ messages: String, more: String = "") -> [UInt8] {
        [UInt8](#"{"model":"chat","messages":[\#(messages)],"max_tokens":256"#.utf8)
            + [UInt8](#","temperature":0.7\#(more)}"#.utf8)
    }

    private static func tool(_ name: String) -> String {
        #"""
        {"type":"function","function":{"name":"\#(name)","description":"\#(text(120))",\#
        "parameters":{"type":"object","properties":{"location":{"type":"string",\#
        "description":"Town and country"},"units":{"type":"string",\#
        "enum":["celsius","fahrenheit"]}},"required":["location","units"],\#
        "additionalProperties":false}}}
        """#
    }

    private static func text(_ length: Int) -> String {
        let words = "A request is admitted once, it settles once, and its books are kept for good. "
        return String(String(repeating: words, count: length / words.count + 1).prefix(length))
    }

    private static func frame(_ type: String, _ payload: String) -> [UInt8] {
        var bytes: [UInt8] = []
        EventStreamEncoder.event(type, payload: [UInt8](payload.utf8), to: &bytes)
        return bytes
    }
}
