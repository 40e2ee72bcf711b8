public import Primitives
public import Translation
public import Wire

/// A backend, ready for use; immutable, and handed around by every request.
public final class BackendPlan: Sendable {
    /// The name in the file; also its label.
    public let name: String
    /// What it speaks.
    public let provider: Provider
    /// Where it is.
    public let url: BackendURL
    /// The region that signatures name; empty without one.
    public let region: String
    /// Fields added to each request, from the file.
    public let headers: HeaderFields
    /// The four clocks.
    public let timeouts: BackendTimeouts
    /// The pool.
    public let connections: BackendConnections
    /// TLS towards it; nil for cleartext.
    public let tls: TLSContext?
    /// Which version of HTTP it is spoken to in.
    public let http: BackendHTTP
    /// The name to verify and send as SNI.
    public let serverName: String
    /// Rule F4.
    public let isLegacyDialect: Bool
    /// Rule F2.
    public let rewritesModel: Bool

    /// The Host field.
    public let hostField: [UInt8]
    /// The path in front of every request's own.
    public let basePath: [UInt8]

    /// The current credential; nil when none is known (yet). Callable from any thread.
    public let credential: @Sendable (WallTime) -> BackendCredential?
    /// The backend refused the credential: fetch a new one.
    public let credentialWasRefused: @Sendable () -> Void
    /// Grows with each credential that was fetched; nil when it is a fixed one.
    public let credentialGeneration: @Sendable () -> Int?
    /// Where fetched credentials come from, in a word that is the same for the same place; nil for
    /// fixed ones.
    public let credentialOrigin: String?

    /// A backend from its configuration and what only the runtime can supply.
    public init(
        configuration: BackendConfiguration, url: BackendURL, provider: Provider, region: String,
        tls: TLSContext?, credential: @escaping @Sendable (WallTime) -> BackendCredential?,
        credentialWasRefused: @escaping @Sendable () -> Void,
        credentialGeneration: @escaping @Sendable () -> Int?, credentialOrigin: String? = nil
    ) {
        name = configuration.name
        self.provider = provider
        self.url = url
        self.region = region
        var fields = HeaderFields()
        for header in configuration.headers {
            fields.append(name: header.name, value: Array(header.value.utf8))
        }
        headers = fields
        timeouts = configuration.timeouts
        connections = configuration.connections
        self.tls = tls
        http = configuration.http
        serverName = configuration.tls.serverName ?? url.host
        isLegacyDialect = configuration.isLegacyDialect
        rewritesModel = configuration.rewritesModel
        hostField = Array(url.hostField.utf8)
        basePath = Array(url.basePath.utf8)
        self.credential = credential
        self.credentialWasRefused = credentialWasRefused
        self.credentialGeneration = credentialGeneration
        self.credentialOrigin = credentialOrigin
    }

    /// Whether connections made for another plan's backend can serve this one.
    public func hasSameConnections(as other: BackendPlan) -> Bool {
        name == other.name && url == other.url && tls === other.tls
            && http == other.http && serverName == other.serverName
            && connections == other.connections
    }
}
