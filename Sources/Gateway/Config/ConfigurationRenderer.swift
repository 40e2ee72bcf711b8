import Translation
import Wire

/// The running configuration as JSON, secrets shown as `***` (contract section 5).
public enum ConfigurationRenderer {
    /// The whole configuration.
    public static func json(_ configuration: Configuration) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("listeners")
        writer.beginArray()
        for listener in configuration.listeners {
            writer.beginObject()
            text("address", address(listener.address), &writer)
            if let tls = listener.tls {
                writer.key("tls")
                writer.beginObject()
                text("certificate", tls.certificate, &writer)
                text("key", tls.key, &writer)
                if let authority = tls.clientAuthority { text("client_ca", authority, &writer) }
                writer.endObject()
            }
            writer.endObject()
        }
        writer.endArray()
        if let admin = configuration.admin {
            writer.key("admin")
            writer.beginObject()
            text("address", address(admin), &writer)
            writer.endObject()
        }
        if let workers = configuration.workers {
            number("workers", workers, &writer)
        } else {
            text("workers", "auto", &writer)
        }
        text("state", configuration.stateDirectory, &writer)
        writeBackends(configuration.backends, &writer)
        writeRoutes(configuration.routes, &writer)
        writeTenants(configuration.tenants, &writer)
        writePrices(configuration.prices, &writer)
        writeRest(configuration, &writer)
        writer.endObject()
        return writer.bytes
    }

    private static func writeBackends(
        _ backends: [BackendConfiguration], _ writer: inout JSONWriter
    ) {
        writer.key("backends")
        writer.beginObject()
        for backend in backends {
            writer.key(text: backend.name)
            writer.beginObject()
            text("kind", backend.kind, &writer)
            if let url = backend.url {
                let scheme = url.isTLS ? "https" : "http"
                text("url", "\(scheme)://\(url.hostField)\(url.basePath)", &writer)
            }
            if let region = backend.region { text("region", region, &writer) }
            if backend.apiKey != nil { text("api_key", "***", &writer) }
            if let credentials = backend.credentials {
                writer.key("credentials")
                write(credentials, &writer)
            }
            writer.key("headers")
            writer.beginObject()
            // A header may well be a credential: only its name is shown.
            for header in backend.headers {
                writer.key(text: header.name)
                writer.string("***")
            }
            writer.endObject()
            writeLimits(of: backend, &writer)
            writer.endObject()
        }
        writer.endObject()
    }

    private static func writeLimits(
        of backend: BackendConfiguration, _ writer: inout JSONWriter
    ) {
        writer.key("timeouts")
        writer.beginObject()
        text("connect", "\(backend.timeouts.connectMilliseconds)ms", &writer)
        text("first_byte", "\(backend.timeouts.firstByteMilliseconds)ms", &writer)
        text("idle", "\(backend.timeouts.idleMilliseconds)ms", &writer)
        text("total", "\(backend.timeouts.totalMilliseconds)ms", &writer)
        writer.endObject()
        text("http", backend.http.rawValue, &writer)
        writer.key("connections")
        writer.beginObject()
        number("max", backend.connections.maximum, &writer)
        number("max_idle", backend.connections.maximumIdle, &writer)
        text("idle", "\(backend.connections.idleMilliseconds)ms", &writer)
        writer.endObject()
        writer.key("tls")
        writer.beginObject()
        if let authority = backend.tls.certificateAuthority { text("ca", authority, &writer) }
        if let name = backend.tls.serverName { text("server_name", name, &writer) }
        writer.key("verify")
        writer.bool(backend.tls.isVerified)
        if let identity = backend.tls.identity {
            text("certificate", identity.certificate, &writer)
            text("key", identity.key, &writer)
        }
        writer.endObject()
    }

    private static func write(
        _ credentials: AWSCredentialConfiguration, _ writer: inout JSONWriter
    ) {
        writer.beginObject()
        switch credentials {
        case .keys(_, _, let token):
            text("access_key_id", "***", &writer)
            text("secret_access_key", "***", &writer)
            if token != nil { text("session_token", "***", &writer) }
        case .profile(let name): text("profile", name, &writer)
        case .bearerToken: text("bearer_token", "***", &writer)
        case .assumeRole(let role, let file, _, _):
            text("assume_role", role, &writer)
            if let file { text("web_identity_token", file, &writer) }
        }
        writer.endObject()
    }

    private static func writeRoutes(_ routes: [RouteConfiguration], _ writer: inout JSONWriter) {
        writer.key("routes")
        writer.beginArray()
        for route in routes {
            writer.beginObject()
            text("model", route.model, &writer)
            text("policy", route.isStrict ? "strict" : "lenient", &writer)
            writer.key("targets")
            writer.beginArray()
            for target in route.targets {
                writer.beginObject()
                text("backend", target.backend, &writer)
                if let model = target.options.model { text("model", model, &writer) }
                number("weight", target.weight, &writer)
                if let price = target.priceAs { text("price_as", price, &writer) }
                writer.endObject()
            }
            writer.endArray()
            writer.endObject()
        }
        writer.endArray()
    }

    private static func writeTenants(
        _ tenants: [TenantConfiguration], _ writer: inout JSONWriter
    ) {
        writer.key("tenants")
        writer.beginArray()
        for tenant in tenants {
            writer.beginObject()
            text("name", tenant.name, &writer)
            writer.key("keys")
            writer.beginArray()
            for key in tenant.keys { write(key, &writer) }
            writer.endArray()
            writer.key("models")
            writer.beginArray()
            for model in tenant.models { writer.string(text: model) }
            writer.endArray()
            writer.key("limits")
            writer.beginArray()
            for limit in tenant.limits { write(limit, &writer) }
            writer.endArray()
            writer.endObject()
        }
        writer.endArray()
    }

    private static func write(_ key: TenantConfiguration.Key, _ writer: inout JSONWriter) {
        // A subject is no secret: every connection shows it.
        guard case .certificate(let subject) = key else { return writer.string("***") }
        writer.beginObject()
        text("client_certificate", subject, &writer)
        writer.endObject()
    }

    private static func write(_ limit: LimitConfiguration, _ writer: inout JSONWriter) {
        writer.beginObject()
        writer.key(text: limit.measure.rawValue)
        if limit.measure == .usd {
            writer.raw(MoneyText.dollars(nanodollars: limit.amount))
        } else {
            writer.integer(limit.amount)
        }
        text("per", limit.window.rawValue, &writer)
        if let model = limit.model { text("model", model, &writer) }
        if limit.isByUser { text("by", "user", &writer) }
        text("on_exceed", limit.onExceed.rawValue, &writer)
        writer.endObject()
    }

    private static func writePrices(_ prices: [PriceOverride], _ writer: inout JSONWriter) {
        writer.key("prices")
        writer.beginObject()
        for price in prices {
            writer.key(text: price.model)
            writer.beginObject()
            for (name, amount) in price.picodollarsPerToken.sorted(by: { $0.key < $1.key }) {
                writer.key(text: name)
                // A thousandfold pico-dollar a token is a nano-dollar: the same digits in dollars.
                writer.raw(MoneyText.dollars(nanodollars: amount * 1000))
            }
            writer.endObject()
        }
        writer.endObject()
    }

    private static func writeRest(_ configuration: Configuration, _ writer: inout JSONWriter) {
        writer.key("limits")
        writer.beginObject()
        number("request_body", configuration.limits.requestBodyBytes, &writer)
        number("header_bytes", configuration.limits.headerBytes, &writer)
        number("concurrent_requests", configuration.limits.concurrentRequests, &writer)
        number("buffered_bytes", configuration.limits.bufferedBytes, &writer)
        number("connections", configuration.limits.connections, &writer)
        writer.endObject()
        writer.key("ledger")
        writer.beginObject()
        let ledger = configuration.ledger
        text("fsync", ledger.syncMilliseconds.map { "\($0)ms" } ?? "never", &writer)
        text("on_full", ledger.whenFull.rawValue, &writer)
        if let retention = ledger.retentionMilliseconds {
            text("retention", "\(retention)ms", &writer)
        }
        writer.endObject()
        writer.key("drain")
        writer.beginObject()
        text("delay", "\(configuration.drain.delayMilliseconds)ms", &writer)
        text("timeout", "\(configuration.drain.timeoutMilliseconds)ms", &writer)
        writer.endObject()
        writer.key("log")
        writer.beginObject()
        text("level", configuration.log.level, &writer)
        text("format", configuration.log.isJSON ? "json" : "text", &writer)
        writer.key("access")
        writer.bool(configuration.log.hasAccessLog)
        writer.endObject()
    }

    private static func address(_ name: SocketName) -> String {
        name.host.contains(":") ? "[\(name.host)]:\(name.port)" : "\(name.host):\(name.port)"
    }

    private static func text(
        _ name: StaticString, _ value: String, _ writer: inout JSONWriter
    ) {
        writer.key(name)
        writer.string(text: value)
    }

    private static func number(_ name: StaticString, _ value: Int, _ writer: inout JSONWriter) {
        writer.key(name)
        writer.integer(value)
    }
}
