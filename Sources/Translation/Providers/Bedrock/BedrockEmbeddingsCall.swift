import Primitives
import Wire

/// One embeddings request at Bedrock: an InvokeModel for each input, or for up to 96 (rule D2).
final class BedrockEmbeddingsCall: BackendCall {
    /// The body shapes of bedrock-api.md section 6.2.
    private enum Family {
        case titanV1, titanV2, cohere(hasDimensions: Bool), nova
    }

    private static let cohereBatch = 96

    var requestCount: Int { requests.count }
    let droppedParameters: [String] = []

    private let request: ClientRequest
    private let requests: [UpstreamRequest]
    private let embeddings: EmbeddingsRequest
    /// How many inputs a call takes.
    private let batch: Int

    /// - Throws: a 400 for what the model cannot do.
    init(_ request: ClientRequest, _ target: TargetOptions) throws(APIError) {
        guard let document = request.document else {
            throw .badRequest("invalid_json", param: nil, "The request body is not valid JSON.")
        }
        let modelID = target.model ?? request.summary.model
        let family = try Self.family(modelID)
        let embeddings = try EmbeddingsRequest(document.root)
        if embeddings.dimensions != nil, !Self.takesDimensions(family) {
            throw RequestFields.unsupported("dimensions")
        }
        self.request = request
        self.embeddings = embeddings
        batch = Self.batch(family)
        let path = BedrockPath.make(modelID, operation: "invoke")
        let fields = BedrockPath.fields(request)
        requests = Self.bodies(family, embeddings, inputType: target.embeddingInputType).map {
            UpstreamRequest(path: path, fields: fields, body: $0)
        }
    }

    func request(_ index: Int) -> UpstreamRequest { requests[index] }

    func finish(
        _ answers: [UpstreamAnswer], tape: inout JSONTape
    ) throws(APIError) -> CallResult {
        var writer = EmbeddingsWriter(isBase64: embeddings.isBase64)
        var tokens = 0
        var isCounted = true
        var missing = embeddings.inputs.count
        for answer in answers {
            guard (try? tape.parse(answer.body.span)) != nil else {
                throw OpenAIErrors.malformed("answered with something that is not JSON")
            }
            let document = JSONDocument(answer.body, tape: tape)
            let vectors = Self.vectors(document.root)
            guard vectors.count == min(batch, missing), vectors.allSatisfy(Self.isVector) else {
                throw OpenAIErrors.malformed("answered with something that is not embeddings")
            }
            for vector in vectors { writer.append(vector) }
            missing -= vectors.count
            let count = Self.tokens(document.root, answer.head)
            tokens += TokenUsage.count(count)
            isCounted = isCounted && count != nil
        }
        guard missing == 0 else {
            throw OpenAIErrors.malformed("answered with too few embeddings")
        }
        var result = CallResult(body: writer.finish(model: request.summary.model, tokens: tokens))
        // What was not counted was not free: it is estimated then.
        if isCounted { result.usage = TokenUsage(input: tokens, output: 0) }
        return result
    }

    func begin(_ head: ResponseHead, into output: inout StreamOutput) {}
    func receive(_ bytes: Span<UInt8>, into output: inout StreamOutput) {}
    func end(into output: inout StreamOutput) {}
    func cut(_ usage: TokenUsage, into output: inout StreamOutput) {}

    func classify(_ answer: UpstreamAnswer) -> APIError { BedrockErrors.classify(answer) }

    // MARK: - Requests

    private static func family(_ modelID: String) throws(APIError) -> Family {
        if modelID.contains("titan-embed-text-v2") { return .titanV2 }
        if modelID.contains("titan-embed") { return .titanV1 }
        if modelID.contains("cohere.embed-v4") { return .cohere(hasDimensions: true) }
        if modelID.contains("cohere.embed") { return .cohere(hasDimensions: false) }
        if modelID.contains("nova-2-multimodal-embeddings") { return .nova }
        throw .unsupported(
            "unsupported_value", param: "model", "The model behind this name makes no embeddings.")
    }

    private static func takesDimensions(_ family: Family) -> Bool {
        switch family {
        case .titanV2, .nova, .cohere(hasDimensions: true): true
        case .titanV1, .cohere: false
        }
    }

    private static func batch(_ family: Family) -> Int {
        if case .cohere = family { cohereBatch } else { 1 }
    }

    private static func bodies(
        _ family: Family, _ embeddings: EmbeddingsRequest, inputType: String
    ) -> [[UInt8]] {
        guard case .cohere = family else {
            return embeddings.inputs.map { body(family, $0, embeddings.dimensions) }
        }
        return stride(from: 0, to: embeddings.inputs.count, by: batch(family)).map { start in
            let end = min(start + batch(family), embeddings.inputs.count)
            return cohereBody(
                embeddings.inputs[start..<end], embeddings.dimensions, inputType: inputType)
        }
    }

    private static func body(_ family: Family, _ text: [UInt8], _ dimensions: Int?) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        if case .nova = family {
            writer.key("taskType")
            writer.string("SINGLE_EMBEDDING")
            writer.key("singleEmbeddingParams")
            writer.beginObject()
            writer.key("embeddingPurpose")
            writer.string("GENERIC_INDEX")
            write(dimensions, as: "embeddingDimension", to: &writer)
            writer.key("text")
            writer.beginObject()
            writer.key("truncationMode")
            writer.string("NONE")
            writer.key("value")
            writer.string(bytes: text)
            writer.endObject()
            writer.endObject()
        } else {
            writer.key("inputText")
            writer.string(bytes: text)
            write(dimensions, as: "dimensions", to: &writer)
            if case .titanV2 = family {
                writer.key("normalize")
                writer.bool(true)
            }
        }
        writer.endObject()
        return writer.bytes
    }

    private static func cohereBody(
        _ texts: ArraySlice<[UInt8]>, _ dimensions: Int?, inputType: String
    ) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("texts")
        writer.beginArray()
        for text in texts { writer.string(bytes: text) }
        writer.endArray()
        writer.key("input_type")
        writer.string(text: inputType)
        writer.key("embedding_types")
        writer.beginArray()
        writer.string("float")
        writer.endArray()
        write(dimensions, as: "output_dimension", to: &writer)
        writer.endObject()
        return writer.bytes
    }

    private static func write(
        _ dimensions: Int?, as name: StaticString, to writer: inout JSONWriter
    ) {
        guard let dimensions else { return }
        writer.key(name)
        writer.integer(dimensions)
    }

    // MARK: - Answers

    /// The vectors of one answer, whichever of the shapes it has.
    private static func vectors(_ root: JSONValue) -> [JSONValue] {
        if let vector = root.present("embedding") { return [vector] }
        guard let embeddings = root.present("embeddings") else { return [] }
        if let floats = embeddings.present("float") { return Array(floats.elements) }
        return embeddings.elements.map { $0.present("embedding") ?? $0 }
    }

    private static func isVector(_ value: JSONValue) -> Bool {
        value.kind == .array && value.elements.allSatisfy { $0.kind == .number }
    }

    /// Tokens from the body or, failing that, from the header; nil when neither says.
    private static func tokens(_ root: JSONValue, _ head: ResponseHead) -> Int? {
        let counted = head.fields.value(of: "x-amzn-bedrock-input-token-count").flatMap {
            Int(String(decoding: $0, as: UTF8.self))
        }
        return root["inputTextTokenCount"]?.int ?? counted
    }
}
