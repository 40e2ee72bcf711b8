import Testing
import Wire

@testable import Translation

@Suite struct BedrockErrorTests {
    @Test(arguments: try Vector.all("errors", where: { $0["upstream"]?.equals("bedrock") == true }))
    func `an exception becomes an error of OpenAI's`(_ vector: Vector) throws {
        let fields = try #require(vector.input["headers"]).members.map {
            ($0.key.string ?? "", $0.value.string ?? "")
        }
        let error = BedrockErrors.classify(
            BedrockTarget.answer(
                vector.input["body"]?.stringBytes ?? [], status: vector.input["status"]?.int ?? 0,
                fields: fields))
        let body = try #require(vector.expect["body"]?["error"])
        #expect(error.status == vector.expect["status"]?.int)
        #expect(error.message == body["message"]?.string)
        #expect(error.type == body["type"]?.string)
        #expect(error.code == body["code"]?.string)
        #expect(error.param == body["param"]?.string)
        let expected = try #require(vector.expect["headers"]).dictionary
        #expect(error.retryAfterSeconds.map { "\($0)" } == expected["retry-after"]?.string)
        #expect(error.shouldRetry.map { "\($0)" } == expected["x-should-retry"]?.string)
    }

    private func classify(
        _ name: String, _ status: Int, _ body: String = #"{"message":"m"}"#,
        fields: [(name: String, value: String)] = []
    ) -> APIError {
        BedrockErrors.classify(
            BedrockTarget.answer(
                Array(body.utf8), status: status,
                fields: [(name: "x-amzn-ErrorType", value: name)] + fields))
    }

    @Test(arguments: [
        "Input is too long for requested model.", "prompt is too long: 200001 tokens",
        "The maximum context length is 8192", "exceeds the maximum number of tokens",
        "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000",
        "input exceeds the model's limit", "context window", "Too many input tokens",
        "Too many tokens", "Input is too large",
    ])
    func `a prompt that is too long is told apart`(_ message: String) {
        let error = classify("ValidationException", 400, #"{"message":"\#(message)"}"#)
        #expect(error.code == "context_length_exceeded")
        #expect(error.param == "messages")
        #expect(error.message == message)
        #expect(!error.isWorthAnotherTarget)
    }

    @Test(arguments: [
        "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException",
        "IncompleteSignatureException", "MissingAuthenticationTokenException",
    ])
    func `our own credential's fault is not the client's`(_ name: String) {
        let error = classify(name, 403, #"{"message":"key AKIDSECRET is bad"}"#)
        #expect(error.status == 500)
        #expect(error.code == "upstream_authentication_failed")
        #expect(!error.message.contains("AKIDSECRET"))
        #expect(error.blamesCredential)
        #expect(error.isWorthAnotherTarget)
        #expect(error.shouldRetry == false)
    }

    @Test(arguments: [
        ("ThrottlingException:http://x", 429, 429, true),
        ("a.b#ModelNotReadyException", 429, 503, true),
        ("ModelTimeoutException", 408, 504, true), ("ModelErrorException", 424, 502, true),
        ("InternalServerException", 500, 500, true),
        ("ServiceUnavailableException", 503, 503, true),
        ("AccessDeniedException", 403, 403, false), ("ResourceNotFoundException", 404, 404, false),
        ("ValidationException", 400, 400, false), ("NovelException", 418, 418, false),
        ("NovelException", 507, 502, true), ("NovelException", 302, 502, true),
    ])
    func `another target is worth a try when the backend failed`(
        _ name: String, _ status: Int, _ expected: Int, _ isWorthIt: Bool
    ) {
        let error = classify(name, status)
        #expect(error.status == expected)
        #expect(error.isWorthAnotherTarget == isWorthIt)
        #expect(error.origin == .upstream)
    }

    @Test func `a model's failure carries the status it had`() {
        let refused = classify(
            "ModelErrorException", 424, #"{"message":"m","originalStatusCode":400}"#)
        #expect(refused.status == 400)
        #expect(refused.code == "model_error")
        #expect(refused.isWorthAnotherTarget)
        let throttled = classify(
            "ModelErrorException", 424, #"{"message":"m","originalStatusCode":429}"#)
        #expect(throttled.code == "rate_limit_exceeded")
    }

    @Test(arguments: [
        (429, "ThrottlingException", 9), (503, "ServiceUnavailableException", 9),
        (500, "InternalServerException", nil), (403, "AccessDeniedException", nil),
    ])
    func `retry-after goes on where waiting helps`(_ status: Int, _ name: String, _ wait: Int?) {
        let error = classify(name, status, fields: [(name: "Retry-After", value: "9")])
        #expect(error.retryAfterSeconds == wait)
    }

    @Test(arguments: [
        ("Sun, 06 Nov 1994 08:50:07 GMT", 30), ("Sunday, 06-Nov-94 08:49:38 GMT", 1),
        ("Sun Nov  6 09:49:37 1994", 3600), ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        ("soon", nil), ("-1", nil), ("120", 120),
    ])
    func `a date to wait for becomes seconds`(_ date: String, _ wait: Int?) {
        let now = (name: "Date", value: "Sun, 06 Nov 1994 08:49:37 GMT")
        let until = (name: "Retry-After", value: date)
        let error = classify("ThrottlingException", 429, fields: [now, until])
        #expect(error.retryAfterSeconds == wait)
    }

    @Test(arguments: [
        (#"{"__type":"com.amazon#ThrottlingException","Message":"slow"}"#, "slow"),
        (#"{"code":"ThrottlingException:x"}"#, "upstream returned status 429"),
    ])
    func `without the header the body names the exception`(_ body: String, _ message: String) {
        let error = BedrockErrors.classify(BedrockTarget.answer(Array(body.utf8), status: 429))
        #expect(error.code == "rate_limit_exceeded")
        #expect(error.message == message)
    }
}
