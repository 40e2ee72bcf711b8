import Primitives
import Wire

/// Reads `tenants`.
struct TenantReader {
    let reader: ConfigurationReader
    let routes: [ModelPattern]
    let isLoopback: Bool
    /// Whether a listener has `client_ca`.
    let asksForCertificates: Bool

    func read(_ scope: ConfigurationScope) -> [TenantConfiguration] {
        let nodes = scope.list("tenants")
        // An empty list names nobody either.
        if nodes.isEmpty, !isLoopback {
            reader.problems.add(
                "without \"tenants\" everyone may use the gateway: name tenants, or listen on "
                    + "loopback addresses only",
                at: scope["tenants"] ?? scope["listeners"] ?? scope.node)
        }
        var seen: Set<String> = []
        var known = KnownKeys()
        return nodes.compactMap { node in
            guard let tenant = ConfigurationScope(node, "a tenant", reader.problems) else {
                return nil
            }
            tenant.allow(["name", "keys", "models", "limits"], in: "a tenant")
            guard let place = tenant.required("name", in: "a tenant"),
                let name = tenant.text(place, "name")
            else { return nil }
            if !seen.insert(name).inserted {
                reader.problems.add("there are two tenants \"\(name)\"", at: place)
            }
            var result = TenantConfiguration(name: name)
            result.keys = tenant.list("keys").compactMap { readKey($0, &known) }
            result.models = readModels(tenant)
            result.limits = readLimits(tenant)
            return result
        }
    }

    /// What earlier tenants and keys have: nothing may stand for two of them.
    private struct KnownKeys {
        var digests: Set<SHA256.Digest> = []
        var subjects: Set<String> = []
    }

    private static let keyForms = ["value", "env", "file", "sha256", "client_certificate"]

    private func readKey(_ node: YAMLNode, _ known: inout KnownKeys) -> TenantConfiguration.Key? {
        guard case .mapping = node.content,
            let scope = ConfigurationScope(node, "a key", reader.problems)
        else {
            reportForms(at: node)
            return nil
        }
        guard Self.keyForms.contains(where: { scope[$0] != nil }) else {
            scope.allow(Self.keyForms, in: "a key")
            reportForms(at: node)
            return nil
        }
        if scope["client_certificate"] != nil {
            return readSubject(scope, &known.subjects).map { .certificate($0) }
        }
        if scope["sha256"] != nil {
            scope.allow(["sha256"], in: "a key")
            guard let text = scope.text("sha256"), let digest = SHA256.Digest(hexadecimal: text)
            else {
                reader.problems.add("\"sha256\" must be 64 hexadecimal digits", at: node)
                return nil
            }
            note(digest, at: node, &known)
            return .digest(digest)
        }
        guard let source = SecretReader.read(node, "key", folder: reader.folder, reader.problems)
        else { return nil }
        if let key = reader.secret(source, at: node) {
            note(SHA256.digest(key.exposed.span), at: node, &known)
        }
        if case .value = source, !isLoopback {
            reader.problems.add(
                ConfigurationProblem(
                    "a key stands in the file although a listener is not on loopback: use "
                        + "{sha256: …} (sluice key makes one)", at: node, severity: .warning))
        }
        return .plain(source)
    }

    private func reportForms(at node: YAMLNode) {
        reader.problems.add(
            "a key must be {value: TEXT}, {env: NAME}, {file: PATH}, {sha256: DIGITS} or "
                + "{client_certificate: SUBJECT}", at: node)
    }

    /// However it is written: who has a key must be one tenant, or another one pays.
    private func note(_ digest: SHA256.Digest, at node: YAMLNode, _ known: inout KnownKeys) {
        guard !known.digests.insert(digest).inserted else { return }
        reader.problems.add("this key stands twice", at: node)
    }

