import Primitives
import Wire

/// One request at an OpenAI-shaped backend (translation.md part F).
final class OpenAICall: BackendCall {
    let requestCount = 1
    let droppedParameters: [String] = []

    private let request: ClientRequest
    private let editor: OpenAIRequestEditor
    private let rewritesModel: Bool
    private var stream: OpenAIStream?

    init(_ request: ClientRequest, _ target: TargetOptions) {
        self.request = request
        rewritesModel = target.rewritesModel
        editor = OpenAIRequestEditor(request: request, target: target)
        guard request.summary.isStreamed else { return }
        stream = OpenAIStream(
            wantsUsage: request.summary.wantsUsage,
            modelName: target.rewritesModel ? request.summary.model : nil,
            mayBeCut: request.mayBeCut)
    }

    /// Made when it is sent: it then belongs to the sender alone, who adds to it.
    var requests: [UpstreamRequest] {
        // With what the gateway adds: a credential and configured fields.
        var fields = HeaderFields(reservingFields: 8, bytes: 384)
        fields.append("content-type", "application/json")
        fields.append(
            "accept", request.summary.isStreamed ? "text/event-stream" : "application/json")
        fields.append(contentsOf: request.forwardedFields)
        return [
            UpstreamRequest(
                path: Self.path(request.endpoint), fields: fields, body: editor.body())
        ]
    }

    /// The endpoint's path behind the backend's base URL, which holds the `/v1` already.
    private static func path(_ endpoint: Endpoint) -> [UInt8] {
        endpoint.path.withUTF8Buffer { unsafe Array($0.dropFirst("/v1".utf8.count)) }
    }

    func finish(_ answers: [UpstreamAnswer]) throws(APIError) -> CallResult {
        var tape = JSONTape()
        guard let answer = answers.first, (try? tape.parse(answer.body.span)) != nil, tape.isObject
        else { throw OpenAIErrors.malformed("answered with something that is not a JSON object") }
        let bytes = answer.body.span
        let choices = tape.member("choices", in: bytes)
        if choices == nil, let error = tape.member("error", in: bytes), tape.kind(error) == .object
        {
            throw classify(answer)
        }
        var result = CallResult(body: answer.body)
        if rewritesModel, let model = tape.member("model", in: bytes) {
            var editor = JSONEditor()
            editor.replace(tape.range(model), with: JSONText.string(request.summary.model))
            result.body = editor.apply(to: bytes)
        }
        if let usage = tape.member("usage", in: bytes) {
            result.usage = OpenAIUsage.read(usage, tape, bytes)
        }
        if let choices, tape.kind(choices) == .array, tape.next(after: choices) > choices + 1,
            let reason = tape.member("finish_reason", of: choices + 1, in: bytes)
        {
            result.finishReason = tape.text(reason, in: bytes)
        }
        if let tier = tape.member("service_tier", in: bytes) {
            result.serviceTier = tape.text(tier, in: bytes)
        }
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
        stream?.receive(bytes, into: &output)
    }

    func end(into output: inout StreamOutput) {
        guard case .open = output.state else { return }
        output.state = .failed(OpenAIErrors.incomplete)
    }

    func cut(_ usage: TokenUsage, into output: inout StreamOutput) {
        stream?.cut(request, usage, into: &output)
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
    static func read(_ usage: Int, _ tape: JSONTape, _ bytes: Span<UInt8>) -> TokenUsage? {
        func count(_ name: StaticString, _ object: Int) -> Int? {
            tape.member(name, of: object, in: bytes).flatMap { tape.integer($0, in: bytes) }
        }
        guard let input = count("prompt_tokens", usage) ?? count("total_tokens", usage) else {
            return nil
        }
        var tokens = TokenUsage()
        tokens.input = TokenUsage.count(input)
        tokens.output = TokenUsage.count(count("completion_tokens", usage))
        if let details = tape.member("prompt_tokens_details", of: usage, in: bytes) {
            tokens.cacheRead = TokenUsage.count(count("cached_tokens", details))
            // vLLM's created_cache_tokens are no charge of their own: only OpenAI's name counts.
            tokens.cacheWrite = TokenUsage.count(count("cache_write_tokens", details))
            tokens.audioInput = TokenUsage.count(count("audio_tokens", details))
        }
        if let details = tape.member("completion_tokens_details", of: usage, in: bytes) {
            tokens.reasoning = TokenUsage.count(count("reasoning_tokens", details))
            tokens.audioOutput = TokenUsage.count(count("audio_tokens", details))
        }
        return tokens
    }
}
