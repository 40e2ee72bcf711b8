import Primitives
import Wire

/// Heads and framing of HTTP/1.
enum HTTP1Cases {
    static let all = [
        MicroCase(name: "http1-request-head", prepare: requestHead),
        MicroCase(name: "http1-response-head", prepare: responseHead),
        MicroCase(name: "http1-chunk-read", prepare: chunkRead),
        MicroCase(name: "http1-write-heads", prepare: writeHeads),
    ]

    private final class Readers {
        var request = HTTP1RequestReader(limits: HTTP1Limits())
        var response = HTTP1ResponseReader(limits: HTTP1Limits())
    }

    @Sendable private static func requestHead() -> MicroCase.Operation {
        let readers = Readers()
        let bytes = Samples.requestHead
        return {
            var position = 0
            precondition(readers.request.next(bytes.span, position: &position) == .head)
            while readers.request.next(bytes.span, position: &position) != .end {}
            readers.request.reset()
            return position
        }
    }

    @Sendable private static func responseHead() -> MicroCase.Operation {
        let readers = Readers()
        let bytes = Samples.responseHead
        return {
            readers.response.begin(isHeadRequest: false)
            var position = 0
            precondition(readers.response.next(bytes.span, position: &position) == .head)
            while readers.response.next(bytes.span, position: &position) != .end {}
            return readers.response.head.status
        }
    }

    /// One event of a stream in a chunk of its own.
    @Sendable private static func chunkRead() -> MicroCase.Operation {
        let readers = Readers()
        let head = [UInt8]("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".utf8)
        readers.response.begin(isHeadRequest: false)
        var position = 0
        precondition(readers.response.next(head.span, position: &position) == .head)
        let event = Samples.openAIEvent
        var chunk: [UInt8] = []
        HTTP1Writer.chunk(event.span, into: &chunk)
        return {
            var position = 0
            var body = 0
            while case .body(let range) = readers.response.next(chunk.span, position: &position) {
                body += range.count
            }
            precondition(body == event.count)
            return body
        }
    }

    /// The head of a request to a backend, and that of an answer to a client.
    @Sendable private static func writeHeads() -> MicroCase.Operation {
        var fields = HeaderFields()
        fields.append("content-type", "application/json")
        fields.append("accept", "application/json")
        fields.append("x-request-id", "req_0123456789abcdef01234567")
        fields.append("authorization", "Bearer backend-key")
        let path = [UInt8]("/v1/chat/completions".utf8)
        let host = [UInt8]("127.0.0.1:8000".utf8)
        return {
            var bytes: [UInt8] = []
            HTTP1Writer.requestHead(
                method: "POST", path: path, host: host, fields: fields, bodyLength: 189,
                into: &bytes)
            HTTP1Writer.responseHead(
                status: 200, fields: fields, framing: .length(512), keepAlive: true,
                version: .http11, into: &bytes)
            return bytes.count
        }
    }
}
