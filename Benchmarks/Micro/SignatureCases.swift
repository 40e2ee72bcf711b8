import Primitives
import Translation
import Wire

/// What a credential costs: a client's that is looked up, and AWS's that is signed with.
enum SignatureCases {
    static let all = [
        MicroCase(name: "key-digest", prepare: keyDigest),
        MicroCase(name: "sigv4-sign", prepare: sign),
    ]

    @Sendable private static func keyDigest() -> MicroCase.Operation {
        let key = [UInt8]("sk-sluice-0123456789abcdef0123456789abcdef".utf8)
        return { Int(SHA256.digest(key.span).bytes[0]) }
    }

    /// A small Converse request, its body's hash included.
    @Sendable private static func sign() -> MicroCase.Operation {
        let provider = Samples.provider("bedrock")
        let call = Samples.call("bedrock", Samples.smallBody, model: Samples.claude)
        let unsigned = call.request(0)
        let credential = BackendCredential.aws(
            AWSCredentials(
                accessKeyID: "AKIABENCHMARK0000000",
                secretAccessKey: Secret("a-secret-of-forty-characters-as-AWS-has-"),
                sessionToken: nil, expiration: nil))
        let context = SigningContext(
            host: [UInt8]("bedrock-runtime.us-east-1.amazonaws.com".utf8), path: unsigned.path,
            region: "us-east-1", now: WallTime(milliseconds: 1_764_000_000_000))
        return {
            var request = unsigned
            provider.authorize(&request, credential, context)
            return request.fields.count
        }
    }
}
