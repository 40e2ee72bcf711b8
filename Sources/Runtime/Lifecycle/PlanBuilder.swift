public import Gateway
import Primitives
import Translation
public import Wire

/// Why a configuration that reads well cannot be put to work.
public struct PlanFailure: Error, Sendable {
    /// What is wrong and where.
    public let message: String

    /// A failure.
    public init(message: String) { self.message = message }
}

/// Makes a plan from a configuration: reads secrets and certificates, and finds credentials.
public struct PlanBuilder: Sendable {
    private let configuration: Configuration
    private let environment: [String: String]
    private let secrets: SecretResolver
    private let log: @Sendable (_ level: String, _ message: String) -> Void

    /// A builder in the given environment; `log` is told when credentials cannot be refreshed.
    public init(
        configuration: Configuration, environment: [String: String],
        log: @escaping @Sendable (String, String) -> Void
    ) {
        self.configuration = configuration
        self.log = log
        self.environment = environment
        secrets = Self.resolver(environment)
    }

    /// Reads secrets from the environment and from files.
    public static func resolver(_ environment: [String: String]) -> SecretResolver {
        SecretResolver(environment: { environment[$0] }, readFile: { FileSystem.read($0) })
    }

    /// The AWS region that the environment or the profile names.
    public static func region(_ environment: [String: String]) -> String? {
        chain(environment).region
    }

    /// The plan.
    /// - Throws: the first thing that cannot be had, such as a certificate that does not parse.
    public func build(metrics: Metrics, previous: Plan?) throws(PlanFailure) -> Plan {
        var backends: [BackendPlan] = []
        for backend in configuration.backends {
            let former = previous?.backends.first { $0.name == backend.name }
            backends.append(try build(backend, former: former))
        }
        var digests: [[SHA256.Digest]] = []
        for tenant in configuration.tenants {
            var keys: [SHA256.Digest] = []
            for key in tenant.keys {
                if let digest = try digest(key, tenant: tenant.name) { keys.append(digest) }
            }
            digests.append(keys)
        }
        return Plan(
            configuration: configuration, backends: backends, keyDigests: digests,
            metrics: metrics, createdSeconds: SystemClock.wallTime().seconds, previous: previous)
    }

    /// TLS of a listener, whose tickets are sealed with a secret of its own; nil for cleartext.
    public func tls(
        of listener: ListenerConfiguration, tickets: TLSTicketSecret
    ) throws(PlanFailure) -> TLSContext? {
        guard let tls = listener.tls else { return nil }
        let name = "\(listener.address.host):\(listener.address.port)"
        do throws(TLSFailure) {
            return try TLSContext.server(
                certificateChainPEM: read(tls.certificate), privateKeyPEM: read(tls.key),
                clientAuthorityPEM: tls.clientAuthority.map { read($0) },
                tickets: tickets.scoped(to: name), protocols: [.http2, .http11])
        } catch {
            let file =
                switch error.part {
                case .certificate, .connection: tls.certificate
                case .key: tls.key
                case .authorities: tls.clientAuthority ?? tls.certificate
                }
            throw PlanFailure(message: "\(file): \(error.reason)")
        }
    }

    /// Files whose change calls for a new plan: secrets, certificates, authorities.
    public var watchedFiles: [String] {
        var files: [String] = []
        for listener in configuration.listeners {
            guard let tls = listener.tls else { continue }
            files += [tls.certificate, tls.key]
            if let authority = tls.clientAuthority { files.append(authority) }
        }
        for backend in configuration.backends {
            var sources = [backend.apiKey]
            if case .keys(let id, let key, let token) = backend.credentials {
                sources += [id, key, token]
            }
            if case .bearerToken(let token) = backend.credentials { sources.append(token) }
            for case .file(let path)? in sources { files.append(path) }
            if let authority = backend.tls.certificateAuthority { files.append(authority) }
            if let identity = backend.tls.identity {
                files += [identity.certificate, identity.key]
            }
        }
        for key in configuration.tenants.flatMap(\.keys) {
            if case .plain(.file(let path)) = key { files.append(path) }
        }
        return files
    }

    private func build(
        _ backend: BackendConfiguration, former: BackendPlan?
    ) throws(PlanFailure) -> BackendPlan {
        guard let provider = ProviderCatalogue.provider(kind: backend.kind) else {
            throw PlanFailure(message: "backend \(backend.name): unknown kind \(backend.kind)")
        }
        let region = backend.region ?? chain.region
        let url =
            backend.url
            ?? region.map { AWSEndpoints.bedrock(region: $0, environment: environment) }
        guard let url else {
            throw PlanFailure(
                message: "backend \(backend.name): set its region or url "
                    + "(AWS_REGION and the profile name none either)")
        }
        let tls = url.isTLS ? try tls(of: backend, former: former?.tls) : nil
        let origin = credentialOrigin(of: backend, region: region ?? "us-east-1")
        if let former, let origin, former.credentialOrigin == origin {
            // What was fetched serves on; whether there is something newer is asked meanwhile.
            former.credentialWasRefused()
            return BackendPlan(
                configuration: backend, url: url, provider: provider, region: region ?? "",
                tls: tls, credential: former.credential,
                credentialWasRefused: former.credentialWasRefused,
                credentialGeneration: former.credentialGeneration, credentialOrigin: origin)
        }
        let store = try credentials(of: backend, region: region ?? "us-east-1")
        return BackendPlan(
            configuration: backend, url: url, provider: provider, region: region ?? "",
            tls: tls, credential: { store.current(now: $0) },
            credentialWasRefused: { store.wasRefused() },
            credentialGeneration: { store.generation }, credentialOrigin: origin)
    }

