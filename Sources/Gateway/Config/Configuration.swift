public import Primitives
public import Translation
public import Wire

/// gateway.yaml after validation, exactly as the file says it: no secret has been read yet,
/// and relative paths are resolved against the file's folder.
public struct Configuration: Sendable {
    /// Where clients connect.
    public var listeners: [ListenerConfiguration] = []
    /// The address of metrics, health and admin; nil when there is none.
    public var admin: SocketName?
    /// Event loops; nil is one per core.
    public var workers: Int?
    /// The folder of ledger and journal.
    public var stateDirectory = "./state"
    /// The upstreams, in the file's order.
    public var backends: [BackendConfiguration] = []
    /// What clients may ask for, in the file's order.
    public var routes: [RouteConfiguration] = []
    /// Who pays; empty serves everyone as `anonymous`.
    public var tenants: [TenantConfiguration] = []
    /// Prices that override the built-in table, in the file's order.
    public var prices: [PriceOverride] = []
    /// Limits on what one client may make us hold.
    public var limits = GatewayLimits()
    /// How requests are recorded.
    public var ledger = LedgerConfiguration()
    /// How the process ends.
    public var drain = DrainConfiguration()
    /// What is logged.
    public var log = LogConfiguration()

    /// The configuration of an empty file.
    public init() {}

    /// Keys of what is opened once, at start, and would be different with another configuration.
    public func keysForRestart(_ other: Configuration) -> [String] {
        let keys = [
            ("listeners", listeners.map(\.address) != other.listeners.map(\.address)),
            ("admin", admin != other.admin), ("workers", workers != other.workers),
            ("state", stateDirectory != other.stateDirectory),
            ("log.level", log.level != other.log.level),
        ]
        return keys.filter(\.1).map(\.0)
    }
}

/// `host:port` as it was written.
public struct SocketName: Sendable, Equatable {
    /// A host name or address, without brackets.
    public var host: String
    /// The port.
    public var port: UInt16

    /// A name.
    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Whether the host is a loopback address or `localhost`.
    public var isLoopback: Bool {
        host == "localhost" || host.hasPrefix("127.") || version6 == .loopback
    }

    /// The host as it is listened on: `localhost` is an address of version 4.
    public var listeningHost: String { host == "localhost" ? "127.0.0.1" : host }

    /// Whether connections to every address of its version are taken.
    private var isWildcard: Bool { host == "0.0.0.0" || version6 == .unspecified }

    private var isIPv6: Bool { host.contains(":") }

    private var version6: IPv6Number? { IPv6Number(host) }

    /// Whether both are one address, however it is written.
    func hasSameSocket(as other: SocketName) -> Bool {
        guard hasSamePort(as: other) else { return false }
        if let version6 { return version6 == other.version6 }
        return listeningHost == other.listeningHost
    }

    /// Whether a connection could be meant for either of the two. A socket of version 6 takes none
    /// of version 4: the kernel is told so (IPV6_V6ONLY).
    func overlaps(_ other: SocketName) -> Bool {
        hasSameSocket(as: other)
            || hasSamePort(as: other) && isIPv6 == other.isIPv6 && (isWildcard || other.isWildcard)
    }

    /// Port 0 is any that is free.
    private func hasSamePort(as other: SocketName) -> Bool { port == other.port && port != 0 }
}

/// One address where clients connect.
public struct ListenerConfiguration: Sendable, Equatable {
    /// The address.
    public var address: SocketName
    /// The certificate; nil for cleartext.
    public var tls: ServerTLSConfiguration?

    /// A listener.
    public init(address: SocketName, tls: ServerTLSConfiguration?) {
        self.address = address
        self.tls = tls
    }
}

/// A server's certificate.
public struct ServerTLSConfiguration: Sendable, Equatable {
    /// Path of the PEM chain.
    public var certificate: String
    /// Path of the PEM key.
    public var key: String
    /// Path of the authorities that a client's certificate must come from; nil asks for none.
    public var clientAuthority: String?

    /// A certificate.
    public init(certificate: String, key: String, clientAuthority: String? = nil) {
        self.certificate = certificate
        self.key = key
        self.clientAuthority = clientAuthority
    }
}

/// Where a secret comes from.
public enum SecretSource: Sendable {
    /// An environment variable.
    case environment(String)
    /// A file, re-read when it changes; trailing newlines are cut.
    case file(String)
    /// The text itself.
    case value(Secret)
}

