import Primitives

/// Tools that the client did not declare.
extension ChatTools {
    /// Rules A32 and A33: with calls in the history tools must be declared, and `none` or the lack
    /// of tools then means that new calls are thrown away.
    mutating func declareUsedOnes(_ used: [[UInt8]]) {
        guard !used.isEmpty else {
            if isSuppressed { list = [] }
            return
        }
        guard list.isEmpty else { return }
        isSuppressed = true
        list = used.map { name in
            Tool(
                kind: .function, name: name, description: [UInt8]("Unavailable."),
                schema: [UInt8](#"{"type":"object"}"#), isStrict: false, cachePoint: .none)
        }
    }

    /// Rule A42 for models without native schemas: one tool whose input is the answer.
    mutating func demandStructuredOutput(_ schema: [UInt8], profile: ModelProfile) {
        let name = [UInt8]("json_output")
        // A history may call a tool of that name, and names must differ.
        list.removeAll { $0.name == name }
        list.append(
            Tool(
                kind: .structuredOutput, name: name, description: nil, schema: schema,
                isStrict: false, cachePoint: .none))
        choice = profile.hasNamedToolChoice ? .named(name) : .any
    }
}
