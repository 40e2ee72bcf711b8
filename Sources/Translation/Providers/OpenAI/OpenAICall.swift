import Primitives
import Wire

/// One request at an OpenAI-shaped backend (translation.md part F).
final class OpenAICall: BackendCall {
    let requests: [UpstreamRequest]
    let droppedParameters: [String] = []

    private let request: ClientRequest
    private let target: TargetOptions
    private var stream: OpenAIStream

    init(_ request: ClientRequest, _ target: TargetOptions) {
        self.request = request
        self.target = target
        stream = OpenAIStream(
            wantsUsage: request.summary.wantsUsage,
            modelName: target.rewritesModel ? request.summary.model : nil)
        var fields = HeaderFields()
        fields.append("content-type", "application/json")
        fields.append(
            "accept", request.summary.isStreamed ? "text/event-stream" : "application/json")
        fields.append(contentsOf: request.forwardedFields)
        let body = OpenAIRequestEditor(request: request, target: target).body()
        requests = [UpstreamRequest(path: Self.path(request.endpoint), fields: fields, body: body)]
    }

    /// The endpoint's path behind the backend's base URL, which holds the `/v1` already.
    private static func path(_ endpoint: Endpoint) -> [UInt8] {
        Array([UInt8](endpoint.path).dropFirst("/v1".utf8.count))
    }

    func finish(_ answers: [UpstreamAnswer]) throws(APIError) -> CallResult {
        guard let answer = answers.first, let document = try? JSONDocument(answer.body),
            document.root.kind == .object
        else { throw OpenAIErrors.malformed("answered with something that is not a JSON object") }
        if document.root.present("error")?.kind == .object, document.root["choices"] == nil {
            throw classify(answer)
        }
        var result = CallResult(body: answer.body)
        if target.rewritesModel, let model = document.root["model"] {
            var editor = JSONEditor()
            editor.replace(model.range, with: JSONText.string(request.summary.model))
            result.body = editor.apply(to: answer.body.span)
        }
        result.usage = document.root.present("usage").flatMap { OpenAIUsage.read($0) }
        var choices = document.root["choices"]?.elements
        result.finishReason = choices?.next()?["finish_reason"]?.string
        result.serviceTier = document.root["service_tier"]?.string
        return result
    }

    func begin(_ head: ResponseHead, into output: inout StreamOutput) {
        guard let index = head.fields.index(of: "content-type"),
            head.fields.value(at: index).starts(with: "text/event-stream")
        else {
            output.state = .failed(
                OpenAIErrors.malformed("answered a streamed request without an event stream"))
            return
        }
    }

    func receive(_ bytes: Span<UInt8>, into output: inout StreamOutput) {
        stream.receive(bytes, into: &output)
    }

    func end(into output: inout StreamOutput) {
        guard case .open = output.state else { return }
        output.state = .failed(OpenAIErrors.incomplete)
    }

    func classify(_ answer: UpstreamAnswer) -> APIError {
        OpenAIErrors.classify(answer, model: request.summary.model)
    }
}

/// JSON text for single values.
enum JSONText {
    /// A string with its quotes and escapes.
    static func string(_ text: String) -> [UInt8] {
        var writer = JSONWriter()
        writer.string(text: text)
        return writer.bytes
    }
}

/// The `usage` object of OpenAI-shaped answers.
enum OpenAIUsage {
    /// The tokens; nil when it holds no counts (rule F3: details may be null or missing).
    static func read(_ usage: JSONValue) -> TokenUsage? {
        guard let input = usage["prompt_tokens"]?.int ?? usage["total_tokens"]?.int else {
            return nil
        }
        var tokens = TokenUsage()
        tokens.input = TokenUsage.claimed(input)
        tokens.output = TokenUsage.claimed(usage["completion_tokens"]?.int)
        if let details = usage.present("prompt_tokens_details") {
            tokens.cacheRead = TokenUsage.claimed(details["cached_tokens"]?.int)
            // vLLM's created_cache_tokens are no charge of their own: only OpenAI's name counts.
            tokens.cacheWrite = TokenUsage.claimed(details["cache_write_tokens"]?.int)
            tokens.audioInput = TokenUsage.claimed(details["audio_tokens"]?.int)
        }
        if let details = usage.present("completion_tokens_details") {
            tokens.reasoning = TokenUsage.claimed(details["reasoning_tokens"]?.int)
            tokens.audioOutput = TokenUsage.claimed(details["audio_tokens"]?.int)
        }
        return tokens
    }
}
