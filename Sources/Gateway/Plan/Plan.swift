import Primitives
public import Translation
public import Wire

/// Everything a request needs to know, immutable: a reload makes a new plan, and each Exchange
/// keeps the one it began with.
public final class Plan: Sendable {
    /// The limits on what one client may make us hold.
    public let limits: GatewayLimits
    /// The upstreams, in the file's order.
    public let backends: [BackendPlan]
    /// What clients may ask for, in the file's order.
    public let routes: [RoutePlan]
    /// Who pays; never empty: without tenants in the file there is `anonymous`.
    public let tenants: [TenantPlan]
    /// The accounts of all limits.
    public let quota: QuotaBook
    /// What tokens cost.
    public let prices: PriceBook
    /// Counters; the same object for all plans of a process.
    public let metrics: Metrics
    /// How requests are recorded.
    public let ledger: LedgerConfiguration
    /// How requests are logged.
    public let log: LogConfiguration
    /// When this plan was made, for `created` in the list of models.
    public let createdSeconds: Int64

    private let routeTable: RouteTable
    private let keys: [SHA256.Digest: KeyPlan]
    /// The tenants of certificates' subjects.
    private let subjects: [String: Int]
    private let isOpen: Bool

    /// One accepted API key.
    private struct KeyPlan: Sendable {
        var tenant: Int
        var keyID: String
    }

    /// A plan from a validated configuration.
    ///
    /// - Parameters:
    ///   - configuration: the file as it was read.
    ///   - backends: one for each `configuration.backends`, in order.
    ///   - keyDigests: for each tenant in order, the SHA-256 digests of its API keys.
    ///   - metrics: the process's counters.
    ///   - createdSeconds: the Unix time of this moment.
    ///   - previous: the plan this one replaces; accounts of unchanged limits go on.
    public init(
        configuration: Configuration, backends: [BackendPlan], keyDigests: [[SHA256.Digest]],
        metrics: Metrics, createdSeconds: Int64, previous: Plan?
    ) {
        limits = configuration.limits
        self.backends = backends
        self.metrics = metrics
        self.createdSeconds = createdSeconds
        ledger = configuration.ledger
        log = configuration.log
        let prices = PriceBook(overrides: configuration.prices)
        self.prices = prices
        routes = configuration.routes.map { RoutePlan($0, backends: backends, prices: prices) }
        routeTable = RouteTable(patterns: configuration.routes.map { ModelPattern($0.model) })
        isOpen = configuration.tenants.isEmpty
        tenants =
            isOpen
            ? [TenantPlan(name: "anonymous", models: [ModelPattern("*")])]
            : configuration.tenants.map { tenant in
                TenantPlan(name: tenant.name, models: tenant.models.map { ModelPattern($0) })
            }
        quota = QuotaBook(
            tenants: isOpen
                ? [(name: "anonymous", limits: [])]
                : configuration.tenants.map { (name: $0.name, limits: $0.limits) },
            carryingOverFrom: previous?.quota)
        keys = Self.index(keyDigests)
        subjects = Self.subjects(of: configuration.tenants)
    }

    /// Who a request is from: the tenant and the short name of the key; nil when the key is
    /// unknown.
    ///
    /// Keys are found by their SHA-256 digest: where a look-up stops says nothing about a key.
    public func authenticate(_ key: Span<UInt8>?) -> (tenant: Int, keyID: String)? {
        guard let key else { return isOpen ? (0, "") : nil }
        guard let found = keys[SHA256.digest(key)] else { return isOpen ? (0, "") : nil }
        return (found.tenant, found.keyID)
    }

    /// Who a request without a key is from, by the client's verified certificate; nil when no
    /// tenant names its subject. The whole name goes before the common name alone.
    public func authenticate(
        certificate subject: CertificateSubject
    ) -> (tenant: Int, keyID: String)? {
        let tenant = subjects[subject.text] ?? subject.commonName.flatMap { subjects[$0] }
        if let tenant { return (tenant, subject.shortName) }
        return isOpen ? (0, "") : nil
    }

