import Primitives
import Wire

/// What backends stream: events, frames, compressed bodies.
enum StreamFuzzing {
    private struct Event: Equatable {
        let name: [UInt8]
        let data: [UInt8]?
    }

    /// Server-sent events.
    static func events(_ bytes: [UInt8]) {
        var choices = Choices(bytes)
        precondition(
            readEvents([bytes]) == readEvents(choices.pieces(bytes)), "events differ when cut")
    }

    private static func readEvents(_ pieces: [[UInt8]]) -> [Event] {
        var parser = SSEParser()
        var events: [Event] = []
        var raw: [UInt8] = []
        for piece in pieces {
            parser.receive(piece.span)
            while (try? parser.next()) == true {
                raw += parser.raw().array
                // What only separates is no event, and CRLF may be cut in two.
                guard parser.hasData || !parser.name.isEmpty else { continue }
                events.append(
                    Event(name: parser.name, data: parser.hasData ? parser.data : nil))
            }
        }
        precondition(
            pieces.joined().starts(with: raw), "what is passed on is not what has come")
        return events
    }

    /// AWS's frames: the bytes as they are, and the bytes as the headers and payload of a frame
    /// whose checksums are right.
    static func frames(_ bytes: [UInt8]) {
        var choices = Choices(bytes)
        compareFrames(bytes, &choices)
        let length = min(Int(bytes.first ?? 0), max(0, bytes.count - 1))
        let headers = Array(bytes.dropFirst().prefix(length))
        let payload = Array(bytes.dropFirst(1 + length))
        compareFrames(frame(headers: headers, payload: payload) + bytes, &choices)
        var written: [UInt8] = []
        EventStreamEncoder.event("chunk", payload: bytes, to: &written)
        let (messages, failure) = readFrames(choices.pieces(written))
        precondition(failure == nil && messages.count == 1, "our own frame is refused")
        precondition(messages[0].payload == bytes, "our own frame holds something else")
        precondition(messages[0].string(":event-type") == [UInt8]("chunk".utf8), "a lost header")
    }

    /// A frame with right lengths and checksums around any headers and payload.
    static func frame(headers: [UInt8], payload: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        append(UInt32(headers.count + payload.count + 16), to: &bytes)
        append(UInt32(headers.count), to: &bytes)
        append(CRC32.checksum(bytes.span), to: &bytes)
        bytes += headers + payload
        append(CRC32.checksum(bytes.span), to: &bytes)
        return bytes
    }

    private static func append(_ number: UInt32, to bytes: inout [UInt8]) {
        for shift in [24, 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: number >> shift)) }
    }

    private static func compareFrames(_ bytes: [UInt8], _ choices: inout Choices) {
        let whole = readFrames([bytes])
        let cut = readFrames(choices.pieces(bytes))
        precondition(whole == cut, "frames differ when cut")
        let payload = whole.0.reduce(0) { $0 + $1.payload.count }
        precondition(payload <= bytes.count, "more payload than bytes")
    }

    private static func readFrames(
        _ pieces: [[UInt8]]
    ) -> ([EventStreamMessage], EventStreamFailure?) {
        var decoder = EventStreamDecoder()
        var messages: [EventStreamMessage] = []
        do throws(EventStreamFailure) {
            for piece in pieces {
                decoder.receive(piece.span)
                while let message = try decoder.next() { messages.append(message) }
            }
            try decoder.end()
            return (messages, nil)
        } catch {
            return (messages, error)
        }
    }

    /// A compressed body, and a body that we have compressed; the first byte chooses the coding.
    static func inflated(_ bytes: [UInt8]) {
        let coding: ContentCoding = bytes.first == UInt8(ascii: "d") ? .deflate : .gzip
        let body = Array(bytes.dropFirst())
        var choices = Choices(bytes)
        let whole = inflate([body], coding)
        let cut = inflate(choices.pieces(body), coding)
        precondition(whole.isComplete == cut.isComplete, "a body ends elsewhere when cut")
        if whole.isComplete { precondition(whole.output == cut.output, "bodies differ when cut") }
        let bound = max(Limits.inflatedFreeBytes, (body.count + 1) * Limits.inflationRatio)
        precondition(whole.output.count <= bound + Limits.inflatedBytes, "a bomb goes off")
        guard !body.isEmpty, let compressed = Gzip.compress(body) else { return }
        let again = inflate(choices.pieces(compressed), .gzip)
        precondition(again.isComplete && again.output == body, "our own body is another one")
    }

    private static func inflate(
        _ pieces: [[UInt8]], _ coding: ContentCoding
    ) -> (output: [UInt8], isComplete: Bool) {
        var inflater = Inflater(coding)
        var output: [UInt8] = []
        var step: [UInt8] = []
        do throws(CompressionFailure) {
            for piece in pieces {
                var position = 0
                while try inflater.next(piece.span, position: &position, into: &step) {
                    precondition(step.count <= Limits.inflatedBytes, "a step that is too large")
                    output += step
                }
            }
            return (output, inflater.isComplete)
        } catch {
            return (output, false)
        }
    }
}
