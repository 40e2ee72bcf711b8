public import Primitives
import Synchronization
import Wire

/// The simulated upstream: OpenAI and vLLM under `/v1`, Bedrock under `/model`.
public final class SimulatedBackend: Sendable {
    let options: SimulatorOptions
    /// Answers that are being played, as `vllm:num_requests_running` shows them.
    let running = Atomic<Int>(0)
    private let produced = Locked((answers: 0, input: 0, output: 0))

    /// A backend.
    public init(options: SimulatorOptions) { self.options = options }

    /// The reply to a request at a time.
    public func reply(to request: SimulatedRequest, now: WallTime) -> SimulatedReply {
        let path = request.path
        if path.span.starts(with: "/model/") { return replyAsBedrock(request, now: now) }
        switch String(decoding: path, as: UTF8.self) {
        case "/health": return SimulatedReply()
        case "/metrics": return metrics()
        case "/v1/models": return .json(OpenAIDialect.models)
        case "/v1/chat/completions", "/v1/completions", "/v1/embeddings":
            return replyAsOpenAI(request, path)
        default: return .json([UInt8](#"{"detail":"Not Found"}"#), status: 404)
        }
    }

    private func replyAsOpenAI(_ request: SimulatedRequest, _ path: [UInt8]) -> SimulatedReply {
        if let key = options.apiKey,
            request.head.fields.value(of: "authorization") != Array("Bearer \(key)".utf8)
        {
            return OpenAIDialect.error(401, "AuthenticationError", "Invalid or missing API key.")
        }
        guard let document = try? JSONDocument(request.body), document.root.kind == .object,
            let model = document.root["model"]?.stringBytes
        else { return OpenAIDialect.error(400, "Bad Request", "The body is not a request.") }
        let dialect = OpenAIDialect(
            root: document.root, model: model, body: request.body, options: options)
        if path.span.equals("/v1/embeddings") { return dialect.embeddings() }
        return dialect.completion(isChat: path.span.equals("/v1/chat/completions"))
    }

    private func replyAsBedrock(_ request: SimulatedRequest, now: WallTime) -> SimulatedReply {
        if let problem = SignatureCheck(options: options).problem(request, now: now) {
            return ConverseDialect.error(403, "InvalidSignatureException", problem)
        }
        guard let document = try? JSONDocument(request.body), document.root.kind == .object else {
            return ConverseDialect.error(400, "ValidationException", "The body is not JSON.")
        }
        let dialect = ConverseDialect(
            root: document.root, body: request.body, options: options)
        switch request.path.split(separator: UInt8(ascii: "/")).last.map({ Array($0) }) {
        case [UInt8]("converse"): return dialect.converse()
        case [UInt8]("converse-stream"): return dialect.converseStream()
        case [UInt8]("invoke"): return dialect.invoke()
        default:
            return ConverseDialect.error(
                404, "ResourceNotFoundException", "There is no such operation.")
        }
    }

    /// Counts an answer that was told to its end.
    func count(_ reply: SimulatedReply) {
        guard let tokens = reply.tokens else { return }
        produced.withLock {
            $0.answers += 1
            $0.input += tokens.input
            $0.output += tokens.output
        }
    }

    private func metrics() -> SimulatedReply {
        var reply = SimulatedReply()
        reply.fields.append("content-type", "text/plain; version=0.0.4")
        let count = running.load(ordering: .relaxed)
        let produced = produced.withLock { $0 }
        let text = """
            # TYPE vllm:request_success_total counter
            vllm:request_success_total{model_name="simulated"} \(produced.answers)
            # TYPE vllm:prompt_tokens_total counter
            vllm:prompt_tokens_total{model_name="simulated"} \(produced.input)
            # TYPE vllm:generation_tokens_total counter
            vllm:generation_tokens_total{model_name="simulated"} \(produced.output)
            # TYPE vllm:num_requests_running gauge
            vllm:num_requests_running{model_name="simulated"} \(count)

            """
        reply.writes = [SimulatedReply.Write(afterMilliseconds: 0, bytes: Array(text.utf8))]
        return reply
    }
}

/// Vectors that depend on the text alone.
enum SimulatedVector {
    static func write(_ text: [UInt8], count: Int, to writer: inout JSONWriter) {
        let digest = SHA256.digest(text.span)
        writer.beginArray()
        for index in 0..<count {
            writer.double((Double(digest.bytes[index % 32]) - 127.5) / 128)
        }
        writer.endArray()
    }

    static func values(_ text: [UInt8], count: Int) -> [Float] {
        let digest = SHA256.digest(text.span)
        return (0..<count).map { (Float(digest.bytes[$0 % 32]) - 127.5) / 128 }
    }
}