    /// The route that serves a model; nil when there is none.
    public func route(for model: String) -> Int? { routeTable.route(for: model) }

    /// Whether a tenant may use a model.
    public func isAllowed(_ model: String, tenant: Int) -> Bool {
        tenants[tenant].models.contains { $0.matches(model) }
    }

    /// Appends a request's line to the access log, unless there is none.
    func appendLogLine(_ row: LedgerRow, to line: inout [UInt8]) {
        guard log.hasAccessLog else { return }
        AccessLogLine.append(row, isJSON: log.isJSON, to: &line)
    }

    private static func subjects(of tenants: [TenantConfiguration]) -> [String: Int] {
        var subjects: [String: Int] = [:]
        for (tenant, configuration) in tenants.enumerated() {
            for case .certificate(let subject) in configuration.keys { subjects[subject] = tenant }
        }
        return subjects
    }

    private static func index(_ keyDigests: [[SHA256.Digest]]) -> [SHA256.Digest: KeyPlan] {
        var keys: [SHA256.Digest: KeyPlan] = [:]
        for (tenant, digests) in keyDigests.enumerated() {
            for digest in digests {
                keys[digest] = KeyPlan(tenant: tenant, keyID: digest.hexadecimal(prefix: 6))
            }
        }
        return keys
    }
}

/// A tenant, ready for use.
public struct TenantPlan: Sendable {
    /// The name.
    public let name: String
    /// The models it may use.
    public let models: [ModelPattern]
}

/// A route, ready for use.
public struct RoutePlan: Sendable {
    /// The name or glob in the file; also its label.
    public let name: String
    /// Whether the name is a glob.
    public let isGlob: Bool
    /// Where it is served.
    public let targets: [TargetPlan]
    /// The targets' weights.
    let weights: [Int]
    /// Whether a target reads a client's body, rather than passing it on.
    let readsBodies: Bool

    init(_ route: RouteConfiguration, backends: [BackendPlan], prices: PriceBook) {
        name = route.model
        let isGlob = route.model.contains { $0 == "*" || $0 == "?" }
        self.isGlob = isGlob
        targets = route.targets.compactMap { target in
            guard let index = backends.firstIndex(where: { $0.name == target.backend }) else {
                return nil
            }
            return TargetPlan(
                target, servedModel: isGlob ? nil : route.model, backend: index,
                plan: backends[index], prices: prices)
        }
        weights = targets.map(\.weight)
        readsBodies = targets.contains { backends[$0.backend].provider.readsBodies }
    }
}

/// A target, ready for use; immutable, and handed around by every request.
public final class TargetPlan: Sendable {
    /// Index of the backend.
    public let backend: Int
    /// Its share among the route's targets.
    public let weight: Int
    /// What the provider is told.
    public let options: TargetOptions

    /// The price, where it does not depend on what a client asks for.
    private let fixedPrice: Price?
    private let priceAs: String?

    /// `servedModel` is what the route serves; nil when its name is a glob.
    init(
        _ target: TargetConfiguration, servedModel: String?, backend: Int, plan: BackendPlan,
        prices: PriceBook
    ) {
        self.backend = backend
        weight = target.weight
        var options = target.options
        options.isLegacyDialect = plan.isLegacyDialect
        options.rewritesModel = plan.rewritesModel
        self.options = options
        priceAs = target.priceAs ?? target.options.model ?? servedModel
        fixedPrice = priceAs.flatMap { prices.price(for: $0, kind: plan.provider.kind) }
    }

    /// The options, with images that have been fetched for a request.
    func options(with images: [[UInt8]: [UInt8]]) -> TargetOptions {
        var options = options
        options.fetchedImages = images
        return options
    }

    /// The model name that the backend gets for what the client asked.
    public func upstreamModel(for model: String) -> String { options.model ?? model }

    /// The price of this target; nil when it is unknown.
    public func price(for model: String, kind: String, in prices: PriceBook) -> Price? {
        priceAs == nil ? prices.price(for: model, kind: kind) : fixedPrice
    }
}
