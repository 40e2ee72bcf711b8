import Primitives
import Wire

/// HTTP/2, both sides of it.
enum HTTP2Cases {
    static let all = [MicroCase(name: "http2-exchange", prepare: exchange)]

    private final class Pair {
        let now = Instant(nanoseconds: 1_000_000_000)
        var client: HTTP2Session
        var server: HTTP2Session
        private let fields: HeaderFields
        private let answerFields: HeaderFields

        init() {
            client = HTTP2Session(clientWith: HTTP2Limits(), now: now)
            server = HTTP2Session(serverWith: HTTP2Limits(), now: now)
            var fields = HeaderFields()
            fields.append("content-type", "application/json")
            fields.append("authorization", "Bearer sk-sluice-0123456789abcdef0123456789abcdef")
            self.fields = fields
            var answerFields = HeaderFields()
            answerFields.append("content-type", "application/json")
            self.answerFields = answerFields
        }

        /// One request and its answer; the number of bytes that the answer took.
        func exchange() -> Int {
            let stream = client.request(
                path: [UInt8]("/v1/chat/completions".utf8), authority: [UInt8]("gateway".utf8),
                isTLS: false, fields: fields, body: Samples.smallBody,
                owner: HTTP2StreamOwner(word: 7, number: 1))
            precondition(stream != nil)
            carryUp()
            var asked: Handle?
            while let event = server.nextEvent() {
                if case .head(let stream) = event { asked = stream }
            }
            guard let asked, (try? server.requestHead(of: asked)) != nil else {
                preconditionFailure("no request arrived")
            }
            server.respond(
                asked, status: 200, fields: answerFields, length: Samples.openAIAnswer.count,
                isLast: false)
            let answer = Samples.openAIAnswer
            server.append(answer.span, to: asked, isLast: true)
            let count = carryDown()
            while client.nextEvent() != nil {}
            carryUp()
            while server.nextEvent() != nil {}
            precondition(server.streamCount == 0 && client.streamCount == 0)
            return count
        }

        private func carryUp() {
            var wire: [UInt8] = []
            client.takeOutput(into: &wire, limit: 1 << 20, now: now)
            server.receive(wire.span, now: now)
        }

        private func carryDown() -> Int {
            var wire: [UInt8] = []
            server.takeOutput(into: &wire, limit: 1 << 20, now: now)
            client.receive(wire.span, now: now)
            return wire.count
        }
    }

    @Sendable private static func exchange() -> MicroCase.Operation {
        let pair = Pair()
        return { pair.exchange() }
    }
}
