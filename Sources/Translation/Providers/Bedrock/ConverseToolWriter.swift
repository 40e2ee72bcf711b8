import Primitives
import Wire

/// `toolConfig` (bedrock-api.md section 2.1).
extension ConverseRequestWriter {
    mutating func writeTools() {
        guard !request.tools.list.isEmpty else { return }
        begin("toolConfig")
        writer.key("tools")
        writer.beginArray()
        for tool in request.tools.list { write(tool) }
        writer.endArray()
        switch request.tools.choice {
        case .unspecified: break
        case .auto: writeChoice("auto", nil)
        case .any: writeChoice("any", nil)
        case .named(let name): writeChoice("tool", name)
        }
        writer.endObject()
    }

    private mutating func write(_ tool: ChatTools.Tool) {
        writer.beginObject()
        begin("toolSpec")
        text("name", tool.name)
        if let description = tool.description { text("description", description) }
        begin("inputSchema")
        writer.key("json")
        writer.raw(tool.schema)
        writer.endObject()
        if tool.isStrict {
            writer.key("strict")
            writer.bool(true)
        }
        writer.endObject()
        writer.endObject()
        guard let lifetime = tool.cachePoint else { return }
        writer.beginObject()
        writeCachePoint(lifetime)
        writer.endObject()
    }

    private mutating func writeChoice(_ kind: StaticString, _ name: [UInt8]?) {
        begin("toolChoice")
        begin(kind)
        if let name { text("name", name) }
        writer.endObject()
        writer.endObject()
    }
}
