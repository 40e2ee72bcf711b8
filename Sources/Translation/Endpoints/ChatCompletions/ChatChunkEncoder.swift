import Primitives
import Wire

/// Frames chunks of one stream as server-sent events (rule S1); writes straight into the output.
struct ChatChunkEncoder {
    private let request: ClientRequest
    /// What every chunk begins with, up to its choices.
    private let opening: [UInt8]
    private var writer = JSONWriter()

    init(request: ClientRequest) {
        self.request = request
        var writer = JSONWriter()
        writer.bytes.append("data: ")
        writer.beginObject()
        writer.key("id")
        writer.string(text: "chatcmpl-\(request.uniqueID)")
        writer.key("object")
        writer.string("chat.completion.chunk")
        writer.key("created")
        writer.integer(request.createdSeconds)
        writer.key("model")
        writer.string(text: request.summary.model)
        writer.key("choices")
        opening = writer.bytes
    }

    /// Appends a chunk whose delta has the members that `delta` writes.
    mutating func append(
        to output: inout StreamOutput, finishReason: StaticString? = nil,
        _ delta: (inout JSONWriter) -> Void
    ) {
        begin(&output)
        writer.beginArray()
        writer.beginObject()
        writer.key("index")
        writer.integer(0)
        writer.key("delta")
        writer.beginObject()
        delta(&writer)
        writer.endObject()
        writer.key("logprobs")
        writer.null()
        writer.key("finish_reason")
        if let finishReason { writer.string(finishReason) } else { writer.null() }
        writer.endObject()
        writer.endArray()
        if request.summary.wantsUsage {
            writer.key("usage")
            writer.null()
        }
        end(&output)
    }

    /// Appends the chunk without choices that carries the usage, if it was asked for (rule S8).
    mutating func appendUsage(_ usage: TokenUsage, to output: inout StreamOutput) {
        guard request.summary.wantsUsage else { return }
        begin(&output)
        writer.beginArray()
        writer.endArray()
        writer.key("usage")
        ChatUsageWriter.write(usage, to: &writer)
        end(&output)
    }

    private mutating func begin(_ output: inout StreamOutput) {
        swap(&writer.bytes, &output.bytes)
        writer.bytes.append(contentsOf: opening)
        writer.beginDocument()
    }

    private mutating func end(_ output: inout StreamOutput) {
        writer.endObject()
        writer.bytes.append("\n\n")
        swap(&writer.bytes, &output.bytes)
    }
}
