import Primitives
public import Translation

/// Reads gateway.yaml: strict, and with all mistakes at once (contract section 3).
public struct ConfigurationReader {
    /// What a file came to.
    public struct Outcome: Sendable {
        /// The configuration, when there is no error.
        public let configuration: Configuration?
        /// Errors and warnings, in the file's order.
        public let problems: [ConfigurationProblem]
    }

    let folder: String
    let kinds: [String]
    let secrets: SecretResolver?
    let region: String?
    let problems = ProblemList()

    /// A reader for a file in `folder`, with the known kinds of backends. With `secrets`, it is
    /// also checked that each secret can be had, and each backend's region; `region` is the one of
    /// backends that name none.
    public init(
        folder: String, providers: [Provider], secrets: SecretResolver?, region: String? = nil
    ) {
        self.folder = folder
        kinds = providers.map(\.kind)
        self.secrets = secrets
        self.region = region
    }

    /// Reads the text of a file.
    public func read(_ bytes: [UInt8]) -> Outcome {
        var configuration = Configuration()
        do throws(ConfigurationProblem) {
            if let root = try YAMLReader.read(bytes),
                let scope = ConfigurationScope(root, "the file", problems)
            {
                scope.allow(Self.sections, in: "the file")
                read(scope, into: &configuration)
            }
        } catch {
            problems.add(error)
        }
        let found = problems.problems.enumerated().sorted { left, right in
            (left.element.line, left.element.column, left.offset)
                < (right.element.line, right.element.column, right.offset)
        }.map(\.element)
        let isWrong = found.contains { $0.severity == .error }
        return Outcome(configuration: isWrong ? nil : configuration, problems: found)
    }

    private static let sections = [
        "listeners", "admin", "workers", "state", "backends", "routes", "tenants", "prices",
        "limits", "ledger", "drain", "log",
    ]

    private func read(_ scope: ConfigurationScope, into configuration: inout Configuration) {
        configuration.listeners = ListenerReader(reader: self).read(scope)
        configuration.admin = readAdmin(scope, listeners: configuration.listeners)
        configuration.workers = readWorkers(scope)
        configuration.stateDirectory =
            scope.path("state", folder: folder) ?? FilePath.resolve("state", in: folder)
        configuration.backends = BackendReader(reader: self).read(scope)
        configuration.routes = RouteReader(
            reader: self, backends: configuration.backends
        ).read(scope)
        configuration.tenants = TenantReader(
            reader: self, routes: configuration.routes.map { ModelPattern($0.model) },
            isLoopback: configuration.listeners.allSatisfy { $0.address.isLoopback },
            asksForCertificates: configuration.listeners.contains {
                $0.tls?.clientAuthority != nil
            }
        ).read(scope)
        configuration.prices = readPrices(scope, routes: configuration.routes)
        readLimits(scope, into: &configuration.limits)
        readLedger(scope, into: &configuration.ledger)
        readDrain(scope, into: &configuration.drain)
        readLog(scope, into: &configuration.log)
    }

    private func readAdmin(
        _ scope: ConfigurationScope, listeners: [ListenerConfiguration]
    ) -> SocketName? {
        guard scope["admin"] != nil else {
            let standard = SocketName(host: "127.0.0.1", port: 9090)
            check(standard, apartFrom: listeners, at: scope["listeners"])
            return standard
        }
        guard let admin = scope.scope("admin", allowing: ["address"]) else { return nil }
        guard let node = admin.required("address", in: "\"admin\"") else { return nil }
        let name = socketName(node, admin)
        if let name { check(name, apartFrom: listeners, at: node) }
        return name
    }

    /// Several sockets may listen on one address (SO_REUSEPORT): the kernel would hand some clients
    /// to the admin side, which asks for no key.
    private func check(
        _ admin: SocketName, apartFrom listeners: [ListenerConfiguration], at node: YAMLNode?
    ) {
        guard let node, listeners.contains(where: { $0.address.overlaps(admin) }) else { return }
        problems.add(
            "the admin side would listen where clients connect (port \(admin.port)): give it a "
                + "port of its own", at: node)
    }

