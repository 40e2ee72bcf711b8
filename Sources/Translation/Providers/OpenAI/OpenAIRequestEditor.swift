import Primitives
import Wire

/// Changes what must change in a client's body and keeps every other byte (rules F1 and F4).
struct OpenAIRequestEditor {
    private let request: ClientRequest
    /// The backend's name of the model, where it is not the client's.
    private let model: String?
    private let isLegacyDialect: Bool

    init(request: ClientRequest, model: String?, isLegacyDialect: Bool) {
        self.request = request
        self.model = model == request.summary.model ? nil : model
        self.isLegacyDialect = isLegacyDialect
    }

    func body() -> [UInt8] {
        var editor = JSONEditor()
        if let model {
            editor.replace(request.summary.modelRange, with: JSONText.string(model))
        }
        let asksForUsage = request.summary.lacksUsage
        if asksForUsage || isLegacyDialect, let document = request.document {
            if asksForUsage { askForUsage(document.root, &editor) }
            if isLegacyDialect { speakLegacy(document.root, &editor) }
        }
        guard !editor.isEmpty else { return request.body }
        let body = request.body
        return editor.apply(to: body.span)
    }

    /// Without `include_usage` a stream would say nothing about its tokens.
    private func askForUsage(_ root: JSONValue, _ editor: inout JSONEditor) {
        guard let options = root["stream_options"] else {
            return editor.insertMember(
                [UInt8](#""stream_options":{"include_usage":true}"#), intoObjectAt: root.range,
                isEmpty: false)
        }
        guard options.kind == .object else {
            return editor.replace(options.range, with: [UInt8](#"{"include_usage":true}"#))
        }
        if let usage = options["include_usage"] {
            editor.replace(usage.range, with: [UInt8]("true"))
        } else {
            editor.insertMember(
                [UInt8](#""include_usage":true"#), intoObjectAt: options.range,
                isEmpty: options.count == 0)
        }
    }

    /// Older servers know neither `max_completion_tokens` nor the developer role.
    private func speakLegacy(_ root: JSONValue, _ editor: inout JSONEditor) {
        renameBound(root, &editor)
        guard let messages = root["messages"] else { return }
        for message in messages.elements {
            guard let role = message["role"], role.equals("developer") else { continue }
            editor.replace(role.range, with: [UInt8](#""system""#))
        }
    }

    /// Where both bounds are there, the newer one counts, as in the gateway's own books.
    private func renameBound(_ root: JSONValue, _ editor: inout JSONEditor) {
        guard
            let (key, bound) = root.members.first(where: { key, _ in
                key.equals("max_completion_tokens")
            })
        else { return }
        guard let older = root["max_tokens"] else {
            return editor.replace(key.range, with: [UInt8](#""max_tokens""#))
        }
        if !bound.isNull { editor.replace(older.range, with: bound.source) }
        let body = request.body
        editor.removeMember(
            key: key.range, value: bound.range, ofObjectAt: root.range, in: body.span)
    }
}
