import Gateway
import Glibc
import Primitives
import Translation
import Wire

/// Does what a `CredentialSource` says: asks STS, a container, an instance or a command.
struct CredentialFetcher {
    private static let processTimeoutMilliseconds = 30_000
    private static let stsTimeoutMilliseconds = 10_000
    private static let containerTimeoutMilliseconds = 2_000
    private static let instanceTimeoutMilliseconds = 1_000
    private static let containerAttempts = 3

    let environment: [String: String]
    let region: String

    /// Fetches; blocks for as long as that takes.
    func fetch(_ source: CredentialSource) throws(CredentialFailure) -> BackendCredential {
        let credential: BackendCredential =
            if case .bearer(let key) = source { .bearer(key) } else { .aws(try keys(source)) }
        guard credential.fitsHeaderFields else {
            throw CredentialFailure("the credentials hold what no header field may")
        }
        return credential
    }

    private func keys(_ source: CredentialSource) throws(CredentialFailure) -> AWSCredentials {
        switch source {
        case .ready(let keys): return keys
        case .bearer: throw CredentialFailure("an API key cannot take on a role")
        case .assumeRole(let request, let inner):
            return try askSTS(STSMessages.assumeRole(request), signedWith: try keys(inner))
        case .webIdentity(let request, let file):
            guard let token = FileSystem.read(file) else {
                throw CredentialFailure("the token file \(file) cannot be read")
            }
            let trimmed = token.filter { $0 > 0x20 }
            return try askSTS(
                STSMessages.webIdentity(request, token: trimmed), signedWith: nil)
        case .process(let command): return try run(command)
        case .container(let endpoint): return try askContainer(endpoint)
        case .instance(let metadata): return try askInstance(metadata)
        }
    }

    private func askSTS(
        _ form: [UInt8], signedWith keys: AWSCredentials?
    ) throws(CredentialFailure) -> AWSCredentials {
        let url = AWSEndpoints.sts(region: region, environment: environment)
        var fields = HeaderFields()
        fields.append("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        if let keys {
            let signer = SigV4(
                accessKeyID: keys.accessKeyID, secretAccessKey: keys.secretAccessKey,
                sessionToken: keys.sessionToken, region: region, service: "sts")
            signer.authorizePost(
                &fields, target: [UInt8]("/"), host: Array(url.hostField.utf8), body: form.span,
                now: SystemClock.wallTime())
        }
        let answer = try send(
            "POST", url, "/", fields, body: form, milliseconds: Self.stsTimeoutMilliseconds)
        return try STSMessages.read(status: answer.status, body: answer.body)
    }

    private func askContainer(
        _ endpoint: ContainerEndpoint
    ) throws(CredentialFailure) -> AWSCredentials {
        var fields = HeaderFields()
        fields.append("accept", "application/json")
        let token = endpoint.tokenFile.flatMap { FileSystem.read($0) } ?? endpoint.token?.exposed
        if let token {
            let line = token.last == 0x0a ? Array(token.dropLast()) : token
            guard !line.contains(0x0d), !line.contains(0x0a) else {
                throw CredentialFailure("the container's authorization token has line breaks")
            }
            fields.append("authorization", line)
        }
        var problem = CredentialFailure("the container endpoint does not answer")
        for attempt in 0..<Self.containerAttempts {
            if attempt > 0 { sleep(1) }
            do throws(CredentialFailure) {
                let answer = try send(
                    "GET", endpoint.url, endpoint.url.basePath, fields,
                    milliseconds: Self.containerTimeoutMilliseconds)
                guard answer.status == 200 else {
                    throw CredentialFailure("the container endpoint answered \(answer.status)")
                }
                return try CredentialJSON.read(answer.body)
            } catch {
                problem = error
            }
        }
        throw problem
    }

    /// Token, role name, credentials. A 401 on the way means that the token has gone stale.
    private func askInstance(
        _ metadata: InstanceMetadata
    ) throws(CredentialFailure) -> AWSCredentials {
        let base = "/latest/meta-data/iam/security-credentials/"
        for isLastTry in [false, true] {
            let fields = try instanceToken(metadata)
            let role = try get(metadata, base, fields)
            if role.status == 401, !isLastTry { continue }
            let name = String(decoding: role.body, as: UTF8.self)
                .split(whereSeparator: \.isNewline).first
            guard role.status == 200, let name else {
                throw CredentialFailure("the instance has no role (status \(role.status))")
            }
            let answer = try get(metadata, base + name, fields)
            if answer.status == 401, !isLastTry { continue }
            guard answer.status == 200 else {
                throw CredentialFailure("the metadata service answered \(answer.status)")
            }
            return try CredentialJSON.read(answer.body)
        }
        throw CredentialFailure("the metadata service does not take its own token")
    }

    private func instanceToken(
        _ metadata: InstanceMetadata
    ) throws(CredentialFailure) -> HeaderFields {
        var ask = HeaderFields()
        ask.append("x-aws-ec2-metadata-token-ttl-seconds", "21600")
        let answer = try send(
            "PUT", metadata.url, "/latest/api/token", ask, body: [],
            milliseconds: Self.instanceTimeoutMilliseconds)
        var fields = HeaderFields()
        if answer.status == 200 {
            fields.append("x-aws-ec2-metadata-token", answer.body.filter { $0 > 0x20 })
            return fields
        }
        guard [403, 404, 405].contains(answer.status), metadata.allowsVersionOne else {
            throw CredentialFailure("the metadata service gave no token (\(answer.status))")
        }
        return fields
    }

    private func get(
        _ metadata: InstanceMetadata, _ path: String, _ fields: HeaderFields
    ) throws(CredentialFailure) -> BlockingHTTPClient.Answer {
        try send(
            "GET", metadata.url, path, fields, milliseconds: Self.instanceTimeoutMilliseconds)
    }

    private func send(
        _ method: StaticString, _ url: BackendURL, _ path: String, _ fields: HeaderFields,
        body: [UInt8]? = nil, milliseconds: Int
    ) throws(CredentialFailure) -> BlockingHTTPClient.Answer {
        do throws(BlockingHTTPClient.Failure) {
            return try BlockingHTTPClient(timeoutMilliseconds: milliseconds).send(
                method, url, path: path, fields: fields, body: body)
        } catch {
            throw CredentialFailure(error.message)
        }
    }

    /// Runs a credential process: exit code 0, JSON on standard output.
    private func run(_ command: String) throws(CredentialFailure) -> AWSCredentials {
        // `timeout` bounds a command that hangs; our children inherit a blocked SIGTERM, so it
        // kills. The shell splits the command as AWS's own tools do.
        let seconds = Self.processTimeoutMilliseconds / 1000
        guard let stream = unsafe popen("timeout -s KILL \(seconds) \(command)", "re") else {
            throw CredentialFailure("credential_process cannot be run (errno \(errno))")
        }
        var output: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = unsafe fread(&chunk, 1, chunk.count, stream)
            guard count > 0, output.count < 1 << 20 else { break }
            output += chunk[0..<count]
        }
        let status = unsafe pclose(stream)
        guard status == 0 else {
            throw CredentialFailure("credential_process failed (status \(status))")
        }
        return try CredentialJSON.read(output)
    }
}
