import Primitives
import Wire

/// Amazon Bedrock Runtime: chat by Converse, embeddings by InvokeModel.
public enum BedrockProvider {
    /// Kind `bedrock`.
    public static let provider = Provider(
        kind: "bedrock", telemetryName: "aws.bedrock",
        endpoints: [.chatCompletions, .embeddings], framesExceptions: true, readsBodies: true,
        open: { request, target throws(APIError) in
            switch request.endpoint {
            case .chatCompletions: return try BedrockChatCall(request, target)
            case .embeddings: return try BedrockEmbeddingsCall(request, target)
            default:
                throw .badRequest(
                    "unsupported_value", param: "model",
                    "The model '\(request.summary.model)' does not serve this endpoint.")
            }
        },
        authorize: { request, credential, context in
            switch credential {
            case .none: break
            case .bearer(let key):
                request.fields.append("authorization", [UInt8]("Bearer ") + key.exposed)
            case .aws(let keys):
                let signer = SigV4(
                    accessKeyID: keys.accessKeyID, secretAccessKey: keys.secretAccessKey,
                    sessionToken: keys.sessionToken, region: context.region, service: "bedrock",
                    keys: keys.signingKeys)
                let body = request.body
                signer.authorizePost(
                    &request.fields, target: context.path, host: context.host, body: body.span,
                    now: context.now)
            }
        })
}
