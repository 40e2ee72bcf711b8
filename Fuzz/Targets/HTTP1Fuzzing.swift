import Primitives
import Wire

/// HTTP/1 readers: how bytes are cut does not matter, and what they let through is clean.
enum HTTP1Fuzzing {
    /// What a connection's bytes meant. The reason of a failure is left out: what is too long may
    /// be refused before it is seen to be malformed, too.
    private struct Story: Equatable {
        var heads: [[UInt8]] = []
        var body: [UInt8] = []
        var ends = 0
        var hasFailed = false
    }

    /// Small, so that inputs reach them.
    private static let limits: HTTP1Limits = {
        var limits = HTTP1Limits()
        limits.headBytes = 512
        limits.headFields = 8
        limits.targetBytes = 96
        limits.trailerBytes = 64
        limits.chunkExtensionBytes = 32
        return limits
    }()

    /// Requests of one client.
    static func requests(_ bytes: [UInt8]) {
        var choices = Choices(bytes)
        let whole = readRequests([bytes])
        precondition(whole == readRequests(choices.pieces(bytes)), "requests differ when cut")
        precondition(whole.body.count <= bytes.count, "more body than bytes")
    }

    /// A body in chunks, and a body that we have cut into chunks.
    static func chunks(_ bytes: [UInt8]) {
        let head = [UInt8]("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)
        requests(head + bytes)
        var choices = Choices(bytes)
        var written = head
        for piece in choices.pieces(bytes) { HTTP1Writer.chunk(piece.span, into: &written) }
        HTTP1Writer.lastChunk(into: &written)
        let story = readRequests(choices.pieces(written))
        precondition(!story.hasFailed && story.ends == 1, "our own chunks are refused")
        precondition(story.body == bytes, "our own chunks hold something else")
    }

    /// Answers of one backend; the first byte says whether HEAD was asked.
    static func responses(_ bytes: [UInt8]) {
        let isHeadRequest = bytes.first == UInt8(ascii: "h")
        let bytes = Array(bytes.dropFirst())
        var choices = Choices(bytes)
        let whole = readResponses([bytes], isHeadRequest)
        precondition(
            whole == readResponses(choices.pieces(bytes), isHeadRequest),
            "responses differ when cut")
        precondition(whole.body.count <= bytes.count, "more body than bytes")
    }

    private static func readRequests(_ pieces: [[UInt8]]) -> Story {
        var story = Story()
        var reader = HTTP1RequestReader(limits: limits)
        var carried: [UInt8] = []
        for piece in pieces {
            carried += piece
            var position = 0
            reading: while true {
                switch reader.next(carried.span, position: &position) {
                case .needsMore: break reading
                case .head:
                    check(reader.head)
                    story.heads.append(description(of: reader.head))
                case .body(let range): story.body += carried[range]
                case .end:
                    checkFields(reader.trailers)
                    story.ends += 1
                    reader.reset()
                case .failed:
                    story.hasFailed = true
                    return story
                }
            }
            carried.removeFirst(position)
        }
        return story
    }

    private static func readResponses(_ pieces: [[UInt8]], _ isHeadRequest: Bool) -> Story {
        var story = Story()
        var reader = HTTP1ResponseReader(limits: limits)
        reader.begin(isHeadRequest: isHeadRequest)
        var carried: [UInt8] = []
        for piece in pieces {
            carried += piece
            var position = 0
            reading: while true {
                switch reader.next(carried.span, position: &position) {
                case .needsMore: break reading
                case .head:
                    precondition((200..<600).contains(reader.head.status), "a wrong status")
                    checkFields(reader.head.fields)
                    story.heads.append(description(of: reader.head))
                case .body(let range): story.body += carried[range]
                case .end:
                    story.ends += 1
                    reader.begin(isHeadRequest: isHeadRequest)
                case .failed:
                    story.hasFailed = true
                    return story
                }
            }
            carried.removeFirst(position)
        }
        switch reader.connectionEnded() {
        case .end: story.ends += 1
        case .failed: story.hasFailed = true
        case .needsMore, .head, .body: break
        }
        return story
    }

    // MARK: - Heads

    /// What was let through stays what it is when we send it on.
    private static func check(_ head: RequestHead) {
        checkFields(head.fields)
        precondition(head.target.count <= limits.targetBytes, "a target over its bound")
        precondition(head.fields.count <= limits.headFields, "more fields than may be")
        guard head.target.first == UInt8(ascii: "/") else { return }
        var written: [UInt8] = []
        HTTP1Writer.requestHead(
            method: "POST", path: head.target, host: head.host,
            fields: endToEnd(head.fields), bodyLength: 0, into: &written)
        var reader = HTTP1RequestReader(limits: HTTP1Limits())
        var position = 0
        let event = reader.next(written.span, position: &position)
        precondition(event == .head, "what was let through cannot be sent on")
        precondition(position == written.count, "a head that holds more than one")
        precondition(reader.head.target == head.target, "the target changes on its way")
        precondition(reader.head.host == head.host, "the host changes on its way")
        precondition(reader.head.framing == .length(0), "the framing changes on its way")
    }

    private static func endToEnd(_ fields: HeaderFields) -> HeaderFields {
        let hops: [StaticString] = [
            "host", "content-length", "transfer-encoding", "connection", "expect",
        ]
        var kept = HeaderFields()
        for index in 0..<fields.count {
            let name = fields.name(at: index).array
            guard !hops.contains(where: { name.span.equals($0) }) else { continue }
            kept.append(name: fields.name(at: index), value: fields.value(at: index))
        }
        return kept
    }

    private static func description(of head: RequestHead) -> [UInt8] {
        var text = head.target
        text.append("\n")
        text.append(contentsOf: head.host)
        text.append(
            utf8: "\n\(head.method) \(head.version) \(head.framing) \(head.isKeepAlive)")
        append(head.fields, to: &text)
        return text
    }

    private static func description(of head: ResponseHead) -> [UInt8] {
        var text: [UInt8] = []
        text.append(
            utf8: "\(head.status) \(head.version) \(head.framing) \(head.isKeepAlive)")
        append(head.fields, to: &text)
        return text
    }

    private static func append(_ fields: HeaderFields, to text: inout [UInt8]) {
        for index in 0..<fields.count {
            text.append("\n")
            text.append(span: fields.name(at: index))
            text.append(":")
            text.append(span: fields.value(at: index))
        }
    }

    /// RFC 9110 section 5: names are tokens, values hold no control characters.
    static func checkFields(_ fields: HeaderFields) {
        for index in 0..<fields.count {
            let name = fields.name(at: index)
            precondition(!name.isEmpty, "a field without a name")
            for byte in name.array {
                precondition(
                    byte > 0x20 && byte < 0x7f && byte != UInt8(ascii: ":"), "a name is no token")
            }
            for byte in fields.value(at: index).array {
                precondition(byte >= 0x20 && byte != 0x7f || byte == 0x09, "a value is not clean")
            }
        }
    }
}
