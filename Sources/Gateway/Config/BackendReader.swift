import Primitives

/// Reads `backends`.
struct BackendReader {
    private static let keys =
        [
            "kind", "region", "url", "credentials", "api_key", "headers", "timeouts", "connections",
            "tls", "http",
        ] + dialectKeys
    /// Of OpenAI's dialect.
    private static let dialectKeys = ["legacy", "rewrite_model"]

    let reader: ConfigurationReader

    func read(_ scope: ConfigurationScope) -> [BackendConfiguration] {
        guard let node = scope["backends"],
            let backends = ConfigurationScope(node, "\"backends\"", reader.problems)
        else { return [] }
        return backends.entries.compactMap { name, _, value in
            let what = "the backend \"\(name)\""
            guard let backend = ConfigurationScope(value, what, reader.problems) else {
                return nil
            }
            backend.allow(Self.keys, in: what)
            return read(backend, name: name, what)
        }
    }

    private func read(
        _ scope: ConfigurationScope, name: String, _ what: String
    ) -> BackendConfiguration? {
        guard scope.required("kind", in: what) != nil,
            let kind = scope.choice("kind", among: reader.kinds)
        else { return nil }
        var backend = BackendConfiguration(name: name, kind: kind)
        backend.region = scope.text("region")
        backend.url = scope["url"].flatMap { readURL($0, scope) }
        if kind == "bedrock" {
            scope.refuse(Self.dialectKeys, of: "openai or vllm", for: kind)
            checkRegion(backend, scope, what)
        } else {
            _ = scope.required("url", in: what)
            scope.refuse(["region", "credentials"], of: "bedrock", for: kind)
        }
        backend.apiKey = scope.secret("api_key", folder: reader.folder)
        reader.secret(backend.apiKey, at: scope["api_key"])
        if let node = scope["credentials"] {
            backend.credentials = CredentialsReader(reader: reader).read(node)
        }
        backend.headers = readHeaders(scope)
        readTimeouts(scope, into: &backend.timeouts)
        readConnections(scope, into: &backend.connections)
        backend.tls = TLSReader(reader: reader).readClient(scope)
        let versions = BackendHTTP.allCases.map(\.rawValue)
        if let version = scope.choice("http", among: versions).flatMap(BackendHTTP.init) {
            backend.http = version
        }
        backend.isLegacyDialect = scope.bool("legacy") ?? false
        backend.rewritesModel = scope.bool("rewrite_model") ?? false
        return backend
    }

    /// Without a region, or a URL in its place, nobody knows where Bedrock is.
    private func checkRegion(
        _ backend: BackendConfiguration, _ scope: ConfigurationScope, _ what: String
    ) {
        guard reader.secrets != nil, reader.region == nil, backend.region == nil,
            scope["url"] == nil
        else { return }
        reader.problems.add(
            "\(what) needs \"region\" (neither AWS_REGION nor the profile names one) or \"url\"",
            at: scope.node)
    }

    /// `http(s)://host[:port][/path]`; no query, no user.
    private func readURL(_ node: YAMLNode, _ scope: ConfigurationScope) -> BackendURL? {
        guard let text = scope.text(node, "url") else { return nil }
        guard let url = BackendURL(text: text) else {
            // What is told here may be logged: a password must not be.
            let given =
                text.contains("@")
                ? "one with a user (\"api_key\" and \"headers\" take credentials)" : "\"\(text)\""
            reader.problems.add(
                "\"url\" must be such as http://127.0.0.1:8000/v1, not \(given)", at: node)
            return nil
        }
        return url
    }

    private func readHeaders(_ scope: ConfigurationScope) -> [(name: String, value: String)] {
        guard let node = scope["headers"],
            let headers = ConfigurationScope(node, "\"headers\"", reader.problems)
        else { return [] }
        return headers.entries.compactMap { name, key, value in
            guard let text = headers.text(value, name) else { return nil }
            let isProper =
                !name.isEmpty
                && name.allSatisfy {
                    $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0))
                }
                && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 }
            if !isProper { reader.problems.add("not a header field: \"\(name)\"", at: key) }
            let isFraming = Self.framingFields.contains(name.lowercased())
            if isFraming {
                reader.problems.add("the gateway itself writes the field \"\(name)\"", at: key)
            }
            return isProper && !isFraming ? (name, text) : nil
        }
    }

    /// What frames a message or belongs to one connection (RFC 9110 section 7.6.1): HTTP/2 forbids
    /// most of it, and two voices must not say it.
    private static let framingFields = [
        "host", "content-length", "transfer-encoding", "connection", "keep-alive",
        "proxy-connection", "upgrade", "te", "trailer",
    ]

    private func readTimeouts(_ scope: ConfigurationScope, into timeouts: inout BackendTimeouts) {
        let keys = ["connect", "first_byte", "idle", "total"]
        guard let scope = scope.scope("timeouts", allowing: keys) else { return }
        let read = { (name: String, default: Int) in
            scope.quantity(
                name, "300ms, 5s or 10m", Quantities.positive(Quantities.milliseconds)) ?? `default`
        }
        timeouts.connectMilliseconds = read("connect", timeouts.connectMilliseconds)
        timeouts.firstByteMilliseconds = read("first_byte", timeouts.firstByteMilliseconds)
        timeouts.idleMilliseconds = read("idle", timeouts.idleMilliseconds)
        timeouts.totalMilliseconds = read("total", timeouts.totalMilliseconds)
    }

    private func readConnections(
        _ scope: ConfigurationScope, into connections: inout BackendConnections
    ) {
        guard let scope = scope.scope("connections", allowing: ["max", "max_idle", "idle"]) else {
            return
        }
        connections.maximum =
            scope.quantity("max", "1000", Quantities.positive(Quantities.count))
            ?? connections.maximum
        connections.maximumIdle =
            scope.quantity("max_idle", "64", Quantities.count) ?? connections.maximumIdle
        connections.idleMilliseconds =
            scope.quantity("idle", "60s", Quantities.milliseconds)
            ?? connections.idleMilliseconds
    }
}

