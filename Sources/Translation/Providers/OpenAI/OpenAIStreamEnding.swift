import Primitives
import Wire

/// What it takes to end a passed-on stream in its backend's place (`on_exceed: cut`).
struct OpenAIStreamEnding {
    /// The first chunk: later ones repeat its id, model and creation time.
    private var first: [UInt8] = []
    /// Choices that have said their finish reason already.
    private var ended: Set<Int> = []

    mutating func chunkPassed(_ data: [UInt8]) {
        if first.isEmpty { first = data }
    }

    mutating func choiceEnded(_ index: Int?, _ tape: JSONTape, _ bytes: Span<UInt8>) {
        guard ended.count < Limits.choices else { return }
        let number = index.flatMap { JSONNumber.integer(bytes.extracting(tape.range($0))) }
        ended.insert(number ?? 0)
    }

    /// Appends a chunk that ends all open choices, the usage where it was asked for, and `[DONE]`.
    func append(
        _ request: ClientRequest, _ usage: TokenUsage, modelName: String?,
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
        _ request: ClientRequest, _ modelName: String?, _ isChat: Bool, to bytes: inout [UInt8],
        choices: (inout JSONWriter) -> Void, usage: (inout JSONWriter) -> Void
    ) {
        let known = try? JSONDocument(first)
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("id")
        writer.string(
            bytes: known?.root["id"]?.stringBytes ?? [UInt8]("chatcmpl-") + request.uniqueID)
        writer.key("object")
        writer.string(isChat ? "chat.completion.chunk" : "text_completion")
        writer.key("created")
        writer.integer(known?.root["created"]?.int.map { Int64($0) } ?? request.createdSeconds)
        writer.key("model")
        if let modelName {
            writer.string(text: modelName)
        } else {
            writer.string(
                bytes: known?.root["model"]?.stringBytes ?? Array(request.summary.model.utf8))
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
