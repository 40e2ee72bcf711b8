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
            case .aws(let keys): sign(&request, keys, context)
            }
        })

    /// The minimum that AWS SDKs sign, so that nothing on the way can break it: content-type, host,
    /// x-amz-date and the session token.
    private static func sign(
        _ request: inout UpstreamRequest, _ keys: AWSCredentials, _ context: SigningContext
    ) {
        let timestamp = SigV4.timestamp(context.now)
        var fields: [(name: [UInt8], value: [UInt8])] = [
            ([UInt8]("content-type"), request.fields.value(of: "content-type") ?? []),
            ([UInt8]("host"), context.host), ([UInt8]("x-amz-date"), timestamp),
        ]
        request.fields.append("x-amz-date", timestamp)
        if let token = keys.sessionToken {
            fields.append(([UInt8]("x-amz-security-token"), token.exposed))
            request.fields.append("x-amz-security-token", token.exposed)
        }
        let signer = SigV4(
            accessKeyID: keys.accessKeyID, secretAccessKey: keys.secretAccessKey,
            region: context.region, service: "bedrock", keys: keys.signingKeys)
        let signature = signer.sign(
            SigV4.Request(
                method: [UInt8]("POST"), target: context.path, fields: fields,
                payloadHash: SHA256.hexadecimalDigest(request.body.span)),
            timestamp: timestamp)
        request.fields.append("authorization", signature.authorization)
    }
}
