import Primitives
public import Translation

/// What is sent to STS and what comes back (bedrock-api.md section 5.3).
public enum STSMessages {
    /// The form of AssumeRole.
    public static func assumeRole(_ request: RoleRequest) -> [UInt8] {
        form("AssumeRole", request, token: nil)
    }

    /// The form of AssumeRoleWithWebIdentity; it is not signed.
    public static func webIdentity(_ request: RoleRequest, token: [UInt8]) -> [UInt8] {
        form("AssumeRoleWithWebIdentity", request, token: token)
    }

    /// The credentials in an answer.
    /// - Throws: what STS said was wrong.
    public static func read(
        status: Int, body: [UInt8]
    ) throws(CredentialFailure) -> AWSCredentials {
        let text = String(decoding: body, as: UTF8.self)
        guard status == 200 else {
            let (code, message) = error(body)
            throw CredentialFailure("STS answered \(status) \(code): \(message)")
        }
        guard let id = XMLText.content("AccessKeyId", in: text),
            let secret = XMLText.content("SecretAccessKey", in: text),
            let token = XMLText.content("SessionToken", in: text)
        else { throw CredentialFailure("STS answered without credentials") }
        return AWSCredentials(
            accessKeyID: id, secretAccessKey: Secret(secret), sessionToken: Secret(token),
            expiration: try CredentialJSON.expiration(XMLText.content("Expiration", in: text)))
    }

    /// Code and message of an error answer; empty where there are none.
    public static func error(_ body: [UInt8]) -> (code: String, message: String) {
        let text = String(decoding: body, as: UTF8.self)
        return (
            XMLText.content("Code", in: text) ?? "", XMLText.content("Message", in: text) ?? ""
        )
    }

    private static func form(_ action: String, _ request: RoleRequest, token: [UInt8]?) -> [UInt8] {
        var fields: [(name: String, value: [UInt8])] = [
            ("Action", Array(action.utf8)), ("Version", Array("2011-06-15".utf8)),
            ("RoleArn", Array(request.arn.utf8)),
            ("RoleSessionName", Array(request.sessionName.utf8)),
        ]
        if let token { fields.append(("WebIdentityToken", token)) }
        if let seconds = request.durationSeconds {
            fields.append(("DurationSeconds", Array(String(seconds).utf8)))
        }
        if let id = request.externalID { fields.append(("ExternalId", Array(id.utf8))) }
        var form: [UInt8] = []
        for (index, field) in fields.enumerated() {
            if index > 0 { form.append("&") }
            form.append(utf8: field.name)
            form.append("=")
            form.append(contentsOf: PercentEncoding.encode(field.value))
        }
        return form
    }
}

/// As much XML as STS's answers need: the text of an element, entities undone.
enum XMLText {
    static func content(_ element: String, in text: String) -> String? {
        guard let start = text.firstRange(of: "<\(element)>"),
            let end = text[start.upperBound...].firstRange(of: "</\(element)>")
        else { return nil }
        return unescaped(String(text[start.upperBound..<end.lowerBound]))
    }

    private static func unescaped(_ text: String) -> String {
        var result = text
        let entities = [
            ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&"),
        ]
        for (entity, character) in entities { result.replace(entity, with: character) }
        return result
    }
}
