import Primitives
import Wire

/// Encodings of single values, and the signature that is made of them.
enum EncodingFuzzing {
    /// Percent-encoding, Base64, decimal numbers.
    static func encodings(_ bytes: [UInt8]) {
        let percent = PercentEncoding.encode(bytes)
        precondition(PercentEncoding.decode(percent.span) == bytes, "percent-encoding loses bytes")
        precondition(PercentEncoding.decode(bytes.span).count <= bytes.count, "decoding swells")
        let base64 = Base64.encode(bytes.span)
        precondition(Base64.decode(base64.span) == bytes, "Base64 loses bytes")
        precondition(Base64.decode(base64.span, lenient: true) == bytes, "Base64 loses bytes")
        if let decoded = Base64.decode(bytes.span) {
            precondition(
                Base64.decode(bytes.span, lenient: true) == decoded, "two readings of Base64")
        }
        _ = Decimal.scaled(bytes.span, digits: 9)
        if let number = try? JSONDocument(bytes).root.int, number >= 0,
            String(number).utf8.elementsEqual(bytes)
        {
            precondition(
                Decimal.scaled(bytes.span, digits: 0) == Int64(number), "two readings of a number")
        }
    }

    /// A request of three lines: method and target, then fields; the rest is its body.
    static func signature(_ bytes: [UInt8]) {
        let lines = bytes.split(
            separator: UInt8(ascii: "\n"), maxSplits: 8, omittingEmptySubsequences: false
        ).map { Array($0) }
        let fields = lines.dropFirst().map { line in
            let name = line.prefix { $0 != UInt8(ascii: ":") }
            return (
                name: String(decoding: name, as: UTF8.self),
                value: Array(line.dropFirst(name.count + 1))
            )
        }
        let signer = SigV4(
            accessKeyID: "AKID", secretAccessKey: Secret([UInt8]("secret".utf8)),
            region: "eu-central-1", service: "bedrock")
        let sign = { (fields: [SigV4.Request.Field]) in
            let request = SigV4.Request(
                method: "POST", target: lines[0], fields: fields,
                payloadHash: SHA256.digest(bytes.span).hexadecimal)
            return signer.sign(request, timestamp: [UInt8]("20260101T000000Z".utf8))
        }
        let signature = sign(fields)
        let digits = signature.authorization.suffix(64)
        precondition(
            signature.code.hexadecimal == Array(digits), "a signature that is not shown whole")
        guard Set(fields.map { $0.name.lowercased() }).count == fields.count else { return }
        precondition(
            sign(fields.reversed()).code == signature.code,
            "the order of fields changes the signature")
    }
}
