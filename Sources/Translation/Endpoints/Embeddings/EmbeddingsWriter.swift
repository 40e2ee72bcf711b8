import Primitives
import Wire

/// Writes OpenAI's embeddings answer (rule D3).
struct EmbeddingsWriter {
    private var writer = JSONWriter()
    private var index = 0
    private let isBase64: Bool

    init(isBase64: Bool) {
        self.isBase64 = isBase64
        writer.beginObject()
        writer.key("object")
        writer.string("list")
        writer.key("data")
        writer.beginArray()
    }

    /// Appends one vector, an array of numbers.
    mutating func append(_ vector: JSONValue) {
        writer.beginObject()
        writer.key("object")
        writer.string("embedding")
        writer.key("index")
        writer.integer(index)
        index += 1
        writer.key("embedding")
        if isBase64 {
            var bytes: [UInt8] = []
            for element in vector.elements {
                let bits = Float(element.double ?? 0).bitPattern
                for shift in stride(from: 0, to: 32, by: 8) {
                    bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(shift)))
                }
            }
            writer.string(bytes: Base64.encode(bytes.span))
        } else {
            writer.value(vector)
        }
        writer.endObject()
    }

    mutating func finish(model: String, tokens: Int) -> [UInt8] {
        writer.endArray()
        writer.key("model")
        writer.string(text: model)
        writer.key("usage")
        writer.beginObject()
        writer.key("prompt_tokens")
        writer.integer(tokens)
        writer.key("total_tokens")
        writer.integer(tokens)
        writer.endObject()
        writer.endObject()
        return writer.bytes
    }
}
