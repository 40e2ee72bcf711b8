import Primitives
import Wire

/// Turns and their blocks (bedrock-api.md section 2.2).
extension ConverseRequestWriter {
    mutating func write(_ turn: ChatTurn) {
        writer.beginObject()
        writer.key("role")
        writer.string(turn.role == .user ? "user" : "assistant")
        writer.key("content")
        write(turn.blocks)
        writer.endObject()
    }

    mutating func write(_ blocks: [ChatBlock]) {
        writer.beginArray()
        for block in blocks {
            writer.beginObject()
            write(block)
            writer.endObject()
        }
        writer.endArray()
    }

    private mutating func write(_ block: ChatBlock) {
        switch block {
        case .text(let content): text("text", content)
        case .image(let format, let data):
            begin("image")
            text("format", Array(format.utf8))
            source("bytes", data)
            writer.endObject()
        case .imageInS3(let format, let uri):
            begin("image")
            text("format", Array(format.utf8))
            begin("source")
            begin("s3Location")
            text("uri", uri)
            writer.endObject()
            writer.endObject()
            writer.endObject()
        case .document(let format, let name, let data):
            begin("document")
            text("format", Array(format.utf8))
            text("name", name)
            source("bytes", data)
            writer.endObject()
        case .audio(let format, let data):
            begin("audio")
            text("format", format)
            source("bytes", data)
            writer.endObject()
        case .toolUse(let id, let name, let input):
            begin("toolUse")
            text("toolUseId", id)
            text("name", name)
            writer.key("input")
            writer.raw(input)
            writer.endObject()
        case .toolResult(let id, let content, let isError):
            begin("toolResult")
            text("toolUseId", id)
            writer.key("content")
            write(content)
            if isError { text("status", [UInt8]("error")) }
            writer.endObject()
        case .reasoning(let content, let signature):
            begin("reasoningContent")
            begin("reasoningText")
            text("text", content)
            text("signature", signature)
            writer.endObject()
            writer.endObject()
        case .redactedReasoning(let data):
            begin("reasoningContent")
            text("redactedContent", data)
            writer.endObject()
        case .cachePoint(let lifetime): writeCachePoint(lifetime)
        }
    }

    mutating func writeCachePoint(_ lifetime: String?) {
        begin("cachePoint")
        text("type", [UInt8]("default"))
        if let lifetime { text("ttl", Array(lifetime.utf8)) }
        writer.endObject()
    }
}
