import Primitives
import Translation
import Wire

/// Hides what proves us to a backend in what the backend complains about: some repeat the key that
/// they refuse, and a client must not read it.
struct CredentialMask {
    /// Shorter ones are no secrets, and stand in many words.
    private static let shortestSecret = 8
    /// No word is as long as this.
    private static let longestWord = 20
    /// What stands in the names of fields that carry credentials, as in `x-api-key`.
    private static let credentialNames = [
        "auth", "key", "token", "secret", "password", "credential", "cookie", "session",
    ]
    private static let mask = Array("***".utf8)

    private let secrets: [[UInt8]]

    /// A mask for what a request to a backend carries: its credential, and configured fields that
    /// may well be one. `x-team: platform` is none: the word stands in many an error.
    init(_ credential: BackendCredential?, headers: borrowing HeaderFields) {
        var secrets: [[UInt8]] = []
        switch credential {
        case .bearer(let key): secrets.append(key.exposed)
        case .aws(let credentials):
            secrets.append(credentials.secretAccessKey.exposed)
            if let token = credentials.sessionToken { secrets.append(token.exposed) }
        case .some(.none), nil: break
        }
        for index in 0..<headers.count {
            // Of `Bearer KEY` the last word is the secret.
            let words = headers.value(at: index).array.split(separator: 0x20)
            guard let last = words.last else { continue }
            let name = headers.name(at: index).text
            if last.count >= Self.longestWord
                || Self.credentialNames.contains(where: { name.contains($0) })
            {
                secrets.append(Array(last))
            }
        }
        self.secrets = secrets.filter { $0.count >= Self.shortestSecret }
    }

    /// The error without any of the secrets.
    func applied(to error: APIError) -> APIError {
        var error = error
        error.message = applied(to: error.message)
        error.type = applied(to: error.type)
        error.code = error.code.map { applied(to: $0) }
        error.param = error.param.map { applied(to: $0) }
        error.verbatimBody = error.verbatimBody.map { applied(to: $0) }
        return error
    }

    private func applied(to text: String) -> String {
        String(decoding: applied(to: Array(text.utf8)), as: UTF8.self)
    }

    private func applied(to bytes: [UInt8]) -> [UInt8] {
        secrets.reduce(bytes) { Self.mask($1, in: $0) }
    }

    /// Looks for the first byte and compares from there: an error may be a megabyte, and the
    /// standard library's `replace` takes a third of a second for one.
    private static func mask(_ secret: [UInt8], in bytes: [UInt8]) -> [UInt8] {
        var masked: [UInt8] = []
        var kept = 0
        var position = 0
        while let start = bytes.span.firstIndex(of: secret[0], from: position),
            bytes.count - start >= secret.count
        {
            position = start + 1
            guard bytes.span.extracting(start..<start + secret.count).equals(secret.span) else {
                continue
            }
            masked.append(contentsOf: bytes[kept..<start])
            masked.append(contentsOf: mask)
            kept = start + secret.count
            position = kept
        }
        guard kept > 0 else { return bytes }
        masked.append(contentsOf: bytes[kept...])
        return masked
    }
}