    /// Where the credentials of a backend are fetched; nil when they stand in the configuration.
    private func credentialOrigin(
        of backend: BackendConfiguration, region: String
    ) -> String? {
        guard backend.apiKey == nil, backend.kind == BedrockProvider.provider.kind else {
            return nil
        }
        switch backend.credentials {
        case .keys, .bearerToken: return nil
        case .profile(let name): return "profile \(name) in \(region)"
        case .assumeRole(let arn, let tokenFile, let sessionName, let externalID):
            return "role \([arn, tokenFile, sessionName, externalID]) in \(region)"
        case nil: return "chain in \(region)"
        }
    }

    private func credentials(
        of backend: BackendConfiguration, region: String
    ) throws(PlanFailure) -> CredentialStore {
        let what = "backend \(backend.name)"
        if let source = backend.apiKey {
            return CredentialStore(fixed: .bearer(try secret(source, what)))
        }
        guard backend.kind == BedrockProvider.provider.kind else {
            return CredentialStore(fixed: BackendCredential.none)
        }
        switch backend.credentials {
        case .keys(let id, let key, let token):
            let keys = AWSCredentials(
                accessKeyID: String(decoding: try secret(id, what).exposed, as: UTF8.self),
                secretAccessKey: try secret(key, what),
                sessionToken: try token.map { source throws(PlanFailure) in
                    try secret(source, what)
                },
                expiration: nil)
            return CredentialStore(fixed: .aws(keys))
        case .bearerToken(let token):
            return CredentialStore(fixed: .bearer(try secret(token, what)))
        case .profile, .assumeRole, nil: break
        }
        let fetcher = CredentialFetcher(environment: environment, region: region)
        let log = log
        let wanted = backend.credentials
        let environment = environment
        // The files are read anew each time: they may have changed.
        return CredentialStore(
            find: { () throws(CredentialFailure) in
                let chain = Self.chain(environment)
                return try fetcher.fetch(try Self.source(wanted, chain))
            },
            report: { log("error", "\(what): \($0)") })
    }

    private static func source(
        _ wanted: AWSCredentialConfiguration?, _ chain: CredentialChain
    ) throws(CredentialFailure) -> CredentialSource {
        switch wanted {
        case .profile(let name): return try chain.source(ofProfile: name)
        case .assumeRole(let arn, let tokenFile, let sessionName, let externalID):
            let request = RoleRequest(
                arn: arn, sessionName: sessionName, externalID: externalID)
            if let tokenFile { return .webIdentity(request, tokenFile: tokenFile) }
            return .assumeRole(request, using: try chain.source())
        case .keys, .bearerToken, nil: return try chain.source()
        }
    }

    private var chain: CredentialChain { Self.chain(environment) }

    private static func chain(_ environment: [String: String]) -> CredentialChain {
        let home = environment["HOME"] ?? ""
        let read = { (name: String, file: String) in
            let path = environment[name] ?? "\(home)/.aws/\(file)"
            return String(decoding: FileSystem.read(path) ?? [], as: UTF8.self)
        }
        return CredentialChain(
            environment: environment,
            profiles: SharedProfiles(
                credentials: read("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
                config: read("AWS_CONFIG_FILE", "config")))
    }

    /// The former one while nothing has changed that it was made from: its connections and sessions
    /// stay in use then.
    private func tls(
        of backend: BackendConfiguration, former: TLSContext?
    ) throws(PlanFailure) -> TLSContext {
        do throws(TLSFailure) {
            let tls = try TLSContext.client(
                certificateAuthorityPEM: backend.tls.certificateAuthority.map { read($0) },
                isVerified: backend.tls.isVerified,
                identity: backend.tls.identity.map { files in
                    TLSIdentity(
                        certificateChainPEM: read(files.certificate),
                        privateKeyPEM: read(files.key))
                }, protocols: Self.protocols(of: backend.http))
            if let former, former.isMade(like: tls) { return former }
            return tls
        } catch {
            throw PlanFailure(message: "backend \(backend.name): \(error.reason)")
        }
    }

    private static func protocols(of http: BackendHTTP) -> [ApplicationProtocol] {
        switch http {
        case .automatic: [.http2, .http11]
        case .http1: [.http11]
        case .http2: [.http2]
        }
    }

    /// The digest of an API key; nil for a certificate's subject.
    private func digest(
        _ key: TenantConfiguration.Key, tenant: String
    ) throws(PlanFailure) -> SHA256.Digest? {
        switch key {
        case .certificate: return nil
        case .digest(let digest): return digest
        case .plain(let source):
            let key = try secret(source, "a key of tenant \(tenant)").exposed
            return SHA256.digest(key.span)
        }
    }

    func secret(_ source: SecretSource, _ what: String) throws(PlanFailure) -> Secret {
        do throws(SecretResolver.Failure) {
            return try secrets.resolveLine(source)
        } catch {
            throw PlanFailure(message: "\(what): \(error.message)")
        }
    }

    /// A file's bytes; none when it cannot be read, which its parser then reports.
    private func read(_ path: String) -> [UInt8] { FileSystem.read(path) ?? [] }
}
