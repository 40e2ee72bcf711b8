import Primitives
import Translation
import Wire

/// Whole requests and answers, for OpenAI-shaped backends and for Converse.
enum TranslationCases {
    static let all = [
        MicroCase(name: "openai-request") { open("openai", Samples.smallBody, "llama-3.1-8b") },
        MicroCase(name: "openai-answer") { finish("openai", Samples.openAIAnswer) },
        MicroCase(name: "converse-request") { open("bedrock", Samples.smallBody, Samples.claude) },
        MicroCase(name: "converse-request-tools") {
            open("bedrock", Samples.toolsBody, Samples.claude)
        },
        MicroCase(name: "converse-answer") { finish("bedrock", Samples.converseAnswer) },
    ]

    private static func open(
        _ kind: String, _ body: [UInt8], _ model: String
    ) -> MicroCase.Operation {
        let request = Samples.request(body)
        let target = Samples.target(model)
        let provider = Samples.provider(kind)
        return {
            guard let call = try? provider.open(request, target) else {
                preconditionFailure("refused")
            }
            return call.request(0).body.count
        }
    }

    private static func finish(_ kind: String, _ body: [UInt8]) -> MicroCase.Operation {
        let call = Samples.call(kind, Samples.smallBody, model: Samples.claude)
        var head = ResponseHead()
        head.status = 200
        head.fields.append("content-type", "application/json")
        let answer = UpstreamAnswer(head: head, body: body)
        var tape = JSONTape()
        return {
            guard let result = try? call.finish([answer], tape: &tape), let usage = result.usage
            else {
                preconditionFailure("refused")
            }
            return result.body.count + usage.output
        }
    }
}
