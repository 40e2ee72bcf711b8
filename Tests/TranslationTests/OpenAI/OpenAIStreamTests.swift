import Primitives
import TestSupport
import Testing
import Wire

@testable import Translation

@Suite struct OpenAIStreamTests {
    static let role = #"data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}"# + "\n\n"
    static let word = #"data: {"choices":[{"index":0,"delta":{"content":"hé"}}], "x":1.0}"# + "\n\n"
    static let finish =
        #"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"# + "\n\n"
    static let usage =
        #"data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}}"#
        + "\n\n"
    static let done = "data: [DONE]\n\n"
    static let died =
        #"data: {"error":{"message":"dead","type":"InternalServerError","param":null,"code":500}}"#
        + "\n\n"

    @Test(arguments: [Int.max, -1, -Int.max])
    func `counts that a backend makes up can be added up`(_ count: Int) throws {
        let usage =
            #"data: {"choices":[],"usage":{"prompt_tokens":\#(count),"completion_tokens":"#
            + #"\#(count),"prompt_tokens_details":{"cached_tokens":\#(count),"#
            + #""cache_write_tokens":\#(count)}}}"# + "\n\n"
        let tokens = try #require(play(usage, wantsUsage: true).usage)
        let claimed = count > 0 ? Int(Int32.max) : 0
        #expect(tokens.input == claimed && tokens.output == claimed)
        #expect(tokens.cacheRead == claimed && tokens.cacheWrite == claimed)
    }

    private func play(
        _ text: String, wantsUsage: Bool, _ pieces: [[UInt8]]? = nil
    ) -> StreamOutput {
        var stream = OpenAIStream(wantsUsage: wantsUsage, modelName: nil)
        var output = StreamOutput()
        for piece in pieces ?? [Array(text.utf8)] { stream.receive(piece.span, into: &output) }
        return output
    }

    @Test func `usage nobody asked for is taken out, and everything else is kept to the byte`() {
        let stream = Self.role + Self.word + Self.finish + Self.usage + Self.done
        for pieces in cuts(Array(stream.utf8)) {
            let output = play(stream, wantsUsage: false, pieces)
            let expected = Self.role + Self.word + Self.finish + Self.done
            #expect(String(decoding: output.bytes, as: UTF8.self) == expected)
            #expect(output.state == .finished)
            #expect(output.usage == TokenUsage(input: 5, output: 3))
            #expect(output.finishReason == "stop")
        }
    }

