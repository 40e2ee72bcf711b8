public import Primitives

/// AWS Signature Version 4 (bedrock-api.md section 4), for every service but S3.
public struct SigV4: Sendable {
    /// A signature and the texts it was made of.
    public struct Signature: Sendable {
        /// Step 7.
        public let canonicalRequest: [UInt8]
        /// Step 8.
        public let stringToSign: [UInt8]
        /// Step 9.
        public let code: SHA256.Digest
        /// Step 10: the value of Authorization.
        public let authorization: [UInt8]
    }

    private let accessKeyID: String
    private let secretAccessKey: Secret
    private let sessionToken: Secret?
    private let region: String
    private let service: String
    private let keys: SigningKeyCache

    /// A signer for a service in a region; `keys` is of this secret alone.
    public init(
        accessKeyID: String, secretAccessKey: Secret, sessionToken: Secret? = nil, region: String,
        service: String, keys: SigningKeyCache = SigningKeyCache()
    ) {
        self.accessKeyID = accessKeyID
        self.secretAccessKey = secretAccessKey
        self.sessionToken = sessionToken
        self.region = region
        self.service = service
        self.keys = keys
    }

    /// `YYYYMMDDTHHMMSSZ`, for X-Amz-Date.
    public static func timestamp(_ time: WallTime) -> [UInt8] {
        let date = CivilDate(time)
        return [UInt8](atMost: 40) { output in
            output.append(decimal: UInt64(clamping: date.year), width: 4)
            output.append(decimal: UInt64(clamping: date.month), width: 2)
            output.append(decimal: UInt64(clamping: date.day), width: 2)
            output.append("T")
            output.append(decimal: UInt64(clamping: date.hour), width: 2)
            output.append(decimal: UInt64(clamping: date.minute), width: 2)
            output.append(decimal: UInt64(clamping: date.second), width: 2)
            output.append("Z")
        }
    }

    /// Signs a POST and appends the fields that show it. What is signed is the least that AWS's own
    /// SDKs sign, so that nothing on the way can break it: content-type, host, x-amz-date and the
    /// session token.
    public func authorizePost(
        _ fields: inout HeaderFields, target: [UInt8], host: [UInt8], body: Span<UInt8>,
        now: WallTime
    ) {
        let timestamp = Self.timestamp(now)
        var signed: [Request.Field] = []
        signed.reserveCapacity(4)
        signed.append(("content-type", fields.value(of: "content-type") ?? []))
        signed.append(("host", host))
        signed.append(("x-amz-date", timestamp))
        fields.append("x-amz-date", timestamp)
        if let token = sessionToken?.exposed {
            signed.append(("x-amz-security-token", Request.singleSpaced(token)))
            fields.append("x-amz-security-token", token)
        }
        let request = Request(
            method: "POST", target: target, canonicalFields: signed,
            payloadHash: SHA256.digest(body).hexadecimal)
        fields.append("authorization", sign(request, timestamp: timestamp).authorization)
    }

    /// Signs a request whose X-Amz-Date is `timestamp`.
    public func sign(_ request: Request, timestamp: [UInt8]) -> Signature {
        let canonicalRequest = request.canonicalText
        let day = timestamp.prefix(8)
        let scope = scope(of: day)
        let stringToSign = [UInt8](atMost: timestamp.count + scope.count + 90) { output in
            output.append("AWS4-HMAC-SHA256\n")
            output.append(span: timestamp.span)
            output.append("\n")
            output.append(span: scope.span)
            output.append("\n")
            SHA256.digest(canonicalRequest.span).write(hexadecimalTo: &output)
        }
        let key = keys.key(for: scope) { signingKey(of: day) }
        let code = HMACSHA256.authenticate(key: key.bytes.span, message: stringToSign.span)
        let known = accessKeyID.utf8.count + scope.count + request.signedNameBytes
        let authorization = [UInt8](atMost: known + 150) { output in
            output.append("AWS4-HMAC-SHA256 Credential=")
            output.append(utf8: accessKeyID)
            output.append("/")
            output.append(span: scope.span)
            output.append(", SignedHeaders=")
            request.writeSignedNames(to: &output)
            output.append(", Signature=")
            code.write(hexadecimalTo: &output)
        }
        return Signature(
            canonicalRequest: canonicalRequest, stringToSign: stringToSign, code: code,
            authorization: authorization)
    }

    /// `YYYYMMDD/region/service/aws4_request`
    private func scope(of day: ArraySlice<UInt8>) -> [UInt8] {
        [UInt8](atMost: region.utf8.count + service.utf8.count + 30) { output in
            output.append(span: day.span)
            output.append("/")
            output.append(utf8: region)
            output.append("/")
            output.append(utf8: service)
            output.append("/aws4_request")
        }
    }

    private func signingKey(of day: ArraySlice<UInt8>) -> SHA256.Digest {
        let secret = [UInt8]("AWS4") + secretAccessKey.exposed
        var key = HMACSHA256.authenticate(key: secret.span, message: day.span)
        for part in [region, service, "aws4_request"] {
            key = HMACSHA256.authenticate(key: key.bytes.span, message: Array(part.utf8).span)
        }
        return key
    }
}

/// Keeps the key that was derived from a secret last: it is the same for a day, a region and a
/// service (AWS, "Create a signed AWS API request", step 3).
///
/// One for each secret; it goes with it.
public final class SigningKeyCache: Sendable {
    private let last = Locked<(scope: [UInt8], key: SHA256.Digest)?>(nil)

    /// An empty cache.
    public init() {}

    func key(for scope: [UInt8], derive: () -> SHA256.Digest) -> SHA256.Digest {
        last.withLock { last in
            if let last, last.scope == scope { return last.key }
            let key = derive()
            last = (scope, key)
            return key
        }
    }
}
