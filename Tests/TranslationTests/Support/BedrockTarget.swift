import Primitives
import Wire

@testable import Translation

/// Opens calls at Bedrock the way the gateway does, from the texts of requests.
enum BedrockTarget {
    static let claude = "anthropic.claude-sonnet-4-5-20250929-v1:0"
    static let llama = "meta.llama3-3-70b-instruct-v1:0"
    static let nova = "us.amazon.nova-pro-v1:0"

    /// A client's request with the answer id and time that vectors expect.
    static func request(
        _ body: [UInt8], endpoint: Endpoint = .chatCompletions
    ) throws -> ClientRequest {
        var tape = JSONTape()
        return ClientRequest(
            endpoint: endpoint, body: body,
            summary: try RequestSummaryReader.read(body.span, tape: &tape, endpoint: endpoint),
            uniqueID: "TEST", requestID: "", createdSeconds: 1_700_000_000,
            traceFields: HeaderFields())
    }

    /// A chat call for a request, or the error that refuses it.
    static func chat(
        _ body: [UInt8], _ target: TargetOptions
    ) throws -> any BackendCall {
        try BedrockProvider.provider.open(request(body), target)
    }

    /// The same for the text of a request that lacks its `model`.
    static func chat(
        _ members: String, model: String = claude,
        _ change: (inout TargetOptions) -> Void = { _ in }
    ) throws -> any BackendCall {
        try chat(Array("{\"model\":\"gw-model\",\(members)}".utf8), options(model, change))
    }

    /// The canonical request that such a text is read into.
    static func read(
        _ members: String, model: String = claude,
        _ change: (inout TargetOptions) -> Void = { _ in }
    ) throws -> ChatRequest {
        let document = try JSONDocument(Array("{\"model\":\"gw-model\",\(members)}".utf8))
        let target = options(model, change)
        let profile = ModelProfile(modelID: model, overrides: target.profile)
        return try ChatCompletionsReader(profile: profile, target: target).read(document.root)
    }

    /// The Converse body for such a text.
    static func body(
        _ members: String, model: String = claude,
        _ change: (inout TargetOptions) -> Void = { _ in }
    ) throws -> JSONValue {
        let call = try chat(members, model: model, change)
        return try JSONDocument(call.requests[0].body).root
    }

    /// The error that refuses such a text; nil when it is accepted.
    static func refusal(
        _ members: String, model: String = claude,
        _ change: (inout TargetOptions) -> Void = { _ in }
    ) throws -> APIError? {
        do {
            _ = try chat(members, model: model, change)
            return nil
        } catch let error as APIError {
            return error
        }
    }

    /// An answer with a body.
    static func answer(
        _ body: [UInt8], status: Int = 200, fields: [(name: String, value: String)] = []
    ) -> UpstreamAnswer {
        var head = ResponseHead()
        head.status = status
        for field in fields { head.fields.append(name: field.name, value: Array(field.value.utf8)) }
        return UpstreamAnswer(head: head, body: body)
    }

    private static func options(
        _ model: String, _ change: (inout TargetOptions) -> Void
    ) -> TargetOptions {
        var target = TargetOptions()
        target.model = model
        change(&target)
        return target
    }
}

extension BackendCall {
    /// All requests in order.
    var requests: [UpstreamRequest] { (0..<requestCount).map { request($0) } }

    /// The result, with memory of its own.
    func finish(_ answers: [UpstreamAnswer]) throws(APIError) -> CallResult {
        var tape = JSONTape()
        return try finish(answers, tape: &tape)
    }
}

extension TargetOptions {
    /// The options of a vector's `target` and `profile`.
    init(vector target: JSONValue, profile: JSONValue? = nil) {
        self.init()
        model = target["model_id"]?.string
        isStrict = target["policy"]?.equals("strict") == true
        allowsS3 = target["allow_s3"]?.bool == true
        forwardsMetadata = target["forward_metadata"]?.bool == true
        guardrail = target.present("guardrail").map {
            Guardrail(
                identifier: $0["guardrailIdentifier"]?.string ?? "",
                version: $0["guardrailVersion"]?.string ?? "", trace: $0["trace"]?.string,
                streamProcessingMode: $0["streamProcessingMode"]?.string)
        }
        self.profile = (profile?.dictionary ?? [:]).mapValues { $0.string ?? $0.text }
    }
}
