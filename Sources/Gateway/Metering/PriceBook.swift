import CPrices
import Primitives
import Translation
import Wire

/// All prices: the built-in table, and the configuration's own in front of it.
public final class PriceBook: Sendable {
    private let exactOverrides: [String: Price]
    private let globOverrides: [(pattern: ModelPattern, price: Price)]
    private let builtin: [String: Price]
    private let byID: [String: Price]

    /// The built-in table with overrides in file order.
    public init(overrides: [PriceOverride]) {
        var exact: [String: Price] = [:]
        var globs: [(pattern: ModelPattern, price: Price)] = []
        for override in overrides {
            let pattern = ModelPattern(override.model)
            var figures = Price.Figures()
            for (name, amount) in override.picodollarsPerToken { figures.set(name, amount) }
            let price = Price(id: "config:\(override.model)", base: figures)
            if pattern.isGlob {
                globs.append((pattern, price))
            } else {
                exact[override.model] = price
            }
        }
        exactOverrides = exact
        globOverrides = globs.sorted { $0.pattern.literalCount > $1.pattern.literalCount }
        builtin = BuiltinPrices.table
        let own = Array(exact.values) + globs.map(\.price)
        byID = Dictionary(own.map { ($0.id, $0) }) { first, _ in first }
    }

    /// The price that a ledger row was priced by; nil when the configuration has changed since.
    public func price(id: String) -> Price? {
        byID[id] ?? (id.hasPrefix("builtin:") ? builtin[String(id.dropFirst(8))] : nil)
    }

    /// The price of a backend's model; nil when nobody knows it. Its own name is looked up first,
    /// then, for Bedrock, what its ARN or region prefix stands for.
    public func price(for model: String, kind: String) -> Price? {
        if let price = exactOverrides[model] { return price }
        if let match = globOverrides.first(where: { $0.pattern.matches(model) }) {
            return match.price
        }
        if let price = builtin[model] { return price }
        guard kind == "bedrock" else {
            return builtin["\(kind)/\(model)"]
                ?? Self.fineTunedBase(of: model).flatMap { builtin[$0] }
        }
        guard let name = BedrockModelID.name(of: model) else { return nil }
        if let price = exactOverrides[name] ?? builtin[name] { return price }
        return builtin[BedrockModelID.withoutRegion(name)]
    }

    /// `ft:BASE` of a fine-tuned model's name, `ft:BASE:ORGANISATION:SUFFIX:ID`: all that were made
    /// from one base cost the same. nil for other names.
    private static func fineTunedBase(of model: String) -> String? {
        guard model.hasPrefix("ft:") else { return nil }
        return model.split(separator: ":").prefix(2).joined(separator: ":")
    }
}

extension Price.Figures {
    /// Sets the figure that the table and gateway.yaml call `name`; others are ignored.
    mutating func set(_ name: String, _ amount: Int64) {
        switch name {
        case "input": input = amount
        case "output": output = amount
        case "cache_read": cacheRead = amount
        case "cache_write": cacheWrite = amount
        case "cache_write_1h": cacheWriteOneHour = amount
        case "reasoning": reasoning = amount
        case "audio_input": audioInput = amount
        case "audio_output": audioOutput = amount
        default: break
        }
    }
}

/// The table that is compiled in (CPrices), read once.
enum BuiltinPrices {
    static let table: [String: Price] = {
        let bytes = unsafe Array(
            UnsafeBufferPointer(start: cprices_json(), count: cprices_json_length()))
        guard let document = try? JSONDocument(bytes), let models = document.root["models"] else {
            return [:]
        }
        var table: [String: Price] = [:]
        for (key, value) in models.members {
            guard let name = key.string, let figures = value["usd_per_million"] else { continue }
            var tiers: [String: Price.Figures] = [:]
            if let named = value["service_tiers"] {
                for (tier, figures) in named.members {
                    if let tier = tier.string { tiers[tier] = read(figures) }
                }
            }
            table[name] = Price(
                id: "builtin:\(name)", base: read(figures), longContexts: readLong(figures),
                serviceTiers: tiers)
        }
        return table
    }()

    private static func readLong(_ figures: JSONValue) -> [Price.LongContext] {
        guard let above = figures["above"] else { return [] }
        return above.members.compactMap { key, value in
            key.string.flatMap { Int($0) }.map {
                Price.LongContext(threshold: $0, figures: read(value))
            }
        }
    }

    private static func read(_ object: JSONValue) -> Price.Figures {
        var figures = Price.Figures()
        for (key, value) in object.members {
            guard let name = key.string, value.kind == .number,
                let amount = Decimal.scaled(value.source.span, digits: 6)
            else { continue }
            figures.set(name, amount)
        }
        return figures
    }
}
