import Primitives
import Wire

/// A small value that a JSON schema takes, with a plausible place where one is asked for.
struct SchemaExample {
    /// A schema may hold itself, and a reference may lead back to where it stands.
    private static let depthLimit = 8
    /// What a list has at most, however many a schema asks for.
    private static let itemLimit = 16
    /// Values in all: a schema may branch at each level.
    private static let valueLimit = 1000

    private let root: JSONValue
    private var writer = JSONWriter()
    private var valueCount = 0

    /// The value as JSON; `{}` without a schema.
    static func write(_ schema: JSONValue?) -> [UInt8] {
        guard let schema else { return [UInt8]("{}") }
        var example = SchemaExample(root: schema)
        example.write(schema, name: "", depth: 0)
        return example.writer.bytes
    }

    private init(root: JSONValue) { self.root = root }

    private mutating func write(_ schema: JSONValue?, name: String, depth: Int) {
        valueCount += 1
        let schema = schema.map { resolved($0, depth: depth) }
        if let value = schema.flatMap(Self.givenValue) { return writer.value(value) }
        switch Self.type(of: schema) {
        case "string": writer.string(text: Self.text(schema, name: name))
        case "integer", "number": writeNumber(schema)
        case "boolean": writer.bool(true)
        case "null": writer.null()
        case "array": writeArray(schema, name: name, depth: depth)
        default: writeObject(schema, depth: depth)
        }
    }

    /// A value that the schema names itself.
    private static func givenValue(_ schema: JSONValue) -> JSONValue? {
        if let choice = schema.present("enum") {
            for first in choice.elements.prefix(1) { return first }
        }
        return schema["const"]
    }

    /// The type, or the first of several; without one, what fits the other members.
    private static func type(of schema: JSONValue?) -> String {
        if let type = schema?["type"] {
            return type.string ?? type.elements.lazy.compactMap(\.string).first ?? "object"
        }
        return schema?.present("items") == nil ? "object" : "array"
    }

    // MARK: - References and alternatives

    /// The schema, or what stands for it: the end of its references, one of its alternatives.
    private func resolved(_ schema: JSONValue, depth: Int) -> JSONValue {
        var schema = schema
        for _ in 0..<Self.depthLimit {
            guard let next = target(of: schema) ?? Self.alternative(in: schema, depth: depth)
            else { break }
            schema = next
        }
        return schema
    }

    /// What `$ref` points to within the document, such as `#/$defs/Step`.
    private func target(of schema: JSONValue) -> JSONValue? {
        guard let path = schema.present("$ref")?.string, path.hasPrefix("#") else { return nil }
        var target = root
        for name in path.dropFirst().split(separator: "/") {
            guard let member = target.members.first(where: { $0.key.string == String(name) }) else {
                return nil
            }
            target = member.value
        }
        return target
    }

    /// The first alternative; deep inside it is null where it may be, so that an end is reached.
    private static func alternative(in schema: JSONValue, depth: Int) -> JSONValue? {
        guard
            let choices = schema.present("anyOf") ?? schema.present("oneOf")
                ?? schema.present("allOf")
        else { return nil }
        let null = choices.elements.first { $0["type"]?.equals("null") == true }
        if depth >= depthLimit / 2, let null { return null }
        return choices.elements.first { _ in true }
    }

    // MARK: - Values

    private static func text(_ schema: JSONValue?, name: String) -> String {
        switch schema?.present("format")?.string {
        case "date-time": return "2026-01-02T03:04:05Z"
        case "date": return "2026-01-02"
        case "time": return "03:04:05Z"
        case "email": return "somebody@example.com"
        case "uri": return "https://example.com/"
        case "uuid": return "01234567-89ab-4cde-8f01-23456789abcd"
        default: break
        }
        let isPlace = ["location", "city", "place"].contains { name.lowercased().contains($0) }
        return isPlace ? "New York City" : "text"
    }

    /// 1, or what is nearest to it within the bounds.
    private mutating func writeNumber(_ schema: JSONValue?) {
        if let least = schema?.present("minimum"), let bound = least.double, bound > 1 {
            writer.value(least)
        } else if let most = schema?.present("maximum"), let bound = most.double, bound < 1 {
            writer.value(most)
        } else if let bound = schema?.present("exclusiveMinimum")?.int, bound >= 1, bound < .max {
            writer.integer(bound + 1)
        } else if let bound = schema?.present("exclusiveMaximum")?.int, bound <= 1, bound > .min {
            writer.integer(bound - 1)
        } else {
            writer.integer(1)
        }
    }

    /// Whether a list or an object at this depth may hold anything.
    private func mayHold(at depth: Int) -> Bool {
        depth < Self.depthLimit && valueCount < Self.valueLimit
    }

    /// As many elements as there must be.
    private mutating func writeArray(_ schema: JSONValue?, name: String, depth: Int) {
        let count = min(schema?.present("minItems")?.int ?? 0, Self.itemLimit)
        var places = (schema?.present("prefixItems").map { Array($0.elements) } ?? [])[...]
        writer.beginArray()
        if mayHold(at: depth) {
            for _ in 0..<max(count, 0) {
                write(places.popFirst() ?? schema?.present("items"), name: name, depth: depth + 1)
            }
        }
        writer.endArray()
    }

    /// The members that must be there.
    private mutating func writeObject(_ schema: JSONValue?, depth: Int) {
        writer.beginObject()
        if mayHold(at: depth), let required = schema?.present("required") {
            for required in required.elements {
                guard let key = required.stringBytes else { continue }
                let property = schema?.present("properties")?.members.first {
                    $0.key.stringBytes == key
                }
                writer.key(bytes: key)
                write(
                    property?.value, name: String(decoding: key, as: UTF8.self), depth: depth + 1)
            }
        }
        writer.endObject()
    }
}
