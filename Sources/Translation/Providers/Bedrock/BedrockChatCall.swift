import Primitives
import Wire

/// One chat request at Bedrock: Converse, or ConverseStream when it is streamed.
final class BedrockChatCall: BackendCall {
    let requestCount = 1
    let droppedParameters: [String]
    let missingImages: [[UInt8]]
    private(set) var usageOfNothing: TokenUsage?

    private let request: ClientRequest
    private let upstreamRequest: UpstreamRequest
    private let tools: ChatTools
    private var stream: ConverseStreamReader?

    /// - Throws: a 400 for what Converse cannot do.
    init(_ request: ClientRequest, _ target: TargetOptions) throws(APIError) {
        let modelID = target.model ?? request.summary.model
        let profile = ModelProfile(modelID: modelID, overrides: target.profile)
        guard let document = request.document else {
            throw .badRequest("invalid_json", param: nil, "The request body is not valid JSON.")
        }
        var reader = ChatCompletionsReader(profile: profile, target: target)
        reader.fetchesImages = target.fetchesImages
        reader.fetchedImages = target.fetchedImages
        let chat = try reader.read(document.root)
        missingImages = chat.remoteImages
        self.request = request
        tools = chat.tools
        droppedParameters = chat.dropped
        let isStreamed = chat.isStreamed
        var writer = ConverseRequestWriter(
            request: consume chat, profile: profile, guardrail: target.guardrail,
            writer: JSONWriter(reservingBytes: request.body.count + 256))
        upstreamRequest = UpstreamRequest(
            path: BedrockPath.make(
                modelID, operation: isStreamed ? "converse-stream" : "converse"),
            fields: BedrockPath.fields(request), body: writer.body())
        if isStreamed {
            stream = ConverseStreamReader(writer: ChatChunkWriter(request: request, tools: tools))
        }
    }

    func request(_ index: Int) -> UpstreamRequest { upstreamRequest }

    func finish(
        _ answers: [UpstreamAnswer], tape: inout JSONTape
    ) throws(APIError) -> CallResult {
        let body = answers.isEmpty ? [] : answers[0].body
        guard (try? tape.parse(body.span)) != nil else {
            throw OpenAIErrors.malformed("answered with something that is not JSON")
        }
        let document = JSONDocument(body, tape: tape)
        let (chat, stopReason) = try ConverseAnswerReader.read(document.root)
        guard !chat.isMalformed else {
            usageOfNothing = chat.usage
            throw .malformedModelOutput
        }
        var writer = ChatAnswerWriter(request: request, tools: tools)
        var result = writer.write(chat)
        if !stopReason.isEmpty, stopReason.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) {
            result.fields.append("x-sluice-stop-reason", stopReason)
        }
        return result
    }

    func begin(_ head: ResponseHead, into output: inout StreamOutput) {}

    func receive(_ bytes: Span<UInt8>, into output: inout StreamOutput) {
        stream?.receive(bytes, into: &output)
    }

    func end(into output: inout StreamOutput) { stream?.end(into: &output) }

    func cut(_ usage: TokenUsage, into output: inout StreamOutput) {
        stream?.cut(usage, into: &output)
    }

    func classify(_ answer: UpstreamAnswer) -> APIError { BedrockErrors.classify(answer) }
}

/// Paths and fields of Bedrock's requests (bedrock-api.md section 1).
enum BedrockPath {
    /// `/model/{modelId}/operation`; the id is one segment, everything else in it encoded.
    static func make(_ modelID: String, operation: StaticString) -> [UInt8] {
        var path = [UInt8]("/model/")
        path.append(contentsOf: PercentEncoding.encode(Array(modelID.utf8)))
        path.append("/")
        path.append(operation)
        return path
    }

    static func fields(_ request: ClientRequest) -> HeaderFields {
        var fields = HeaderFields()
        fields.append("content-type", "application/json")
        fields.append("accept", "application/json")
        if let trace = request.traceFields.value(of: "traceparent") {
            fields.append("traceparent", trace)
        }
        return fields
    }
}
