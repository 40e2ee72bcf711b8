import Primitives
import Wire

/// vLLM and the servers like it: OpenAI's dialect with more fields and three shapes of errors.
public enum VLLMProvider {
    /// Kind `vllm`.
    public static let provider = Provider(
        kind: "vllm", telemetryName: "vllm",
        endpoints: [.chatCompletions, .completions, .embeddings],
        open: { request, target throws(APIError) in
            try refuseIgnoredConstraints(request)
            return OpenAICall.open(request, target)
        },
        authorize: OpenAIProvider.authorize)

    /// Fields that vLLM accepts and ignores since `structured_outputs` replaced them: the answer
    /// would not be constrained, and nobody would know (vllm.md section 2.2).
    private static let ignoredConstraints: [StaticString] = [
        "guided_json", "guided_regex", "guided_choice", "guided_grammar",
        "guided_decoding_backend", "guided_whitespace_pattern",
    ]

    private static func refuseIgnoredConstraints(_ request: ClientRequest) throws(APIError) {
        guard request.body.holds("\"guided_") else { return }
        guard let document = request.document else { return }
        for name in ignoredConstraints where document.root.present(name) != nil {
            throw .unsupported(
                "unsupported_parameter", param: "\(name)",
                "This backend ignores '\(name)': send 'structured_outputs' instead.")
        }
    }
}

extension [UInt8] {
    /// Whether a literal occurs anywhere.
    func holds(_ literal: StaticString) -> Bool {
        let bytes = span
        let length = literal.utf8CodeUnitCount
        guard length <= bytes.count, length > 0 else { return false }
        let first = [UInt8](literal)[0]
        var at = 0
        while let found = bytes.firstIndex(of: first, from: at), found + length <= bytes.count {
            if bytes.extracting(found..<found + length).equals(literal) { return true }
            at = found + 1
        }
        return false
    }
}
