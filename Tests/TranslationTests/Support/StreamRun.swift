import Primitives
import Wire

@testable import Translation

/// Plays a backend's bytes into a streamed call, and keeps what the client gets.
struct StreamRun {
    /// The data of every SSE event, in order.
    private(set) var data: [[UInt8]] = []
    private(set) var output = StreamOutput()

    /// Plays the pieces one after another and then the end of the answer.
    init(_ call: any BackendCall, _ pieces: [[UInt8]]) {
        var bytes: [UInt8] = []
        call.begin(ResponseHead(), into: &output)
        for piece in pieces {
            call.receive(piece.span, into: &output)
            bytes += output.bytes
            output.bytes = []
        }
        call.end(into: &output)
        bytes += output.bytes
        output.bytes = []
        data = Self.events(bytes)
    }

    /// The chunks without `[DONE]`.
    var chunks: [[UInt8]] { isFinished ? data.dropLast() : data }

    /// Whether the stream ended as it should: `[DONE]` and nothing behind it.
    var isFinished: Bool { output.state == .finished && data.last == Array("[DONE]".utf8) }

    /// The error that broke the stream; nil when none did.
    var error: APIError? {
        if case .failed(let error) = output.state { error } else { nil }
    }

    /// The deltas of the chunks, as compact JSON; an empty one with its finish reason.
    var deltas: [String] {
        chunks.compactMap { chunk -> String? in
            guard
                let choice = try? JSONDocument(chunk).root["choices"]?.elements.first(where: { _ in
                    true
                })
            else { return nil }
            guard let reason = choice["finish_reason"]?.string else { return choice["delta"]?.text }
            return reason
        }
    }

    /// Frames the events of a vector, `{"type": payload}`; `…Exception` is an exception frame.
    static func frames(_ events: JSONValue) -> [[UInt8]] {
        events.elements.flatMap { event in
            event.members.map { type, payload in
                let name = type.string ?? ""
                var frame: [UInt8] = []
                if name.hasSuffix("Exception") {
                    EventStreamEncoder.exception(name, payload: payload.source, to: &frame)
                } else {
                    EventStreamEncoder.event(name, payload: payload.source, to: &frame)
                }
                return frame
            }
        }
    }

    /// The same for the text of a list of events.
    static func frames(_ events: String) throws -> [[UInt8]] {
        frames(try JSONDocument(Array(events.utf8)).root)
    }

    private static func events(_ bytes: [UInt8]) -> [[UInt8]] {
        let text = String(decoding: bytes, as: UTF8.self)
        precondition(text.isEmpty || text.hasSuffix("\n\n"))
        return text.split(separator: "\n\n").map { event in
            precondition(event.hasPrefix("data: ") && !event.contains("\n"))
            return Array(event.dropFirst("data: ".count).utf8)
        }
    }
}
