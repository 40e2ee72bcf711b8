import Primitives
import Wire

/// What it takes to end a passed-on stream in its backend's place (`on_exceed: cut`).
struct OpenAIStreamEnding {
    /// What the first chunk says, and later ones repeat.
    private struct Opening {
        var id: [UInt8]?
        var model: [UInt8]?
        var createdSeconds: Int?
    }

    private var opening: Opening?
    /// Choices that have said their finish reason already.
    private var ended: Set<Int> = []

    mutating func chunkPassed(_ tape: JSONTape, _ bytes: Span<UInt8>) {
        guard opening == nil else { return }
        opening = Opening(
            id: Self.name("id", tape, bytes), model: Self.name("model", tape, bytes),
            createdSeconds: Self.integer(tape.member("created", in: bytes), tape, bytes))
    }

    private static func integer(
        _ node: Int?, _ tape: JSONTape, _ bytes: Span<UInt8>
    ) -> Int? {
        guard let node, tape.kind(node) == .number else { return nil }
        return JSONNumber.integer(bytes.extracting(tape.range(node)))
    }

    private static func name(
        _ member: StaticString, _ tape: JSONTape, _ bytes: Span<UInt8>
    ) -> [UInt8]? {
        guard let node = tape.member(member, in: bytes), tape.kind(node) == .string,
            tape.range(node).count <= Limits.streamNameBytes
        else { return nil }
        return tape.stringBytes(node, in: bytes)
    }

    mutating func choiceEnded(_ index: Int?, _ tape: JSONTape, _ bytes: Span<UInt8>) {
        guard ended.count < Limits.choices else { return }
        ended.insert(Self.integer(index, tape, bytes) ?? 0)
    }

    /// Appends a chunk that ends all open choices, the usage where it was asked for, and `[DONE]`.
    func append(
        _ request: ClientRequest, _ usage: TokenUsage, modelName: [UInt8]?,
        to bytes: inout [UInt8]
    ) {
        let isChat = request.endpoint == .chatCompletions
        let count = min(request.summary.candidates, Limits.choices)
        write(request, modelName, isChat, to: &bytes) { writer in
            for index in 0..<count where !ended.contains(index) {
                writer.beginObject()
                writer.key("index")
                writer.integer(index)
                if isChat {
                    writer.key("delta")
                    writer.beginObject()
                    writer.endObject()
                } else {
                    writer.key("text")
                    writer.string("")
                }
                writer.key("logprobs")
                writer.null()
                writer.key("finish_reason")
                writer.string("length")
                writer.endObject()
            }
        } usage: { writer in
            writer.null()
        }
        if request.summary.wantsUsage {
            write(request, modelName, isChat, to: &bytes) { _ in
            } usage: { writer in
                ChatUsageWriter.write(usage, to: &writer)
            }
        }
        bytes.append("data: [DONE]\n\n")
    }

    private func write(
        _ request: ClientRequest, _ modelName: [UInt8]?, _ isChat: Bool, to bytes: inout [UInt8],
        choices: (inout JSONWriter) -> Void, usage: (inout JSONWriter) -> Void
    ) {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("id")
        writer.string(bytes: opening?.id ?? Array("chatcmpl-\(request.uniqueID)".utf8))
        writer.key("object")
        writer.string(isChat ? "chat.completion.chunk" : "text_completion")
        writer.key("created")
        writer.integer(opening?.createdSeconds.map { Int64($0) } ?? request.createdSeconds)
        writer.key("model")
        if let modelName {
            writer.raw(modelName)
        } else {
            writer.string(bytes: opening?.model ?? Array(request.summary.model.utf8))
        }
        writer.key("choices")
        writer.beginArray()
        choices(&writer)
        writer.endArray()
        if request.summary.wantsUsage {
            writer.key("usage")
            usage(&writer)
        }
        writer.endObject()
        bytes.append("data: ")
        bytes.append(contentsOf: writer.bytes)
        bytes.append("\n\n")
    }
}
