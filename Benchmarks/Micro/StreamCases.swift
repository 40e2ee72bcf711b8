import Primitives
import Translation
import Wire

/// One event of a streamed answer.
enum StreamCases {
    static let all = [
        MicroCase(name: "sse-parse-event", prepare: parseEvent),
        MicroCase(name: "sse-pass-event") {
            receive("openai", "text/event-stream", [], Samples.openAIEvent)
        },
        MicroCase(name: "event-stream-frame", prepare: frame),
        MicroCase(name: "converse-stream-event") {
            receive(
                "bedrock", "application/vnd.amazon.eventstream", Samples.converseStart,
                Samples.converseFrame)
        },
    ]

    @Sendable private static func parseEvent() -> MicroCase.Operation {
        var parser = SSEParser()
        let event = Samples.openAIEvent
        return {
            parser.receive(event.span)
            guard (try? parser.next()) == true else { preconditionFailure("no event") }
            return parser.payload().count
        }
    }

    @Sendable private static func frame() -> MicroCase.Operation {
        var decoder = EventStreamDecoder()
        let frame = Samples.converseFrame
        return {
            decoder.receive(frame.span)
            guard (try? decoder.advance()) == true else { preconditionFailure("no message") }
            return decoder.payload().count
        }
    }

    /// Read, looked at, and made into what the client gets.
    private static func receive(
        _ kind: String, _ type: StaticString, _ start: [UInt8], _ event: [UInt8]
    ) -> MicroCase.Operation {
        let call = Samples.call(
            kind, Samples.streamed(Samples.smallBody), model: Samples.claude)
        var output = StreamOutput()
        var head = ResponseHead()
        head.status = 200
        head.fields.append("content-type", type)
        call.begin(head, into: &output)
        call.receive(start.span, into: &output)
        return {
            call.receive(event.span, into: &output)
            precondition(output.state == .open)
            let count = output.bytes.count
            precondition(count > 0)
            // As the exchange does, which passes the memory on and gets it back.
            output.bytes.removeAll(keepingCapacity: true)
            return count
        }
    }
}
