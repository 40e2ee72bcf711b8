import Primitives
import Testing
import Wire

@testable import Translation

@Suite struct BedrockProviderTests {
    private static let user = #""messages":[{"role":"user","content":"q"}]"#
    private static let context = SigningContext(
        host: Array("bedrock-runtime.eu-central-1.amazonaws.com".utf8),
        path: Array("/base/model/m/converse".utf8), region: "eu-central-1",
        now: WallTime(milliseconds: 1_700_000_000_000))

    private func authorized(_ credential: BackendCredential) throws -> HeaderFields {
        var request = try BedrockTarget.chat(Self.user).requests[0]
        BedrockProvider.provider.authorize(&request, credential, Self.context)
        return request.fields
    }

    @Test func `it is in the catalogue`() {
        let provider = ProviderCatalogue.provider(kind: "bedrock")
        #expect(provider?.telemetryName == "aws.bedrock")
        #expect(provider?.endpoints == [.chatCompletions, .embeddings])
        #expect(provider?.framesExceptions == true)
    }

    @Test func `an endpoint that it lacks is refused by the model's name`() throws {
        let request = try BedrockTarget.request(
            Array(#"{"model":"gw-model","prompt":"p"}"#.utf8), endpoint: .completions)
        let error = #expect(throws: APIError.self) {
            try BedrockProvider.provider.open(request, TargetOptions())
        }
        #expect(error?.status == 400)
        #expect(error?.message.contains("gw-model") == true)
    }

    @Test func `a bearer key goes alone`() throws {
        let fields = try authorized(.bearer(Secret("k")))
        #expect(fields.value(of: "authorization") == Array("Bearer k".utf8))
        #expect(fields.value(of: "x-amz-date") == nil)
    }

    @Test(arguments: [nil, "token"])
    func `a signature covers what AWS's own SDKs sign`(_ token: String?) throws {
        let fields = try authorized(
            .aws(
                AWSCredentials(
                    accessKeyID: "AKID", secretAccessKey: Secret("s"),
                    sessionToken: token.map { Secret($0) }, expiration: nil)))
        let signed = "content-type;host;x-amz-date" + (token == nil ? "" : ";x-amz-security-token")
        let text = String(decoding: fields.value(of: "authorization") ?? [], as: UTF8.self)
        #expect(
            text.hasPrefix(
                "AWS4-HMAC-SHA256 Credential=AKID/20231114/eu-central-1/bedrock/aws4_request, "
                    + "SignedHeaders=\(signed), Signature="))
        #expect(fields.value(of: "x-amz-date") == Array("20231114T221320Z".utf8))
        #expect(fields.value(of: "x-amz-security-token") == token.map { Array($0.utf8) })
    }

    @Test func `a model is one segment of the path`() throws {
        let model = "arn:aws:bedrock:us-east-1:1:inference-profile/us.x~y z"
        let call = try BedrockTarget.chat(Self.user + #","stream":true"#, model: model)
        #expect(
            String(decoding: call.requests[0].path, as: UTF8.self)
                == "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.x~y%20z/"
                + "converse-stream")
    }

    @Test func `without a target's model the client's own goes on`() throws {
        let call = try BedrockTarget.chat(
            Array(#"{"model":"a.b","messages":[{"role":"user","content":"q"}]}"#.utf8),
            TargetOptions())
        #expect(call.requests[0].path == Array("/model/a.b/converse".utf8))
    }

    @Test(arguments: [("async", true), ("async", false)])
    func `a guardrail's stream mode goes with streams only`(
        _ mode: String, _ isStreamed: Bool
    ) throws {
        let body = try BedrockTarget.body(Self.user + #","stream":\#(isStreamed)"#) {
            $0.guardrail = TargetOptions.Guardrail(
                identifier: "g", version: "1", trace: nil, streamProcessingMode: mode)
        }
        #expect(
            body["guardrailConfig"]?.text
                == #"{"guardrailIdentifier":"g","guardrailVersion":"1""#
                + (isStreamed ? #","streamProcessingMode":"async"}"# : "}"))
    }
}
