import Testing

@testable import Translation

@Suite struct RequestValidationTests {
    static let user = #""messages":[{"role":"user","content":"q"}]"#

    @Test(arguments: [
        (#""n":0"#, "invalid_value", "n"), (#""n":129"#, "invalid_value", "n"),
        (#""n":2"#, "unsupported_parameter", "n"), (#""n":"2""#, "invalid_type", "n"),
        (#""logprobs":true"#, "unsupported_parameter", "logprobs"),
        (#""logprobs":1"#, "invalid_type", "logprobs"),
        (#""top_logprobs":"1""#, "invalid_type", "top_logprobs"),
        (#""parallel_tool_calls":"false""#, "invalid_type", "parallel_tool_calls"),
        (#""top_logprobs":1"#, "unsupported_parameter", "top_logprobs"),
        (#""modalities":["text","audio"],"audio":{}"#, "unsupported_parameter", "modalities"),
        (#""modalities":["text"],"audio":{"voice":"a"}"#, "unsupported_parameter", "audio"),
        (#""web_search_options":{}"#, "unsupported_parameter", "web_search_options"),
        (#""moderation":{}"#, "unsupported_parameter", "moderation"),
        (#""temperature":2.01"#, "invalid_value", "temperature"),
        (#""temperature":1e999"#, "invalid_value", "temperature"),
        (#""temperature":"1""#, "invalid_type", "temperature"),
        (#""top_p":-0.1"#, "invalid_value", "top_p"),
        (#""frequency_penalty":2.5"#, "invalid_value", "frequency_penalty"),
        (#""presence_penalty":-3"#, "invalid_value", "presence_penalty"),
        (#""presence_penalty":true"#, "invalid_type", "presence_penalty"),
        (#""max_completion_tokens":0"#, "invalid_value", "max_completion_tokens"),
        (#""max_completion_tokens":1.5"#, "invalid_type", "max_completion_tokens"),
        (#""top_k":1.5"#, "invalid_type", "top_k"),
        (#""reasoning_effort":"huge""#, "invalid_value", "reasoning_effort"),
        (#""stop":7"#, "invalid_type", "stop"), (#""stop":["a",7]"#, "invalid_type", "stop"),
        (#""tools":{"type":"function"}"#, "invalid_type", "tools"),
        (
            #""tools":[{"type":"function","function":{"name":"f","parameters":"{}"}}]"#,
            "invalid_type", "tools[0].function.parameters"
        ),
        (
            #""functions":[{"name":"f","parameters":[]}]"#, "invalid_type",
            "functions[0].parameters"
        ),
        (#""thinking":true"#, "invalid_type", "thinking"),
        (#""response_format":{"type":"xml"}"#, "invalid_value", "response_format.type"),
        (
            #""response_format":{"type":"json_schema","json_schema":{}}"#,
            "missing_required_parameter", "response_format.json_schema.name"
        ),
        (
            #""response_format":{"type":"json_schema","json_schema":{"name":"n","schema":[]}}"#,
            "invalid_type", "response_format.json_schema.schema"
        ),
    ])
    func `a field that cannot be is named`(
        _ field: String, _ code: String, _ param: String
    ) throws {
        let error = try #require(try BedrockTarget.refusal("\(Self.user),\(field)"))
        #expect(error.status == 400)
        #expect(error.type == "invalid_request_error")
        #expect(error.code == code)
        #expect(error.param == param)
        #expect(error.origin == .client)
    }

    @Test(arguments: [
        (#""n":1"#), (#""n":1.0"#), (#""logprobs":false,"top_logprobs":0"#), (#""audio":null"#),
        (#""modalities":["text"]"#), (#""frequency_penalty":0,"presence_penalty":0.0"#),
        (#""logit_bias":{}"#), (#""user":"u","store":true,"metadata":{"a":"b"}"#),
        (#""prediction":{"type":"content","content":"x"},"prompt_cache_key":"k""#),
        (#""prompt_cache_retention":"24h","prompt_cache_options":{},"safety_identifier":"s""#),
        (#""parallel_tool_calls":true,"tools":[],"functions":[]"#),
        (#""tool_choice":"auto""#), (#""tool_choice":"none""#), (#""service_tier":"auto""#),
        (#""response_format":{"type":"text"}"#), (#""reasoning_effort":"none""#),
        (#""temperature":1"#), (#""stop":"","some_future_field":{"x":[1]}"#),
    ])
    func `what is neutral or ignored changes nothing, even under a strict policy`(
        _ field: String
    ) throws {
        let call = try BedrockTarget.chat("\(Self.user),\(field)") { $0.isStrict = true }
        #expect(call.droppedParameters == [])
        let body = String(decoding: call.requests[0].body, as: UTF8.self)
        let inference =
            field.contains("temperature") ? #","inferenceConfig":{"temperature":1}"# : ""
        #expect(
            body == #"{"messages":[{"role":"user","content":[{"text":"q"}]}]"# + inference + "}")
    }

    @Test(arguments: [
        ("frequency_penalty", "0.5"), ("presence_penalty", "-1"), ("logit_bias", #"{"1":2}"#),
        ("seed", "7"), ("verbosity", #""low""#), ("temperature", "1.5"),
        ("service_tier", #""scale""#), ("stop", #"["a","  "]"#),
    ])
    func `a hint is named and dropped, or refused under a strict policy`(
        _ name: String, _ value: String
    ) throws {
        let request = "\(Self.user),\"\(name)\":\(value)"
        #expect(try BedrockTarget.chat(request).droppedParameters == [name])
        let error = try #require(try BedrockTarget.refusal(request) { $0.isStrict = true })
        #expect(error.code == "unsupported_parameter")
        #expect(error.param == name)
    }

    @Test func `checks come in the order of the rules`() throws {
        var request = #""messages":[],"n":2,"logprobs":true,"temperature":9,"top_p":9"#
        for (fixed, param) in [
            ("", "messages"), (#""messages":[]"#, "n"), (#""n":2"#, "logprobs"),
            (#""logprobs":true"#, "temperature"), (#""temperature":9"#, "top_p"),
        ] {
            if fixed == #""messages":[]"# {
                request = request.replacingFirst(fixed, with: #""messages":[{"role":"x"}]"#)
            } else if !fixed.isEmpty {
                request = request.replacingFirst("\(fixed),", with: "")
            }
            #expect(try BedrockTarget.refusal(request)?.param == param)
        }
        #expect(
            try BedrockTarget.refusal(#""messages":[{"role":"x"}]"#)?.param == "messages[0].role")
        #expect(try BedrockTarget.refusal(#""messages":{}"#)?.code == "missing_required_parameter")
    }
}

extension String {
    fileprivate func replacingFirst(_ text: String, with other: String) -> String {
        guard let range = firstRange(of: text) else { return self }
        return replacingCharacters(in: range, with: other)
    }

    private func replacingCharacters(in range: Range<Index>, with other: String) -> String {
        String(self[..<range.lowerBound]) + other + String(self[range.upperBound...])
    }
}
