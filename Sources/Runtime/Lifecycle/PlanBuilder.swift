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

    /// A builder in the given environment.
    public init(configuration: Configuration, environment: [String: String]) {
        self.configuration = configuration
        self.environment = environment
        secrets = Self.resolver(environment)
    }

    /// Reads secrets from the environment and from files.
    public static func resolver(_ environment: [String: String]) -> SecretResolver {
        SecretResolver(environment: { environment[$0] }, readFile: { FileSystem.read($0) })
    }

    /// The plan.
    /// - Throws: the first thing that cannot be had, such as a certificate that does not parse.
    public func build(metrics: Metrics, previous: Plan?) throws(PlanFailure) -> Plan {
        var backends: [BackendPlan] = []
        for backend in configuration.backends { backends.append(try build(backend)) }
        var digests: [[[UInt8]]] = []
        for tenant in configuration.tenants {
            var keys: [[UInt8]] = []
            for key in tenant.keys { keys.append(try digest(key, tenant: tenant.name)) }
            digests.append(keys)
        }
        return Plan(
            configuration: configuration, backends: backends, keyDigests: digests,
            metrics: metrics, createdSeconds: SystemClock.wallTime().seconds, previous: previous)
    }

    /// TLS of a listener; nil for cleartext.
    public func tls(of listener: ListenerConfiguration) throws(PlanFailure) -> TLSContext? {
        guard let tls = listener.tls else { return nil }
        do throws(TLSFailure) {
            return try TLSContext.server(
                certificateChainPEM: read(tls.certificate), privateKeyPEM: read(tls.key))
        } catch {
            throw PlanFailure(message: "\(tls.certificate): \(error.reason)")
        }
    }

    /// Files whose change calls for a new plan: secrets, certificates, authorities.
    public var watchedFiles: [String] {
        var files: [String] = []
        for listener in configuration.listeners {
            if let tls = listener.tls { files += [tls.certificate, tls.key] }
        }
        for backend in configuration.backends {
            var sources = [backend.apiKey]
            if case .keys(let id, let key, let token) = backend.credentials {
                sources += [id, key, token]
            }
            if case .bearerToken(let token) = backend.credentials { sources.append(token) }
            for case .file(let path)? in sources { files.append(path) }
            if let authority = backend.tls.certificateAuthority { files.append(authority) }
        }
        for key in configuration.tenants.flatMap(\.keys) {
            if case .plain(.file(let path)) = key { files.append(path) }
        }
        return files
    }

    private func build(_ backend: BackendConfiguration) throws(PlanFailure) -> BackendPlan {
        guard let provider = ProviderCatalogue.provider(kind: backend.kind) else {
            throw PlanFailure(message: "backend \(backend.name): unknown kind \(backend.kind)")
        }
        guard let url = backend.url else {
            throw PlanFailure(message: "backend \(backend.name): it has no url")
        }
        let store = try credentials(of: backend)
        return BackendPlan(
            configuration: backend, url: url, provider: provider, region: backend.region ?? "",
            tls: url.isTLS ? try tls(of: backend) : nil,
            credential: { store.current(now: $0) }, credentialWasRefused: { store.wasRefused() })
    }

    private func credentials(of backend: BackendConfiguration) throws(PlanFailure) -> CredentialStore {
        if let source = backend.apiKey {
            return CredentialStore(fixed: .bearer(try secret(source, "backend \(backend.name)")))
        }
        switch backend.credentials {
        case .keys(let id, let key, let token):
            let what = "backend \(backend.name)"
            return CredentialStore(
                fixed: .aws(
                    AWSCredentials(
                        accessKeyID: String(
                            decoding: try secret(id, what).exposed, as: UTF8.self),
                        secretAccessKey: try secret(key, what),
                        sessionToken: try token.map { source throws(PlanFailure) in
                            try secret(source, what)
                        },
                        expiration: nil)))
        default: return CredentialStore(fixed: BackendCredential.none)
        }
    }

    private func tls(of backend: BackendConfiguration) throws(PlanFailure) -> TLSContext {
        do throws(TLSFailure) {
            return try TLSContext.client(
                certificateAuthorityPEM: backend.tls.certificateAuthority.map { read($0) },
                isVerified: backend.tls.isVerified)
        } catch {
            throw PlanFailure(message: "backend \(backend.name): \(error.reason)")
        }
    }

    private func digest(
        _ key: TenantConfiguration.Key, tenant: String
    ) throws(PlanFailure) -> [UInt8] {
        switch key {
        case .digest(let digest): return digest
        case .plain(let source):
            let key = try secret(source, "a key of tenant \(tenant)").exposed
            return SHA256.digest(key.span)
        }
    }

    func secret(_ source: SecretSource, _ what: String) throws(PlanFailure) -> Secret {
        do throws(SecretResolver.Failure) {
            return try secrets.resolve(source)
        } catch {
            throw PlanFailure(message: "\(what): \(error.message)")
        }
    }

    /// A file's bytes; none when it cannot be read, which its parser then reports.
    private func read(_ path: String) -> [UInt8] { FileSystem.read(path) ?? [] }
}
