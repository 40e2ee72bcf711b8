import Primitives
import Wire

/// Checks SigV4 as the service does: from what was received, with the keys that were given.
struct SignatureCheck {
    private static let clockSkewSeconds: Int64 = 300

    let options: SimulatorOptions

    /// What is wrong with a request's signature; nil when nothing is, or nothing is to be checked.
    func problem(_ request: SimulatedRequest, now: WallTime) -> String? {
        guard let accessKeyID = options.accessKeyID, let secret = options.secretAccessKey else {
            return nil
        }
        var fields = request.head.fields
        if fields.index(of: "host") == nil { fields.append("host", request.head.host) }
        guard
            let header = fields.value(of: "authorization").map({
                String(decoding: $0, as: UTF8.self)
            }),
            header.hasPrefix("AWS4-HMAC-SHA256 ")
        else { return "The request is not signed." }
        var parts: [Substring: Substring] = [:]
        for part in header.dropFirst(17).split(separator: ",") {
            let pair = part.split(separator: "=", maxSplits: 1)
            guard pair.count == 2 else { continue }
            parts[pair[0].drop { $0 == " " }] = pair[1]
        }
        let scope = parts["Credential"]?.split(separator: "/") ?? []
        guard scope.count == 5, let signature = parts["Signature"],
            let names = parts["SignedHeaders"]?.split(separator: ";")
        else { return "The Authorization field is malformed." }
        guard scope[0] == accessKeyID else { return "The access key is not known." }
        guard let timestamp = fields.value(of: "x-amz-date"), isFresh(timestamp, now) else {
            return "The signature has expired or X-Amz-Date is missing."
        }
        guard names.contains("host"), names.contains("x-amz-date") else {
            return "host and x-amz-date must be signed."
        }
        let signed = names.flatMap { name in
            (0..<fields.count).filter { fields.name(at: $0).text == name }.map { index in
                (name: String(name), value: fields.value(at: index).array)
            }
        }
        let signer = SigV4(
            accessKeyID: accessKeyID, secretAccessKey: Secret(secret), region: String(scope[2]),
            service: String(scope[3]))
        let expected = signer.sign(
            SigV4.Request(
                method: "POST", target: request.head.target, fields: signed,
                payloadHash: SHA256.digest(request.body.span).hexadecimal),
            timestamp: timestamp)
        return expected.code.hexadecimal == Array(signature.utf8)
            ? nil : "The signature we calculated does not match the one you sent."
    }

    private func isFresh(_ timestamp: [UInt8], _ now: WallTime) -> Bool {
        let text = String(decoding: timestamp, as: UTF8.self)
        guard timestamp.count == 16 else { return false }
        let at = { (start: Int, length: Int) in text.dropFirst(start).prefix(length) }
        let written =
            "\(at(0, 4))-\(at(4, 2))-\(at(6, 2))T\(at(9, 2)):\(at(11, 2)):\(at(13, 2))Z"
        guard let time = RFC3339.time(written) else { return false }
        return abs(time.seconds - now.seconds) <= Self.clockSkewSeconds
    }
}
