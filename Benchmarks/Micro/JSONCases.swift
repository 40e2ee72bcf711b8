import Primitives
import Translation
import Wire

/// The validating tape, the summary that is read from it, and the editor.
enum JSONCases {
    static let all = [
        MicroCase(name: "json-tape-200B") { tape(Samples.smallBody) },
        MicroCase(name: "json-tape-2KB") { tape(Samples.toolsBody) },
        MicroCase(name: "json-tape-64KB") { tape(Samples.largeBody) },
        MicroCase(name: "json-summary-200B") { summary(Samples.smallBody) },
        MicroCase(name: "json-summary-2KB") { summary(Samples.toolsBody) },
        MicroCase(name: "json-edit-model", prepare: editModel),
    ]

    private static func tape(_ body: [UInt8]) -> MicroCase.Operation {
        var tape = JSONTape()
        return {
            guard (try? tape.parse(body.span)) != nil else { preconditionFailure("refused") }
            return tape.next(after: 0)
        }
    }

    private static func summary(_ body: [UInt8]) -> MicroCase.Operation {
        var tape = JSONTape()
        return {
            let summary = try? RequestSummaryReader.read(
                body.span, tape: &tape, endpoint: .chatCompletions)
            guard let summary else { preconditionFailure("refused") }
            return summary.modelRange.lowerBound
        }
    }

    @Sendable private static func editModel() -> MicroCase.Operation {
        let body = Samples.toolsBody
        let range = Samples.request(body).summary.modelRange
        let model = [UInt8](#""meta-llama/Llama-3.1-8B-Instruct""#.utf8)
        return {
            var editor = JSONEditor()
            editor.replace(range, with: model)
            return editor.apply(to: body.span).count
        }
    }
}
