import Primitives
import Wire

/// Backends that speak OpenAI's own dialect: bodies pass through byte for byte (rule F1).
public enum OpenAIProvider {
    /// Kind `openai`: OpenAI itself and whatever is compatible with it.
    public static let provider = Provider(
        kind: "openai", telemetryName: "openai",
        endpoints: [.chatCompletions, .completions, .embeddings],
        open: { request, target throws(APIError) in
            OpenAICall.open(request, target)
        },
        authorize: authorize)

    /// Puts the key into a request.
    static let authorize:
        @Sendable (inout UpstreamRequest, BackendCredential, SigningContext) -> Void = {
            request, credential, _ in
            guard case .bearer(let key) = credential else { return }
            request.fields.append("authorization", [UInt8]("Bearer ") + key.exposed)
        }
}
