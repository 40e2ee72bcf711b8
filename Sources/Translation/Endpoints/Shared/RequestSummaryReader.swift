import Primitives
public import Wire

/// Reads what routing, limits and metering must know out of a request, in one validating pass.
public enum RequestSummaryReader {
    private enum Field: CaseIterable {
        case model, stream, streamOptions, maximumTokens, maximumCompletionTokens, user, candidates
        case serviceTier

        var name: StaticString {
            switch self {
            case .model: "model"
            case .stream: "stream"
            case .streamOptions: "stream_options"
            case .maximumTokens: "max_tokens"
            case .maximumCompletionTokens: "max_completion_tokens"
            case .user: "user"
            case .candidates: "n"
            case .serviceTier: "service_tier"
            }
        }
    }

    /// Reads a body.
    /// - Throws: 400 `invalid_json` with line and column when it is no JSON, and a 400 that names
    /// the
    ///   field when one of those that decide policy has the wrong type or stands there twice:
    ///   another
    ///   reader might then take the other one.
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
        var seen: [Field] = []
        var key = 1
        while key < tape.next(after: 0) {
            if let field = field(at: key, tape, body) {
                if seen.contains(field) {
                    throw .badRequest(
                        "invalid_request", param: "\(field.name)",
                        "The member '\(field.name)' stands there twice.")
                }
                seen.append(field)
                try read(field, at: key + 1, tape, body, into: &summary)
            }
            key = tape.next(after: key + 1)
        }
        guard !summary.model.isEmpty else {
            throw .badRequest(
                "missing_required_parameter", param: "model",
                "The request must name a model: send a non-empty 'model'.")
        }
        if !endpoint.canStream { summary.isStreamed = false }
        readAttachments(tape, body, into: &summary)
        return summary
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

    private static func field(
        at key: Int, _ tape: JSONTape, _ body: Span<UInt8>
    ) -> Field? {
        for field in Field.allCases where tape.string(key, equals: field.name, in: body) {
            return field
        }
        return nil
    }

    private static func read(
        _ field: Field, at node: Int, _ tape: JSONTape, _ body: Span<UInt8>,
        into summary: inout RequestSummary
    ) throws(APIError) {
        let kind = tape.kind(node)
        guard kind != .null else { return }
        switch field {
        case .model:
            guard kind == .string else { throw wrongType("model", "a string") }
            summary.model = text(node, tape, body)
            summary.modelRange = tape.range(node)
        case .stream:
            guard kind == .bool else { throw wrongType("stream", "a boolean") }
            summary.isStreamed = isTrue(node, tape, body)
        case .streamOptions:
            guard kind == .object else { throw wrongType("stream_options", "an object") }
            if let usage = tape.member("include_usage", of: node, in: body) {
                summary.wantsUsage = isTrue(usage, tape, body)
            }
        case .maximumTokens:
            let limit = try count(node, tape, body, "max_tokens")
            summary.maximumOutputTokens = summary.maximumOutputTokens ?? limit
        case .maximumCompletionTokens:
            summary.maximumOutputTokens = try count(node, tape, body, "max_completion_tokens")
        case .user:
            guard kind == .string else { throw wrongType("user", "a string") }
            summary.user = text(node, tape, body)
        case .candidates: summary.candidates = max(1, try count(node, tape, body, "n"))
        case .serviceTier:
            guard kind == .string else { throw wrongType("service_tier", "a string") }
            summary.serviceTier = text(node, tape, body)
        }
    }

    private static func text(_ node: Int, _ tape: JSONTape, _ body: Span<UInt8>) -> String {
        String(decoding: tape.stringBytes(node, in: body), as: UTF8.self)
    }

    private static func isTrue(_ node: Int, _ tape: JSONTape, _ body: Span<UInt8>) -> Bool {
        body[tape.range(node).lowerBound] == UInt8(ascii: "t")
    }

    /// A whole number. Its range is the backend's matter: a negative one reserves nothing.
    private static func count(
        _ node: Int, _ tape: JSONTape, _ body: Span<UInt8>, _ name: String
    ) throws(APIError) -> Int {
        guard tape.kind(node) == .number,
            let number = JSONNumber.integer(body.extracting(tape.range(node)))
        else { throw wrongType(name, "an integer") }
        return number
    }

    private static func wrongType(_ name: String, _ expected: String) -> APIError {
        .badRequest("invalid_type", param: name, "'\(name)' must be \(expected).")
    }
}