/// One upstream.
public struct BackendConfiguration: Sendable {
    /// The name.
    public var name: String
    /// The kind: a `Provider.kind`.
    public var kind: String
    /// The base URL; nil for a kind with a well-known one.
    public var url: BackendURL?
    /// The AWS region.
    public var region: String?
    /// AWS credentials; nil is the AWS chain.
    public var credentials: AWSCredentialConfiguration?
    /// The API key of an OpenAI-shaped backend.
    public var apiKey: SecretSource?
    /// Fields added upstream, in order.
    public var headers: [(name: String, value: String)] = []
    /// The four clocks.
    public var timeouts = BackendTimeouts()
    /// The pool.
    public var connections = BackendConnections()
    /// TLS towards the backend.
    public var tls = ClientTLSConfiguration()
    /// Which version of HTTP is spoken.
    public var http = BackendHTTP.automatic
    /// Rule F4: neither `max_completion_tokens` nor the developer role is known there.
    public var isLegacyDialect = false
    /// Rule F2: write the client's model name into answers.
    public var rewritesModel = false

    /// A backend with every default.
    public init(name: String, kind: String) {
        self.name = name
        self.kind = kind
    }
}

/// A base URL in parts.
public struct BackendURL: Sendable, Equatable {
    /// Whether the scheme is https.
    public var isTLS: Bool
    /// The host, without brackets.
    public var host: String
    /// The port, the scheme's default when none was written.
    public var port: UInt16
    /// The path without a trailing slash; empty or beginning with a slash.
    public var basePath: String

    /// A URL.
    public init(isTLS: Bool, host: String, port: UInt16, basePath: String) {
        self.isTLS = isTLS
        self.host = host
        self.port = port
        self.basePath = basePath
    }

    /// The Host field: brackets around IPv6, the port when it is not the scheme's default.
    public var hostField: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return port == (isTLS ? 443 : 80) ? name : "\(name):\(port)"
    }
}

/// How AWS credentials are found when not by the chain.
public enum AWSCredentialConfiguration: Sendable {
    /// Fixed keys.
    case keys(accessKeyID: SecretSource, secretAccessKey: SecretSource, sessionToken: SecretSource?)
    /// A profile of the shared files.
    case profile(String)
    /// A Bedrock API key.
    case bearerToken(SecretSource)
    /// A role; with a token file by web identity, else with the chain's own credentials.
    case assumeRole(
        arn: String, webIdentityTokenFile: String?, sessionName: String?, externalID: String?)
}

/// Which version of HTTP a backend is spoken to in.
public enum BackendHTTP: String, Sendable, CaseIterable {
    /// HTTP/2 where the backend agrees to it by ALPN, else HTTP/1.1.
    case automatic = "auto"
    /// HTTP/1.1 only.
    case http1 = "1"
    /// HTTP/2 only: by ALPN, and on cleartext by prior knowledge (RFC 9113 section 3.3).
    case http2 = "2"
}

/// The four clocks of a backend (design D9), in milliseconds.
public struct BackendTimeouts: Sendable, Equatable {
    /// Until the connection stands, TLS included.
    public var connectMilliseconds = 5_000
    /// From the sent request to the first byte of the answer.
    public var firstByteMilliseconds = 300_000
    /// Between two reads of the answer.
    public var idleMilliseconds = 120_000
    /// All attempts of one request together.
    public var totalMilliseconds = 1_800_000

    /// The defaults.
    public init() {}
}

/// The pool of a backend, for each worker.
public struct BackendConnections: Sendable, Equatable {
    /// Open connections at most, over all workers.
    public var maximum = 1_000
    /// Idle connections kept at most, over all workers.
    public var maximumIdle = 64
    /// How long an idle one is kept, in milliseconds.
    public var idleMilliseconds = 60_000

    /// The defaults.
    public init() {}
}

/// A certificate and its key.
public struct CertificateFiles: Sendable, Equatable {
    /// Path of the PEM chain.
    public var certificate: String
    /// Path of the PEM key.
    public var key: String

    /// Two files.
    public init(certificate: String, key: String) {
        self.certificate = certificate
        self.key = key
    }
}

/// TLS towards a backend.
public struct ClientTLSConfiguration: Sendable, Equatable {
    /// Path of a PEM bundle that replaces the system's authorities.
    public var certificateAuthority: String?
    /// The name to verify and send as SNI; nil is the URL's host.
    public var serverName: String?
    /// Whether the certificate is verified. Only `verify: false` in the file turns it off.
    public var isVerified = true
    /// What we prove our own identity with; nil for nothing.
    public var identity: CertificateFiles?

    /// The defaults.
    public init() {}
}

/// What a client may ask for.
public struct RouteConfiguration: Sendable {
    /// A model name or a glob.
    public var model: String
    /// Where it is served.
    public var targets: [TargetConfiguration]
    /// Whether unsupported fields are refused instead of dropped and named.
    public var isStrict = false

    /// A route.
    public init(model: String, targets: [TargetConfiguration]) {
        self.model = model
        self.targets = targets
    }
}

/// One (backend, model) pair of a route.
public struct TargetConfiguration: Sendable {
    /// The backend's name.
    public var backend: String
    /// Its share among the route's targets.
    public var weight = 1
    /// The model whose price applies; nil is the upstream model.
    public var priceAs: String?
    /// What the provider is told.
    public var options = TargetOptions()

