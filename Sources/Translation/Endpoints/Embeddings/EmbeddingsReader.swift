import Wire

/// OpenAI's embeddings request, for backends that have no such endpoint (rule D1).
struct EmbeddingsRequest {
    let inputs: [[UInt8]]
    let dimensions: Int?
    /// The SDK's default: little-endian floats in Base64.
    let isBase64: Bool

    /// - Throws: a 400 that names the field.
    init(_ root: JSONValue) throws(APIError) {
        guard let input = root.present("input") else {
            throw .badRequest(
                "missing_required_parameter", param: "input", "The request needs 'input'.")
        }
        if let text = input.stringBytes {
            inputs = [text]
        } else {
            guard input.kind == .array else {
                throw RequestFields.wrongType("input", "a string or a list of strings")
            }
            var texts: [[UInt8]] = []
            for element in input.elements {
                guard let text = element.stringBytes else {
                    throw RequestFields.unsupportedValue(
                        "input", "Lists of tokens are not supported: send text.")
                }
                texts.append(text)
            }
            inputs = texts
        }
        guard !inputs.isEmpty, inputs.allSatisfy({ !$0.isEmpty }) else {
            throw RequestFields.invalid("input", "'input' must not be empty.")
        }
        guard inputs.count <= 2048 else {
            throw RequestFields.invalid("input", "'input' may hold 2048 texts at most.")
        }
        if let value = root.present("dimensions") {
            guard let count = value.int else {
                throw RequestFields.wrongType("dimensions", "an integer")
            }
            guard count >= 1 else {
                throw RequestFields.invalid("dimensions", "'dimensions' must be at least 1.")
            }
            dimensions = count
        } else {
            dimensions = nil
        }
        let format = root.present("encoding_format")
        isBase64 = format?.equals("base64") == true
        guard format?.equals("float") ?? true || isBase64 else {
            throw RequestFields.invalid(
                "encoding_format", "'encoding_format' must be float or base64.")
        }
    }
}
