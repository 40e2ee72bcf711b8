import Foundation
import Primitives
import TestSupport
import Testing
import Wire

@Suite struct SigV4Tests {
    @Test(arguments: try Fixtures.vectors("sigv4").map(\.name))
    func `a vector of the signer is reproduced`(_ name: String) throws {
        let vector = try #require(try Fixtures.vectors("sigv4").first { $0.name == name }?.object)
        let input = try #require(vector["input"] as? [String: Any])
        let expect = try #require(vector["expect"] as? [String: Any])
        let credentials = try #require(input["credentials"] as? [String: Any])
        let url = try #require(input["url"] as? String)
        let amzDate = try #require(input["amz_date"] as? String)
        var fields = (input["headers"] as? [[String]] ?? []).map {
            (name: $0[0], value: Array($0[1].utf8))
        }
        let (host, target) = split(url)
        fields.append(("host", Array(host.utf8)))
        let hasDate = fields.contains {
            $0.name.lowercased() == "date"
        }
        // A Date that the caller set is written anew by AWS's signer, and signed in that form.
        let rewritten = (expect["headers_set"] as? [String: String])?["Date"]
        if let rewritten, let index = fields.firstIndex(where: { $0.name == "Date" }) {
            fields[index].value = Array(rewritten.utf8)
        }
        if !hasDate { fields.append(("x-amz-date", Array(amzDate.utf8))) }
        if let token = credentials["session_token"] as? String {
            fields.append(("x-amz-security-token", Array(token.utf8)))
        }
        let given = fields.first {
            $0.name.lowercased() == "x-amz-content-sha256"
        }
        let signer = SigV4(
            accessKeyID: try #require(credentials["access_key_id"] as? String),
            secretAccessKey: Secret(try #require(credentials["secret_access_key"] as? String)),
            region: try #require(input["region"] as? String),
            service: try #require(input["service"] as? String))
        let signature = signer.sign(
            SigV4.Request(
                method: try #require(input["method"] as? String),
                target: Array(target.utf8), fields: fields,
                payloadHash: given?.value
                    ?? SHA256.digest(base64(input["body_base64"]).span).hexadecimal),
            timestamp: Array(amzDate.utf8))
        #expect(text(signature.canonicalRequest) == expect["canonical_request"] as? String)
        #expect(text(signature.stringToSign) == expect["string_to_sign"] as? String)
        #expect(text(signature.code.hexadecimal) == expect["signature"] as? String)
        let headers = try #require(expect["headers_set"] as? [String: String])
        #expect(text(signature.authorization) == headers["Authorization"])
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    /// Host field (default port left out, lower case) and target.
    private func split(_ url: String) -> (String, String) {
        let scheme = url.hasPrefix("https") ? "https://" : "http://"
        let rest = url.dropFirst(scheme.count)
        var host = rest.prefix { $0 != "/" && $0 != "?" }.lowercased()
        let port = scheme == "https://" ? ":443" : ":80"
        let target = String(rest.dropFirst(host.count))
        if host.hasSuffix(port) { host.removeLast(port.count) }
        return (host, target)
    }
}