    /// `{client_certificate: "CN=…"}`: who a verified certificate must be about.
    private func readSubject(
        _ scope: ConfigurationScope, _ known: inout Set<String>
    ) -> String? {
        scope.allow(["client_certificate"], in: "a key")
        guard let subject = scope.text("client_certificate") else { return nil }
        guard SubjectText.isWellFormed(subject) else {
            reader.problems.add(
                "\"client_certificate\" must be a subject such as CN=team-a or "
                    + "CN=team-a,O=Example, as \"openssl x509 -noout -subject -nameopt RFC2253\" "
                    + "shows it behind \"subject=\", not \"\(subject)\"",
                at: scope["client_certificate"] ?? scope.node)
            return nil
        }
        if !asksForCertificates {
            reader.problems.add(
                "no listener asks for client certificates: set \"client_ca\" in a listener's "
                    + "\"tls\"", at: scope.node)
        }
        if !known.insert(subject).inserted {
            reader.problems.add("this client certificate stands twice", at: scope.node)
        }
        return subject
    }

    private func readModels(_ scope: ConfigurationScope) -> [String] {
        scope.list("models").compactMap { node in
            guard let model = scope.text(node, "models") else { return nil }
            if !routes.contains(where: { $0.overlaps(ModelPattern(model)) }) {
                reader.problems.add("no route can reach the model \"\(model)\"", at: node)
            }
            return model
        }
    }

    private func readLimits(_ tenant: ConfigurationScope) -> [LimitConfiguration] {
        var names: Set<String> = []
        return tenant.list("limits").compactMap { node in
            guard let limit = readLimit(node) else { return nil }
            if !names.insert(limit.name).inserted {
                reader.problems.add(
                    "there are two limits \"\(limit.name)\": the smaller one is enough", at: node)
            }
            return limit
        }
    }

    private func readLimit(_ node: YAMLNode) -> LimitConfiguration? {
        guard let scope = ConfigurationScope(node, "a limit", reader.problems) else { return nil }
        let measures = LimitConfiguration.Measure.allCases
        scope.allow(measures.map(\.rawValue) + ["per", "model", "by", "on_exceed"], in: "a limit")
        let present = measures.filter { scope[$0.rawValue] != nil }
        guard present.count == 1, let measure = present.first else {
            reader.problems.add(
                "a limit must have exactly one of "
                    + measures.map(\.rawValue).joined(separator: ", "), at: node)
            return nil
        }
        let windows = LimitConfiguration.Window.allCases
        guard scope.required("per", in: "a limit") != nil,
            let per = scope.choice("per", among: windows.map(\.rawValue)),
            let window = LimitConfiguration.Window(rawValue: per),
            let amount = readAmount(scope, measure)
        else { return nil }
        var limit = LimitConfiguration(measure: measure, amount: amount, window: window)
        limit.isByUser = scope.choice("by", among: ["user"]) != nil
        if let place = scope["on_exceed"],
            let choice = scope.choice(
                "on_exceed", among: LimitConfiguration.OnExceed.allCases.map(\.rawValue))
        {
            limit.onExceed = LimitConfiguration.OnExceed(rawValue: choice) ?? .finish
            if limit.onExceed == .cut, !measure.countsOutput {
                reader.problems.add(
                    "a running answer adds nothing to \(measure.rawValue): only tokens, "
                        + "output_tokens and usd can cut it", at: place)
            }
        }
        if let place = scope["model"], let model = scope.text(place, "model") {
            limit.model = model
            if !routes.contains(where: { $0.overlaps(ModelPattern(model)) }) {
                reader.problems.add("no route can reach the model \"\(model)\"", at: place)
            }
        }
        return limit
    }

    private func readAmount(
        _ scope: ConfigurationScope, _ measure: LimitConfiguration.Measure
    ) -> Int64? {
        let amount: Int64? =
            measure == .usd
            ? scope.quantity("usd", "25 or 0.50", Quantities.nanodollars)
            : scope.quantity(measure.rawValue, "600, 100k or 2M") { text in
                Quantities.count(text).map { Int64($0) }
            }
        guard let amount, amount > 0 else {
            if amount != nil { reader.problems.add("a limit must be above 0", at: scope.node) }
            return nil
        }
        return amount
    }
}
