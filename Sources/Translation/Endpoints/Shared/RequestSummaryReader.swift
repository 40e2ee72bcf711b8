import Primitives
public import Wire

/// Reads what routing, limits and metering must know out of a request, in one validating pass.
public enum RequestSummaryReader {
    private enum Field: UInt8 {
        case model, stream, streamOptions, maximumTokens, maximumCompletionTokens, user, candidates
        case serviceTier

        init?(_ name: Span<UInt8>) {
            if name.equals("model") {
                self = .model
            } else if name.equals("stream") {
                self = .stream
            } else if name.equals("stream_options") {
                self = .streamOptions
            } else if name.equals("max_tokens") {
                self = .maximumTokens
            } else if name.equals("max_completion_tokens") {
                self = .maximumCompletionTokens
            } else if name.equals("user") {
                self = .user
            } else if name.equals("n") {
                self = .candidates
            } else if name.equals("service_tier") {
                self = .serviceTier
            } else {
                return nil
            }
        }
    }

    /// Reads a body.
    /// - Throws: 400 `invalid_json` with line and column when it is no JSON, and a 400 that names
    ///   the field when one of those that decide policy has the wrong type or stands there twice:
    ///   another reader might then take the other one.
    public static func read(
        _ body: Span<UInt8>, tape: inout JSONTape, endpoint: Endpoint
    ) throws(APIError) -> RequestSummary {
        do throws(JSONFailure) {
            try tape.parse(body)
        } catch {
            throw .badRequest(
                "invalid_json", param: nil,
                "The request body is not valid JSON: \(error.reason) "
                    + "(line \(error.line), column \(error.column)).")
        }
        guard tape.isObject else {
            throw .badRequest(
                "invalid_request", param: nil, "The request body must be a JSON object.")
        }
        var summary = RequestSummary()
        // A bit for each field.
        var seen: UInt16 = 0
        try tape.forEachMember(in: body) { name, value throws(APIError) in
            guard let field = Field(name) else { return }
            guard seen & (1 << field.rawValue) == 0 else { throw standsTwice(name.text) }
            seen |= 1 << field.rawValue
            try read(field, at: value, tape, body, into: &summary)
        }
        guard !summary.model.isEmpty else {
            throw .badRequest(
                "missing_required_parameter", param: "model",
                "The request must name a model: send a non-empty 'model'.")
        }
        if !endpoint.canStream { summary.isStreamed = false }
        readAttachments(tape, body, into: &summary)
        return consume summary
    }

    /// Long strings without a space are Base64, with or without `data:` in front: their tokens have
    /// little to do with their length. Images by URL are long strings elsewhere.
    private static func readAttachments(
        _ tape: JSONTape, _ body: Span<UInt8>, into summary: inout RequestSummary
    ) {
        var names = 0
        var images = 0
        tape.forEachString(ofAtLeast: imageName) { range in
            let text = body.extracting(range.lowerBound + 1..<range.upperBound - 1)
            if range.count == imageName, text.equals("image_url") { names += 1 }
            guard range.count >= Limits.attachmentTextBytes else { return }
            let isImage = text.starts(with: "data:image/")
            guard isImage || text.starts(with: "data:") || isBase64(text) else { return }
            images += isImage ? 1 : 0
            summary.attachmentBytes += range.count
            guard !isImage else { return }
            summary.attachmentTokens += max(
                Limits.attachmentTokens, range.count / Limits.attachmentBytesPerToken)
        }
        // A part names it twice: as its type and as its member.
        summary.attachmentTokens += max(images, names / 2) * Limits.attachmentTokens
    }

    /// The length of `"image_url"`.
    private static let imageName = 11

    /// Judged by its beginning; JSON may write `/` as `\/`.
    private static func isBase64(_ text: Span<UInt8>) -> Bool {
        for index in text.indices.prefix(256) {
            switch text[index] {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"),
                UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "\\"):
                continue
            default: return false
            }
        }
        return true
    }

    private static func read(
        _ field: Field, at node: Int, _ tape: JSONTape, _ body: Span<UInt8>,
        into summary: inout RequestSummary
    ) throws(APIError) {
        let kind = tape.kind(node)
        guard kind != .null else { return }
        switch field {
        case .model:
            guard let model = tape.text(node, in: body) else {
                throw wrongType("model", "a string")
            }
            guard tape.range(node).count <= Limits.modelNameBytes else {
                throw .badRequest("invalid_value", param: "model", "'model' is too long a name.")
            }
            summary.model = model
            summary.modelRange = tape.range(node)
        case .stream:
            guard kind == .bool else { throw wrongType("stream", "a boolean") }
            summary.isStreamed = isTrue(node, tape, body)
        case .streamOptions:
            guard kind == .object else { throw wrongType("stream_options", "an object") }
            try readStreamOptions(node, tape, body, into: &summary)
        case .maximumTokens:
            let limit = try count(node, tape, body, "max_tokens")
            summary.maximumOutputTokens = summary.maximumOutputTokens ?? limit
        case .maximumCompletionTokens:
            summary.maximumOutputTokens = try count(node, tape, body, "max_completion_tokens")
        case .user:
            guard kind == .string else { throw wrongType("user", "a string") }
            summary.user = tape.text(node, in: body)
        case .candidates: summary.candidates = max(1, try count(node, tape, body, "n"))
        case .serviceTier:
            guard kind == .string else { throw wrongType("service_tier", "a string") }
            summary.serviceTier = tape.text(node, in: body)
        }
    }

    private static func readStreamOptions(
        _ node: Int, _ tape: JSONTape, _ body: Span<UInt8>, into summary: inout RequestSummary
    ) throws(APIError) {
        var isKnown = false
        try tape.forEachMember(of: node, in: body) { name, value throws(APIError) in
            guard name.equals("include_usage") else { return }
            guard !isKnown else { throw standsTwice("stream_options.include_usage") }
            isKnown = true
            summary.wantsUsage = isTrue(value, tape, body)
        }
    }

    private static func isTrue(_ node: Int, _ tape: JSONTape, _ body: Span<UInt8>) -> Bool {
        body[tape.range(node).lowerBound] == UInt8(ascii: "t")
    }

    /// A whole number. Its range is the backend's matter: a negative one reserves nothing.
    private static func count(
        _ node: Int, _ tape: JSONTape, _ body: Span<UInt8>, _ name: String
    ) throws(APIError) -> Int {
        guard let number = tape.integer(node, in: body) else {
            throw wrongType(name, "an integer")
        }
        return number
    }

    private static func standsTwice(_ name: String) -> APIError {
        .badRequest("invalid_request", param: name, "The member '\(name)' stands there twice.")
    }

    private static func wrongType(_ name: String, _ expected: String) -> APIError {
        .badRequest("invalid_type", param: name, "'\(name)' must be \(expected).")
    }
}
