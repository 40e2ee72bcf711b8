import Primitives
import Translation

/// Reads `routes`.
struct RouteReader {
    private static let targetKeys = ["backend", "model", "weight", "price_as"] + bedrockKeys
    private static let bedrockKeys = [
        "guardrail", "forward_metadata", "allow_s3", "remote_images", "profile", "input_type",
    ]

    let reader: ConfigurationReader
    let backends: [BackendConfiguration]

    func read(_ scope: ConfigurationScope) -> [RouteConfiguration] {
        var seen: Set<String> = []
        return scope.list("routes").compactMap { node in
            guard let route = ConfigurationScope(node, "a route", reader.problems) else {
                return nil
            }
            route.allow(["model", "targets", "policy"], in: "a route")
            guard let place = route.required("model", in: "a route"),
                let model = route.text(place, "model")
            else { return nil }
            if !seen.insert(model).inserted {
                reader.problems.add("there are two routes for \"\(model)\"", at: place)
            }
            return read(route, model: model)
        }
    }

    private func read(_ scope: ConfigurationScope, model: String) -> RouteConfiguration? {
        let isStrict = scope.choice("policy", among: ["lenient", "strict"]) == "strict"
        guard scope.required("targets", in: "the route \"\(model)\"") != nil else { return nil }
        let nodes = scope.list("targets")
        if nodes.isEmpty {
            reader.problems.add("the route \"\(model)\" has no target", at: scope.node)
        }
        if nodes.count > Limits.routeTargets {
            reader.problems.add(
                "a route has at most \(Limits.routeTargets) targets",
                at: nodes[Limits.routeTargets])
        }
        let targets = nodes.compactMap { node -> TargetConfiguration? in
            guard let target = ConfigurationScope(node, "a target", reader.problems) else {
                return nil
            }
            target.allow(Self.targetKeys, in: "a target")
            return readTarget(target, isStrict: isStrict)
        }
        var route = RouteConfiguration(model: model, targets: targets)
        route.isStrict = isStrict
        return route
    }

    private func readTarget(
        _ scope: ConfigurationScope, isStrict: Bool
    ) -> TargetConfiguration? {
        guard let place = scope.required("backend", in: "a target"),
            let backend = scope.text(place, "backend")
        else { return nil }
        if let kind = backends.first(where: { $0.name == backend })?.kind {
            if kind != "bedrock" { scope.refuse(Self.bedrockKeys, of: "bedrock", for: kind) }
        } else {
            let hint = DidYouMean.hint(backend, among: backends.map(\.name))
            reader.problems.add("there is no backend \"\(backend)\"\(hint)", at: place)
        }
        var target = TargetConfiguration(backend: backend)
        target.options.model = scope.text("model")
        target.options.isStrict = isStrict
        target.priceAs = scope.text("price_as")
        target.weight =
            scope.quantity("weight", "1 or more") { text in
                Int(text).flatMap { (1...1_000_000).contains($0) ? $0 : nil }
            } ?? 1
        target.options.guardrail = readGuardrail(scope)
        target.options.forwardsMetadata = scope.bool("forward_metadata") ?? false
        target.options.allowsS3 = scope.bool("allow_s3") ?? false
        target.options.fetchesImages =
            scope.choice("remote_images", among: ["reject", "fetch"]) == "fetch"
        if let type = scope.text("input_type") { target.options.embeddingInputType = type }
        target.options.profile = readProfile(scope)
        return target
    }

    private func readProfile(_ scope: ConfigurationScope) -> [String: String] {
        let fields = TargetOptions.profileFields
        guard let profile = scope.scope("profile", allowing: fields.map(\.name)) else { return [:] }
        var values: [String: String] = [:]
        for (name, choices) in fields { values[name] = profile.choice(name, among: choices) }
        return values
    }

    private func readGuardrail(_ scope: ConfigurationScope) -> TargetOptions.Guardrail? {
        let keys = ["identifier", "version", "trace", "stream_processing_mode"]
        guard let guardrail = scope.scope("guardrail", allowing: keys) else { return nil }
        guard guardrail.required("identifier", in: "\"guardrail\"") != nil,
            guardrail.required("version", in: "\"guardrail\"") != nil,
            let identifier = guardrail.text("identifier"), let version = guardrail.text("version")
        else { return nil }
        return TargetOptions.Guardrail(
            identifier: identifier, version: version,
            trace: guardrail.choice("trace", among: ["enabled", "disabled", "enabled_full"]),
            streamProcessingMode: guardrail.choice(
                "stream_processing_mode", among: ["sync", "async"]))
    }
}