    func socketName(_ node: YAMLNode, _ scope: ConfigurationScope) -> SocketName? {
        guard let text = scope.text(node, "address") else { return nil }
        guard let colon = text.lastIndex(of: ":"),
            let port = UInt16(text[text.index(after: colon)...])
        else {
            problems.add(
                "\"address\" must be such as 127.0.0.1:8080 or \"[::]:8443\", not \"\(text)\"",
                at: node)
            return nil
        }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
        } else if host.contains(":") {
            problems.add("write an IPv6 address in brackets: \"[\(host)]:\(port)\"", at: node)
            return nil
        }
        if host.isEmpty { host = "0.0.0.0" }
        return SocketName(host: host, port: port)
    }

    private func readWorkers(_ scope: ConfigurationScope) -> Int? {
        guard let node = scope["workers"], let text = scope.text(node, "workers"), text != "auto"
        else { return nil }
        guard let count = Int(text), (1...1024).contains(count) else {
            problems.add("\"workers\" must be auto or a number from 1 to 1024", at: node)
            return nil
        }
        return count
    }

    private func readPrices(
        _ scope: ConfigurationScope, routes: [RouteConfiguration]
    ) -> [PriceOverride] {
        guard let node = scope["prices"],
            let prices = ConfigurationScope(node, "\"prices\"", problems)
        else { return [] }
        let classes = [
            "input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning",
            "audio_input", "audio_output",
        ]
        return prices.entries.compactMap { name, key, value in
            guard let figures = ConfigurationScope(value, "the price of \"\(name)\"", problems)
            else { return nil }
            figures.allow(classes, in: "the price of \"\(name)\"")
            // Nothing of a built-in price is left then: what is not given would cost nothing.
            _ = figures.required("input", in: "the price of \"\(name)\"")
            if !isReachable(ModelPattern(name), routes) {
                problems.add("no route can reach the model \"\(name)\"", at: key)
            }
            var amounts: [String: Int64] = [:]
            for name in classes {
                amounts[name] = figures.quantity(
                    name, "3.00 (US dollars per million tokens)",
                    Quantities.picodollarsPerToken)
            }
            return PriceOverride(model: name, picodollarsPerToken: amounts)
        }
    }

    /// A price is for the model that a backend gets: the target's, or what the route lets through.
    private func isReachable(_ pattern: ModelPattern, _ routes: [RouteConfiguration]) -> Bool {
        routes.contains { route in
            route.targets.contains { target in
                let names = [target.priceAs, target.options.model].compactMap { $0 }
                return names.isEmpty
                    ? pattern.overlaps(ModelPattern(route.model))
                    : names.contains { pattern.matches($0) }
            }
        }
    }

    private func readLimits(_ scope: ConfigurationScope, into limits: inout GatewayLimits) {
        let keys = [
            "request_body", "header_bytes", "concurrent_requests", "buffered_bytes", "connections",
        ]
        guard let scope = scope.scope("limits", allowing: keys) else { return }
        let size = Quantities.positive(Quantities.bytes)
        let count = Quantities.positive(Quantities.count)
        if let bytes = scope.quantity("request_body", "64MiB", size) {
            limits.requestBodyBytes = bytes
        }
        let headSize = { (text: String) in
            size(text).flatMap { $0 <= Limits.headBytes ? $0 : nil }
        }
        if let bytes = scope.quantity("header_bytes", "64KiB (at most 16MiB)", headSize) {
            limits.headerBytes = bytes
        }
        if let count = scope.quantity("concurrent_requests", "10k", count) {
            limits.concurrentRequests = count
        }
        if let bytes = scope.quantity("buffered_bytes", "1GiB", size) {
            limits.bufferedBytes = bytes
        }
        if let count = scope.quantity("connections", "20k", count) {
            limits.connections = count
        }
    }

    private func readLedger(
        _ scope: ConfigurationScope, into ledger: inout LedgerConfiguration
    ) {
        guard let scope = scope.scope("ledger", allowing: ["fsync", "on_full", "retention"]) else {
            return
        }
        // Zero would mean "at once", which only a blocked event loop could promise.
        let interval = scope.quantity("fsync", "1s, or never") { text -> Int? in
            text == "never" ? 0 : Quantities.milliseconds(text).flatMap { $0 > 0 ? $0 : nil }
        }
        if let interval { ledger.syncMilliseconds = interval > 0 ? interval : nil }
        let choices = LedgerConfiguration.WhenFull.allCases.map(\.rawValue)
        if let choice = scope.choice("on_full", among: choices).flatMap({
            LedgerConfiguration.WhenFull(rawValue: $0)
        }) {
            ledger.whenFull = choice
        }
        ledger.retentionMilliseconds = scope.quantity("retention", "400d (at least 1d)") { text in
            Quantities.milliseconds(text).flatMap {
                $0 >= Limits.ledgerRetentionMilliseconds ? $0 : nil
            }
        }
    }

    private func readDrain(_ scope: ConfigurationScope, into drain: inout DrainConfiguration) {
        guard let scope = scope.scope("drain", allowing: ["delay", "timeout"]) else { return }
        let parse = { (text: String) in
            Quantities.milliseconds(text).flatMap { $0 <= Limits.drainMilliseconds ? $0 : nil }
        }
        if let delay = scope.quantity("delay", "5s (at most 1h)", parse) {
            drain.delayMilliseconds = delay
        }
        if let timeout = scope.quantity("timeout", "30s (at most 1h)", parse) {
            drain.timeoutMilliseconds = timeout
        }
    }

    private func readLog(_ scope: ConfigurationScope, into log: inout LogConfiguration) {
        guard let scope = scope.scope("log", allowing: ["level", "format", "access"]) else {
            return
        }
        let levels = ["trace", "debug", "info", "notice", "warning", "error", "critical"]
        if let level = scope.choice("level", among: levels) { log.level = level }
        if let format = scope.choice("format", among: ["json", "text"]) {
            log.isJSON = format == "json"
        }
        if let access = scope.bool("access") { log.hasAccessLog = access }
    }

    /// The secret, as far as secrets are looked at. One that cannot be had is reported where it is
    /// asked for.
    @discardableResult
    func secret(_ source: SecretSource?, at node: YAMLNode?) -> Secret? {
        guard let source, let node else { return nil }
        guard let secrets else {
            if case .value(let secret) = source { return secret }
            return nil
        }
        do throws(SecretResolver.Failure) {
            return try secrets.resolveLine(source)
        } catch {
            problems.add(error.message, at: node)
            return nil
        }
    }

    /// The bytes of a file that is read at start, or a problem; nil also when no file is looked at.
    func contents(of path: String?, at node: YAMLNode?) -> [UInt8]? {
        guard let secrets, let path, let node else { return nil }
        do throws(SecretResolver.Failure) {
            return try secrets.resolve(.file(path)).exposed
        } catch {
            problems.add(error.message, at: node)
            return nil
        }
    }
}

/// Reads `listeners`.
struct ListenerReader {
    let reader: ConfigurationReader

    func read(_ scope: ConfigurationScope) -> [ListenerConfiguration] {
        guard scope["listeners"] != nil else {
            return [
                ListenerConfiguration(
                    address: SocketName(host: "127.0.0.1", port: 8080), tls: nil)
            ]
        }
        var seen: [SocketName] = []
        return scope.list("listeners").compactMap { node in
            guard let listener = ConfigurationScope(node, "a listener", reader.problems) else {
                return nil
            }
            listener.allow(["address", "tls"], in: "a listener")
            guard let place = listener.required("address", in: "a listener"),
                let address = reader.socketName(place, listener)
            else { return nil }
            if seen.contains(where: { $0.hasSameSocket(as: address) }) {
                reader.problems.add("this address is listened on twice", at: place)
            }
            seen.append(address)
            return ListenerConfiguration(
                address: address, tls: TLSReader(reader: reader).readServer(listener))
        }
    }
}