/// Reads a backend's `credentials`.
struct CredentialsReader {
    private static let keys = [
        "access_key_id", "secret_access_key", "session_token", "profile", "bearer_token",
        "assume_role", "web_identity_token", "session_name", "external_id",
    ]

    let reader: ConfigurationReader

    func read(_ node: YAMLNode) -> AWSCredentialConfiguration? {
        guard let scope = ConfigurationScope(node, "\"credentials\"", reader.problems) else {
            return nil
        }
        scope.allow(Self.keys, in: "\"credentials\"")
        let ways = ["access_key_id", "profile", "bearer_token", "assume_role"]
        guard ways.count(where: { scope[$0] != nil }) == 1 else {
            reader.problems.add(
                "\"credentials\" must have exactly one of \(ways.joined(separator: ", "))", at: node
            )
            return nil
        }
        if let profile = scope.text("profile") { return .profile(profile) }
        if scope["bearer_token"] != nil {
            return secret("bearer_token", scope).map { .bearerToken($0) }
        }
        if let role = scope.text("assume_role") {
            let token = scope.scope("web_identity_token", allowing: ["file"])
            return .assumeRole(
                arn: role, webIdentityTokenFile: token?.path("file", folder: reader.folder),
                sessionName: scope.text("session_name"), externalID: scope.text("external_id"))
        }
        guard scope.required("secret_access_key", in: "\"credentials\"") != nil,
            let accessKeyID = secret("access_key_id", scope),
            let secretAccessKey = secret("secret_access_key", scope)
        else { return nil }
        return .keys(
            accessKeyID: accessKeyID, secretAccessKey: secretAccessKey,
            sessionToken: secret("session_token", scope))
    }

    private func secret(_ name: String, _ scope: ConfigurationScope) -> SecretSource? {
        let source = scope.secret(name, folder: reader.folder)
        reader.secret(source, at: scope[name])
        return source
    }
}

extension BackendURL {
    /// A URL from its text; nil when it is not `http(s)://host[:port][/path]`.
    public init?(text: String) {
        let isTLS = text.hasPrefix("https://")
        guard isTLS || text.hasPrefix("http://") else { return nil }
        let rest = text.dropFirst(isTLS ? 8 : 7)
        let authority = rest.prefix { $0 != "/" }
        var path = String(rest.dropFirst(authority.count))
        while path.hasSuffix("/") { path.removeLast() }
        guard !rest.contains(where: { "?#@ \\".contains($0) }), !authority.isEmpty else {
            return nil
        }
        var host = String(authority)
        var port: UInt16 = isTLS ? 443 : 80
        let hostEnd = authority.hasPrefix("[") ? authority.lastIndex(of: "]") : nil
        let portStart = authority.lastIndex(of: ":")
        if let portStart, portStart > hostEnd ?? authority.startIndex {
            guard let number = UInt16(authority[authority.index(after: portStart)...]), number > 0
            else { return nil }
            port = number
            host = String(authority[..<portStart])
        }
        let isLiteral = host.hasPrefix("[") && host.hasSuffix("]")
        if isLiteral { host = String(host.dropFirst().dropLast()) }
        guard Self.isHost(host, isLiteral: isLiteral),
            path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
        else { return nil }
        self.init(isTLS: isTLS, host: host, port: port, basePath: path)
    }

    /// A name or an address of version 4; one of version 6 where it stands in brackets (RFC 3986
    /// section 3.2.2).
    private static func isHost(_ text: String, isLiteral: Bool) -> Bool {
        let marks = isLiteral ? ":.%" : "-._"
        return !text.isEmpty
            && text.allSatisfy {
                $0.isASCII && ($0.isLetter || $0.isNumber || marks.contains($0))
            }
    }
}