    @Test func `a text counts beside a delta that says nothing`() {
        let text = String(repeating: "x", count: 50)
        let output = play(
            #"data: {"choices":[{"delta":null,"text":"\#(text)"}]}"# + "\n\n", wantsUsage: false)
        #expect(output.outputBytes == 50 + 2 - 13)
    }

    @Test func `usage that was asked for stays`() {
        let stream = Self.role + Self.finish + Self.usage + Self.done
        let output = play(stream, wantsUsage: true)
        #expect(String(decoding: output.bytes, as: UTF8.self) == stream)
    }

    @Test func `usage in every chunk is taken out of each, and the last one counts`() {
        let chunk = { (count: Int) in
            #"data: {"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":5,"completion_tokens":\#(count)}}"#
                + "\n\n"
        }
        let output = play(chunk(1) + chunk(2) + Self.finish + Self.done, wantsUsage: false)
        let text = String(decoding: output.bytes, as: UTF8.self)
        #expect(!text.contains("usage"))
        #expect(output.usage == TokenUsage(input: 5, output: 2))
    }

    @Test(arguments: [
        (
            "id: 7\ndata:{\"choices\":[{\"delta\":{}}],\"usage\":null}\n: a comment\n\n",
            "id: 7\ndata:{\"choices\":[{\"delta\":{}}]}\n: a comment\n\n"
        ),
        (
            "data: {\"choices\":[{\"delta\":{}\ndata: }],\ndata:\ndata: \"usage\":null}\n\n",
            "data: {\"choices\":[{\"delta\":{} }]}\n\n"
        ),
    ])
    func `an event that changes is still one event, with all its other lines`(
        _ event: String, _ expected: String
    ) {
        for pieces in cuts(Array(event.utf8)) {
            let output = play(event, wantsUsage: false, pieces)
            #expect(String(decoding: output.bytes, as: UTF8.self) == expected)
        }
    }

    @Test func `DONE is not believed without a finish reason, nor after an error`() {
        for stream in [Self.role + Self.done, Self.role + Self.word + Self.died + Self.done] {
            for pieces in cuts(Array(stream.utf8)) {
                let output = play(stream, wantsUsage: false, pieces)
                guard case .failed(let error) = output.state else {
                    Issue.record("\(output.state)")
                    return
                }
                #expect(!String(decoding: output.bytes, as: UTF8.self).contains("[DONE]"))
                #expect(error.code == nil || error.code == "upstream_incomplete")
                #expect(error.status >= 500)
            }
        }
    }

    @Test func `comments and data that is not JSON go on as they are`() {
        let stream = ": hi\n\ndata: plain text\n\n" + Self.finish + Self.done
        #expect(String(decoding: play(stream, wantsUsage: false).bytes, as: UTF8.self) == stream)
    }

    @Test(arguments: [
        (
            #"{"error":{"message":"m","type":"t","param":null,"code":404}}"#, 400, "t",
            nil as String?
        ),
        (#"{"object":"error","message":"m","type":"t","param":null,"code":400}"#, 400, "t", nil),
        (#"{"detail":"m"}"#, 422, "invalid_request_error", nil),
        (#"{"message":"m"}"#, 500, "server_error", nil),
        (#"{"error":{"message":"m","type":"t","param":"p","code":"c"}}"#, 400, "t", "c"),
    ])
    func `every shape of error becomes the envelope`(
        _ body: String, _ status: Int, _ type: String, _ code: String?
    ) {
        var head = ResponseHead()
        head.status = status
        let error = OpenAIErrors.classify(
            UpstreamAnswer(head: head, body: Array(body.utf8)), model: "m")
        #expect((error.status, error.type, error.code) == (status, type, code))
        #expect(error.message == "m")
        #expect((error.verbatimBody != nil) == (code != nil))
    }

    @Test(arguments: [
        (
            #"{"detail":[{"loc":["body","messages",0],"msg":"m","type":"x"},{"msg":"n"}]}"#,
            "body.messages.0: m; n"
        ),
        (#"{"detail":[7,{"loc":[],"msg":7}]}"#, "upstream returned status 422"),
        (#"{"detail":{"msg":"m"}}"#, "upstream returned status 422"),
        (#"{"detail":null}"#, "upstream returned status 422"),
    ])
    func `what a backend says of single fields is kept`(_ body: String, _ message: String) {
        var head = ResponseHead()
        head.status = 422
        let error = OpenAIErrors.classify(
            UpstreamAnswer(head: head, body: Array(body.utf8)), model: "m")
        #expect(error.message == message)
        #expect(error.status == 422)
    }

    @Test func `media types are read without case`() throws {
        let body = Array(#"{"model":"m","stream":true,"messages":[]}"#.utf8)
        let call = OpenAICall.open(try BedrockTarget.request(body), TargetOptions())
        var output = StreamOutput()
        let stream = BedrockTarget.answer(
            [], fields: [("content-type", "Text/Event-Stream;charset=UTF-8")])
        call.begin(stream.head, into: &output)
        #expect(output.state == .open)
        let text = BedrockTarget.answer(
            Array("m".utf8), status: 500, fields: [("content-type", "TEXT/plain")])
        #expect(call.classify(text).message == "m")
    }

    @Test func `a redirect is a failure of the backend`() {
        var head = ResponseHead()
        head.status = 302
        let error = OpenAIErrors.classify(UpstreamAnswer(head: head, body: []), model: "m")
        #expect(error.status == 502)
        #expect(error.type == "server_error")
        #expect(error.code == "upstream_error")
    }

    @Test(arguments: [
        (302, true), (400, false), (401, true), (403, false), (404, false), (429, true),
        (500, true), (501, true), (503, true), (520, true), (529, true),
    ])
    func `another target is worth a try when this one failed`(_ status: Int, _ isWorthIt: Bool) {
        var head = ResponseHead()
        head.status = status
        let error = OpenAIErrors.classify(UpstreamAnswer(head: head, body: []), model: "m")
        #expect(error.isWorthAnotherTarget == isWorthIt)
    }

    @Test func `what a backend says of trying again is passed on`() {
        let answer = BedrockTarget.answer(
            [], status: 429,
            fields: [("retry-after", "3"), ("retry-after-ms", "2500"), ("x-should-retry", "false")])
        let error = OpenAIErrors.classify(answer, model: "m")
        #expect(error.retryAfterSeconds == 3)
        #expect(error.retryAfterMilliseconds == 2500)
        #expect(error.shouldRetry == false)
        let odd = BedrockTarget.answer(
            [], status: 429, fields: [("retry-after-ms", "-1"), ("x-should-retry", "perhaps")])
        #expect(OpenAIErrors.classify(odd, model: "m").retryAfterMilliseconds == nil)
        #expect(OpenAIErrors.classify(odd, model: "m").shouldRetry == nil)
    }

    @Test(arguments: ["", #","choices":null"#])
    func `an error with a good status is no answer`(_ rest: String) throws {
        let body = Array(#"{"model":"m","messages":[]}"#.utf8)
        let call = OpenAICall.open(try BedrockTarget.request(body), TargetOptions())
        let answer = #"{"error":{"message":"m","type":"t","param":null,"code":null}\#(rest)}"#
        let error = #expect(throws: APIError.self) {
            try call.finish([BedrockTarget.answer(Array(answer.utf8))])
        }
        #expect(error?.status == 502)
        #expect(error?.type == "server_error")
        #expect(error?.message == "m")
        #expect(error?.isWorthAnotherTarget == true)
        #expect(call.usageOfNothing == TokenUsage())
    }

    @Test(arguments: [401, 403])
    func `a refused key is our fault, not the client's`(_ status: Int) {
        var head = ResponseHead()
        head.status = status
        let body = Array(#"{"error":{"message":"Invalid API key sk-secret"}}"#.utf8)
        let error = OpenAIErrors.classify(UpstreamAnswer(head: head, body: body), model: "m")
        #expect(error.status == 500)
        #expect(error.shouldRetry == false)
        #expect(!error.message.contains("sk-secret"))
    }

    @Test(arguments: [
        (
            #"{"model":"a","stream":true}"#,
            #"{"stream_options":{"include_usage":true},"model":"b","stream":true}"#
        ),
        (
            #"{"model":"a","stream":true,"stream_options":null}"#,
            #"{"model":"b","stream":true,"stream_options":{"include_usage":true}}"#
        ),
        (
            #"{"model":"a","stream":true,"stream_options":{}}"#,
            #"{"model":"b","stream":true,"stream_options":{"include_usage":true}}"#
        ),
        (
            #"{"stream_options":{"include_usage":false,"y":1} , "model" : "a","stream":true}"#,
            #"{"stream_options":{"include_usage":true,"y":1} , "model" : "b","stream":true}"#
        ),
        (#"{"model":"a", "seed":1e2,"z":"\u00e9"}"#, #"{"model":"b", "seed":1e2,"z":"\u00e9"}"#),
    ])
    func `a body changes where it must and nowhere else`(_ body: String, _ sent: String) throws {
        let editor = try editor(body, model: "b", isLegacyDialect: false)
        #expect(String(decoding: editor.body(), as: UTF8.self) == sent)
    }

    @Test(arguments: [
        (#"{"model":"a","max_completion_tokens":5}"#, #"{"model":"a","max_tokens":5}"#),
        (
            #"{"model":"a","max_completion_tokens":5,"max_tokens":null}"#,
            #"{"model":"a","max_tokens":5}"#
        ),
        (
            #"{"max_tokens": 7 ,"model":"a","max_completion_tokens": 5 }"#,
            #"{"max_tokens": 5 ,"model":"a" }"#
        ),
        (
            #"{"model":"a","max_completion_tokens":null,"max_tokens":7}"#,
            #"{"model":"a","max_tokens":7}"#
        ),
        (
            #"{"max_completion_tokens":5,"max_tokens":7,"model":"a","stream":true}"#,
            #"{"stream_options":{"include_usage":true},"max_tokens":5,"model":"a","stream":true}"#
        ),
    ])
    func `an older backend gets the bound that counts, under the name it knows`(
        _ body: String, _ sent: String
    ) throws {
        let editor = try editor(body, model: nil, isLegacyDialect: true)
        #expect(String(decoding: editor.body(), as: UTF8.self) == sent)
    }

    private func editor(
        _ body: String, model: String?, isLegacyDialect: Bool
    ) throws -> OpenAIRequestEditor {
        var tape = JSONTape()
        let bytes = Array(body.utf8)
        let summary = try RequestSummaryReader.read(
            bytes.span, tape: &tape, endpoint: .chatCompletions)
        let request = ClientRequest(
            endpoint: .chatCompletions, body: bytes, summary: summary, uniqueID: "", requestID: "",
            createdSeconds: 0, traceFields: HeaderFields())
        return OpenAIRequestEditor(
            request: request, model: model, isLegacyDialect: isLegacyDialect)
    }

    @Test(arguments: [
        (#"{"model":"a","model":"b"}"#, "model"), (#"{"model":"a","\u006dodel":"b"}"#, "model"),
        (#"{"model":1}"#, "model"), ("{}", "model"), (#"{"model":""}"#, "model"),
        (#"{"model":"a","stream":"yes"}"#, "stream"),
        (#"{"model":"a","max_tokens":1.5}"#, "max_tokens"),
        (#"{"model":"a","stream_options":1}"#, "stream_options"), (#"{"model":"a","n":"x"}"#, "n"),
        (#"{"model":"a","max_tokens":1,"max_tokens":2}"#, "max_tokens"),
        (
            #"{"model":"a","stream_options":{"include_usage":true,"include_usage":false}}"#,
            "stream_options.include_usage"
        ),
    ])
    func `what decides policy must be clear`(_ body: String, _ param: String) {
        var tape = JSONTape()
        let error = #expect(throws: APIError.self) {
            try RequestSummaryReader.read(
                Array(body.utf8).span, tape: &tape, endpoint: .chatCompletions)
        }
        #expect(error?.param == param)
        #expect(error?.status == 400)
    }
}

@Suite struct OpenAIUsageTests {
    @Test func `counts that no model can have are not believed`() throws {
        let most = Int.max
        let text =
            #"{"prompt_tokens":\#(most),"completion_tokens":-5,"prompt_tokens_details":{"cached_tokens":\#(most),"cache_write_tokens":\#(most)}}"#
        let bytes = Array(text.utf8)
        var tape = JSONTape()
        try tape.parse(bytes.span)
        let read = OpenAIUsage.read(0, tape, bytes.span)
        let usage = try #require(read)
        let bound = Int(Int32.max)
        #expect(usage.input == bound)
        #expect(usage.output == 0)
        #expect(usage.cacheRead == bound)
        #expect(usage.cacheWrite == bound)
    }
}

@Suite struct StreamCutTests {
    private func request(_ members: String) throws -> ClientRequest {
        let body = Array(#"{"model":"m","stream":true,\#(members)}"#.utf8)
        var tape = JSONTape()
        return ClientRequest(
            endpoint: .chatCompletions, body: body,
            summary: try RequestSummaryReader.read(
                body.span, tape: &tape, endpoint: .chatCompletions),
            uniqueID: "TEST", requestID: "", createdSeconds: 7, traceFields: HeaderFields(),
            mayBeCut: true)
    }

    private func run(_ call: any BackendCall, _ pieces: [[UInt8]]) -> StreamOutput {
        var output = StreamOutput()
        for piece in pieces { call.receive(piece.span, into: &output) }
        output.bytes = []
        call.cut(TokenUsage(input: 5, output: 9), into: &output)
        return output
    }

    @Test func `a passed-on stream ends in the name of its backend`() throws {
        let first =
            #"data: {"id":"cmpl-1","object":"chat.completion.chunk","created":3,"model":"real","choices":[{"index":0,"delta":{"content":"a"}}]}"#
            + "\n\n"
        let call = try VLLMProvider.provider.open(
            try request(#""n":2,"messages":[],"stream_options":{"include_usage":true}"#),
            TargetOptions())
        let ended = #"data: {"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}"# + "\n\n"
        let output = run(call, [Array(first.utf8), Array(ended.utf8)])
        let head =
            #"data: {"id":"cmpl-1","object":"chat.completion.chunk","created":3,"model":"real","choices":["#
        let expected =
            head
            + #"{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}],"usage":null}"#
            + "\n\n" + head
            + #"],"usage":{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14}}"#
            + "\n\ndata: [DONE]\n\n"
        #expect(String(decoding: output.bytes, as: UTF8.self) == expected)
        #expect(output.state == .finished)
        #expect(output.finishReason == "length")
    }

    @Test(arguments: [
        "{}", #"{"id":7,"created":"x","model":null,"choices":[]}"#,
        #"{"id":[],"created":1e999,"choices":[{"index":"0","delta":{},"finish_reason":"stop"}]}"#,
        #"{"created":-1.5,"choices":[{"index":99999999999999999999,"finish_reason":"stop"}]}"#,
    ])
    func `a strange first chunk does no harm`(_ chunk: String) throws {
        let call = try VLLMProvider.provider.open(
            try request(#""n":3,"messages":[]"#), TargetOptions())
        let output = run(call, [Array("data: \(chunk)\n\n".utf8)])
        let text = String(decoding: output.bytes, as: UTF8.self)
        #expect(text.contains(#""id":"chatcmpl-TEST""#))
        #expect(text.contains(#""index":2,"delta":{},"logprobs":null,"finish_reason":"length"}"#))
        #expect(text.hasSuffix("data: [DONE]\n\n"))
    }

    @Test func `a translated stream ends what it has begun`() throws {
        let call = try BedrockTarget.chat(
            #""stream":true,"messages":[{"role":"user","content":"x"}]"#)
        let frames = try StreamRun.frames(
            #"[{"messageStart":{"role":"assistant"}},{"contentBlockDelta":{"contentBlockIndex":0,"delta":{"text":"Hi"}}}]"#
        )
        let output = run(call, frames)
        let text = String(decoding: output.bytes, as: UTF8.self)
        #expect(text.contains(#""finish_reason":"length""#))
        #expect(text.hasSuffix("data: [DONE]\n\n"))
        #expect(output.finishReason == "length")
        #expect(output.state == .finished)
    }
}

@Suite struct ModelNameTests {
    @Test(arguments: [(2_046, true), (2_047, false)])
    func `a model's name has a bound`(_ count: Int, _ isTaken: Bool) {
        let body = Array(#"{"model":"\#(String(repeating: "m", count: count))"}"#.utf8)
        var tape = JSONTape()
        var error: APIError?
        do throws(APIError) {
            _ = try RequestSummaryReader.read(
                body.span, tape: &tape, endpoint: .chatCompletions)
        } catch let caught {
            error = caught
        }
        #expect((error == nil) == isTaken)
        #expect(isTaken || error?.param == "model")
    }
}

@Suite struct AttachmentTests {
    private func summary(_ content: String) throws -> RequestSummary {
        let body = Array(#"{"model":"m","messages":[{"role":"user","content":\#(content)}]}"#.utf8)
        var tape = JSONTape()
        return try RequestSummaryReader.read(
            body.span, tape: &tape, endpoint: .chatCompletions)
    }

    @Test func `images and files are told from text`() throws {
        let data = String(repeating: "iVBORw0KGgo/", count: 20_000)
        let image = try summary(
            #"[{"type":"image_url","image_url":{"url":"data:image/png;base64,\#(data)"}}]"#)
        #expect(image.attachmentTokens == Limits.attachmentTokens)
        #expect(image.attachmentBytes == data.utf8.count + 24)
        let remote = try summary(
            #"[{"type":"image_url","image_url":{"url":"https://example.com/a.png"}},{"type":"text","text":"image_url"}]"#
        )
        #expect(remote.attachmentTokens == Limits.attachmentTokens)
        #expect(remote.attachmentBytes == 0)
        let sound = try summary(#"[{"type":"input_audio","input_audio":{"data":"\#(data)"}}]"#)
        #expect(sound.attachmentTokens == (data.utf8.count + 2) / Limits.attachmentBytesPerToken)
    }

    @Test(arguments: ["some words of prose, and more of them ", "日本語の文章", "a, b\\n"])
    func `long text is text`(_ text: String) throws {
        let summary = try summary("\"\(String(repeating: text, count: 500))\"")
        #expect(summary.attachmentBytes == 0)
        #expect(summary.attachmentTokens == 0)
    }
}
