import Primitives
import Wire

/// Frames chunks of one stream as server-sent events (rule S1); writes straight into the output.
struct ChatChunkEncoder {
    /// What every chunk begins with, up to its choices.
    private let opening: [UInt8]
    private let wantsUsage: Bool
    private var writer = JSONWriter()

    init(request: ClientRequest) {
        wantsUsage = request.summary.wantsUsage
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
        begin(&output, "[{\"index\":0,\"delta\":{")
        delta(&writer)
        let wantsUsage = wantsUsage
        writer.bytes.append(addingCapacity: 100) { Self.end(finishReason, wantsUsage, &$0) }
        swap(&writer.bytes, &output.bytes)
    }

    /// Appends a chunk whose delta has one member, a text. There is one for each token: where the
    /// text needs no escapes, it is written in one piece.
    mutating func append(
        to output: inout StreamOutput, _ name: StaticString, _ text: Span<UInt8>
    ) {
        guard JSONWriter.isPlain(text) else {
            return append(to: &output) { writer in
                writer.key(name)
                writer.string(span: text)
            }
        }
        let opening = opening
        let length = opening.count + name.utf8CodeUnitCount + text.count
        output.bytes.append(addingCapacity: length + 130) { bytes in
            bytes.append(span: opening.span)
            bytes.append("[{\"index\":0,\"delta\":{\"")
            bytes.append(name)
            bytes.append("\":\"")
            bytes.append(span: text)
            bytes.append("\"")
            Self.end(nil, wantsUsage, &bytes)
        }
    }

    /// What a chunk ends with, behind its delta's last member.
    private static func end(
        _ finishReason: StaticString?, _ wantsUsage: Bool, _ bytes: inout OutputSpan<UInt8>
    ) {
        bytes.append("},\"logprobs\":null,\"finish_reason\":")
        if let finishReason {
            bytes.append("\"")
            bytes.append(finishReason)
            bytes.append("\"}]")
        } else {
            bytes.append("null}]")
        }
        bytes.append(wantsUsage ? ",\"usage\":null}\n\n" : "}\n\n")
    }

    /// Appends the chunk without choices that carries the usage, if it was asked for (rule S8).
    mutating func appendUsage(_ usage: TokenUsage, to output: inout StreamOutput) {
        guard wantsUsage else { return }
        begin(&output, "[],\"usage\":")
        ChatUsageWriter.write(usage, to: &writer)
        writer.bytes.append("}\n\n")
        swap(&writer.bytes, &output.bytes)
    }

    /// Turns to the output's bytes and begins a chunk whose choices begin with `choices`.
    private mutating func begin(_ output: inout StreamOutput, _ choices: StaticString) {
        swap(&writer.bytes, &output.bytes)
        let opening = opening
        writer.bytes.append(addingCapacity: opening.count + choices.utf8CodeUnitCount) { bytes in
            bytes.append(span: opening.span)
            bytes.append(choices)
        }
        writer.beginDocument()
    }
}
