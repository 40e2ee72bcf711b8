import Primitives
import Wire

/// Arguments of calls in the history as JSON objects (rule A23).
enum ToolArguments {
    /// The object in a string; `{}` for blank text, and what is no object is wrapped.
    static func object(_ arguments: JSONValue?) -> [UInt8] {
        if let arguments, arguments.kind == .object {
            var json: [UInt8] = []
            arguments.appendCompact(to: &json)
            return json
        }
        let text = arguments?.stringBytes ?? []
        if text.isBlank { return [UInt8]("{}") }
        guard let document = try? JSONDocument(text), document.root.kind == .object else {
            return wrapped("_raw_arguments", text)
        }
        var json: [UInt8] = []
        document.root.appendCompact(to: &json)
        return json
    }

    /// `{"name": "text"}`.
    static func wrapped(_ name: StaticString, _ text: [UInt8]) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key(name)
        writer.string(bytes: text)
        writer.endObject()
        return writer.bytes
    }
}