    /// A target.
    public init(backend: String) { self.backend = backend }
}

/// Who pays.
public struct TenantConfiguration: Sendable {
    /// What requests of a tenant prove themselves with.
    public enum Key: Sendable {
        /// The key itself.
        case plain(SecretSource)
        /// Its SHA-256, 32 bytes.
        case digest(SHA256.Digest)
        /// The subject of a client's certificate: a whole name, or only `CN=…`.
        case certificate(String)
    }

    /// The name.
    public var name: String
    /// The keys.
    public var keys: [Key] = []
    /// Names and globs of the models it may use.
    public var models: [String] = []
    /// Its limits, in the file's order.
    public var limits: [LimitConfiguration] = []

    /// A tenant that may use nothing.
    public init(name: String) { self.name = name }
}

/// One limit of a tenant.
public struct LimitConfiguration: Sendable, Equatable {
    /// What is counted.
    public enum Measure: String, Sendable, CaseIterable {
        /// Requests.
        case requests
        /// Input and output tokens.
        case tokens
        /// Input tokens.
        case inputTokens = "input_tokens"
        /// Output tokens.
        case outputTokens = "output_tokens"
        /// Money, in nano-dollars.
        case usd

        /// Whether a running answer adds to it.
        var countsOutput: Bool { self == .tokens || self == .outputTokens || self == .usd }
    }

    /// What becomes of an answer that turns out longer than what is left.
    public enum OnExceed: String, Sendable, CaseIterable {
        /// It goes on, and later requests wait for longer.
        case finish
        /// A stream ends as if the model's own limit were reached.
        case cut
    }

    /// The period.
    public enum Window: String, Sendable, CaseIterable {
        /// Sixty seconds, leaking.
        case minute
        /// An hour, leaking.
        case hour
        /// A UTC calendar day.
        case day
        /// A UTC calendar month.
        case month
    }

    /// What is counted.
    public var measure: Measure
    /// How much: requests, tokens or nano-dollars.
    public var amount: Int64
    /// The period.
    public var window: Window
    /// Only requests whose model (as the client names it) matches this name or glob.
    public var model: String?
    /// A bucket for each value of the request's `user` field.
    public var isByUser = false
    /// What becomes of an answer that turns out longer than what is left.
    public var onExceed = OnExceed.finish

    /// A limit.
    public init(measure: Measure, amount: Int64, window: Window) {
        self.measure = measure
        self.amount = amount
        self.window = window
    }
}

/// A price in the file: nano-dollars per token by class.
public struct PriceOverride: Sendable {
    /// A model name or glob.
    public var model: String
    /// Prices by the file's names (`input`, `output`, `cache_read`, `cache_write`, `reasoning`, …)
    /// in pico-dollars per token: 1 US dollar per million tokens is 1,000,000.
    public var picodollarsPerToken: [String: Int64]

    /// A price.
    public init(model: String, picodollarsPerToken: [String: Int64]) {
        self.model = model
        self.picodollarsPerToken = picodollarsPerToken
    }
}

/// What one client may make us hold.
public struct GatewayLimits: Sendable, Equatable {
    /// The longest request body in bytes.
    public var requestBodyBytes = 64 << 20
    /// The longest head in bytes, request line included.
    public var headerBytes = 64 << 10
    /// Requests in flight, over all workers.
    public var concurrentRequests = 10_000
    /// Request bodies that are held at once, over all workers.
    public var bufferedBytes = 1 << 30
    /// Connections of clients, over all workers: two for each request that may be in flight.
    public var connections = 20_000

    /// The defaults.
    public init() {}
}

/// How requests are recorded.
public struct LedgerConfiguration: Sendable, Equatable {
    /// What becomes of new requests when nothing can be recorded.
    public enum WhenFull: String, Sendable, CaseIterable {
        /// They are answered with 503 `ledger_unavailable`.
        case refuse
        /// They are served; what is not recorded is counted.
        case `continue`
    }

    /// How often the journal is brought to the disk itself; nil leaves that to the kernel.
    public var syncMilliseconds: Int? = 1000
    /// See above.
    public var whenFull = WhenFull.refuse
    /// Months that ended longer ago are summed up; nil keeps every row.
    public var retentionMilliseconds: Int?

    /// The defaults.
    public init() {}
}

/// How the process ends after SIGTERM or SIGINT.
public struct DrainConfiguration: Sendable, Equatable {
    /// How long connections are still taken, for load balancers that have yet to hear of the end.
    public var delayMilliseconds = 0
    /// How long requests that are under way then have to finish.
    public var timeoutMilliseconds = 30_000

    /// The defaults.
    public init() {}
}

/// What is logged.
public struct LogConfiguration: Sendable, Equatable {
    /// swift-log's level names.
    public var level = "info"
    /// Whether log lines are JSON (else text).
    public var isJSON = true
    /// Whether each request writes a line.
    public var hasAccessLog = true

    /// The defaults.
    public init() {}
}
