import Primitives
import Wire

/// One request at an OpenAI-shaped backend (translation.md part F).
final class OpenAICall: BackendCall {
    let requestCount = 1
    let droppedParameters: [String] = []
    private(set) var usageOfNothing: TokenUsage?

    private let request: ClientRequest
    private let editor: OpenAIRequestEditor
    private let rewritesModel: Bool
    private var stream: OpenAIStream?

    /// Of the options only these: an initializer would get a copy of all.
    static func open(_ request: ClientRequest, _ target: TargetOptions) -> OpenAICall {
        OpenAICall(
            OpenAIRequestEditor(
                request: request, model: target.model, isLegacyDialect: target.isLegacyDialect),
            request, rewritesModel: target.rewritesModel)
    }

    private init(
        _ editor: OpenAIRequestEditor, _ request: ClientRequest, rewritesModel: Bool
    ) {
        self.editor = editor
        self.request = request
        self.rewritesModel = rewritesModel
        guard request.summary.isStreamed else { return }
        stream = OpenAIStream(
            wantsUsage: request.summary.wantsUsage,
            modelName: rewritesModel ? request.summary.model : nil, mayBeCut: request.mayBeCut)
    }

    /// Made when it is sent: it then belongs to the sender alone, who adds to it.
    func request(_ index: Int) -> UpstreamRequest {
        // With what the gateway adds: a credential and configured fields.
        var fields = HeaderFields(reservingFields: 8, bytes: 384)
        fields.append("content-type", "application/json")
        fields.append(
            "accept", request.summary.isStreamed ? "text/event-stream" : "application/json")
        fields.append(contentsOf: request.traceFields)
        fields.append("x-request-id", text: request.requestID)
        return UpstreamRequest(
            path: request.endpoint.pathBehindBase, fields: fields, body: editor.body())
    }

    func finish(
        _ answers: [UpstreamAnswer], tape: inout JSONTape
    ) throws(APIError) -> CallResult {
        let body = answers.isEmpty ? [] : answers[0].body
        let bytes = body.span
        guard (try? tape.parse(bytes)) != nil, tape.isObject else {
            throw OpenAIErrors.malformed("answered with something that is not a JSON object")
        }
        let members = OpenAIMembers(tape, bytes)
        let hasChoices = members.choices.map { tape.kind($0) != .null } ?? false
        if !hasChoices, let error = members.error, tape.kind(error) == .object {
            // Whatever the status says, nothing was made.
            usageOfNothing = TokenUsage()
            throw classify(answers[0])
        }
        var result = CallResult(
            body: renamed(body, members.model.map { tape.range($0) }),
            usage: members.usage.flatMap { OpenAIUsage.read($0, tape, bytes) },
            finishReason: members.choices.flatMap { Self.finishReason($0, tape, bytes) },
            serviceTier: members.serviceTier.flatMap { tape.text($0, in: bytes) })
        if result.usage == nil, let choices = members.choices {
            result.outputBytes = Self.outputBytes(choices, tape, bytes)
        }
        return result
    }

    /// How much the choices say: texts, or all that messages hold beside the role.
    private static func outputBytes(
        _ choices: Int, _ tape: JSONTape, _ bytes: Span<UInt8>
    ) -> Int {
        guard tape.kind(choices) == .array else { return 0 }
        var sum = 0
        var choice = choices + 1
        while choice < tape.next(after: choices) {
            if let message = tape.member("message", of: choice, in: bytes) {
                tape.forEachMember(of: message, in: bytes) { name, value in
                    if !name.equals("role") { sum += contentBytes(value, tape) }
                }
            } else if let text = tape.member("text", of: choice, in: bytes) {
                sum += contentBytes(text, tape)
            }
            choice = tape.next(after: choice)
        }
        return sum
    }

    /// What stands between quotes or brackets; numbers and null say nothing.
    private static func contentBytes(_ node: Int, _ tape: JSONTape) -> Int {
        switch tape.kind(node) {
        case .string, .array, .object: tape.range(node).count - 2
        default: 0
        }
    }

    /// That of the first choice.
    private static func finishReason(
        _ choices: Int, _ tape: JSONTape, _ bytes: Span<UInt8>
    ) -> String? {
        guard tape.kind(choices) == .array, tape.next(after: choices) > choices + 1 else {
            return nil
        }
        return OpenAIChoice(tape, choices + 1, bytes).finishReason.flatMap {
            tape.text($0, in: bytes)
        }
    }

    /// The body with the client's name of the model in it, where the target says so.
    private func renamed(_ body: [UInt8], _ model: Range<Int>?) -> [UInt8] {
        guard rewritesModel, let model else { return body }
        var editor = JSONEditor()
        editor.replace(model, with: JSONText.string(request.summary.model))
        return editor.apply(to: body.span)
    }

    func begin(_ head: ResponseHead, into output: inout StreamOutput) {
        // Media types have no case (RFC 9110 section 8.3.1).
        guard let index = head.fields.index(of: "content-type"),
            head.fields.value(at: index).startsIgnoringCase(with: "text/event-stream")
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
        stream?.end(into: &output)
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
