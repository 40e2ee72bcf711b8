import Primitives

/// Reads the responses of one upstream connection, one after another, from bytes cut anywhere.
public struct HTTP1ResponseReader: ~Copyable {
    private enum State {
        case head(HeadScanner, interims: Int)
        case body(BodyReader)
        case finished
        case failed(HTTPFailure)
    }

    /// What the bytes held next; as with `HTTP1RequestReader.Event`.
    public enum Event: Equatable, Sendable {
        /// Everything usable is used; what lies behind `position` must be presented again.
        case needsMore
        /// `head` is complete.
        case head
        /// These bytes are body.
        case body(Range<Int>)
        /// The response is complete.
        case end
        /// The response makes no sense.
        case failed(HTTPFailure)
    }

    /// The head, valid from `.head` until `begin`.
    public private(set) var head = ResponseHead()
    /// The trailers of a chunked body, valid at `.end`.
    public private(set) var trailers = HeaderFields()
    /// Whether any byte of the response has come.
    public private(set) var hasBegun = false

    private let limits: HTTP1Limits
    private var isHeadRequest = false
    private var state = State.head(HeadScanner(), interims: 0)

    /// A reader for a new connection.
    public init(limits: HTTP1Limits) { self.limits = limits }

    /// Whether a body is being read whose length is not known ahead.
    public var isReadingStream: Bool {
        guard case .body = state else { return false }
        return head.framing == .chunked || head.framing == .untilClose
    }

    /// Ready for the response to the next request.
    public mutating func begin(isHeadRequest: Bool) {
        self.isHeadRequest = isHeadRequest
        hasBegun = false
        head.fields.removeAll()
        trailers.removeAll()
        state = .head(HeadScanner(), interims: 0)
    }

    /// The next event from `bytes[position...]`; `position` moves behind what was used.
    public mutating func next(_ bytes: Span<UInt8>, position: inout Int) -> Event {
        if position < bytes.count { hasBegun = true }
        do throws(HTTPFailure) {
            switch state {
            case .head(let scanner, let interims):
                return try readHead(
                    bytes, position: &position, scanner: scanner, interims: interims)
            case .body(var body):
                let event = try body.next(
                    bytes, position: &position, limits: limits, trailers: &trailers)
                state = event == .end ? .finished : .body(body)
                switch event {
                case .needsMore: return .needsMore
                case .body(let range): return .body(range)
                case .end: return .end
                }
            case .finished: return .needsMore
            case .failed(let failure): return .failed(failure)
            }
        } catch {
            state = .failed(error)
            return .failed(error)
        }
    }

    /// The peer has closed the connection.
    public mutating func connectionEnded() -> Event {
        switch state {
        case .body(let body) where body.endsWithConnection:
            state = .finished
            return .end
        case .head where !hasBegun, .finished: return .needsMore
        case .head, .body:
            return .failed(HTTPFailure(status: 502, reason: "the connection ended early"))
        case .failed(let failure): return .failed(failure)
        }
    }

    private mutating func readHead(
        _ bytes: Span<UInt8>, position: inout Int, scanner: HeadScanner, interims: Int
    ) throws(HTTPFailure) -> Event {
        var scanner = scanner
        var interims = interims
        while true {
            switch scanner.scan(bytes, from: position) {
            case .needsMore:
                guard bytes.count - position <= limits.headBytes else {
                    throw Self.failure("the header is too long")
                }
                state = .head(scanner, interims: interims)
                return .needsMore
            case .bareLineEnd: throw Self.failure("a header line does not end with CR LF")
            case .complete(let end):
                guard end - position <= limits.headBytes else {
                    throw Self.failure("the header is too long")
                }
                let start = position
                position = end
                try parse(bytes, start..<end - 2)
                guard head.status < 200 else {
                    state = .body(BodyReader(head.framing))
                    return .head
                }
                interims += 1
                guard head.status != 101, interims <= limits.interimResponses else {
                    throw Self.failure("an unexpected interim answer")
                }
                scanner.reset()
            }
        }
    }

    private mutating func parse(
        _ bytes: Span<UInt8>, _ range: Range<Int>
    ) throws(HTTPFailure) {
        guard range.count >= 14, bytes.extracting(range).starts(with: "HTTP/1."),
            bytes[range.lowerBound + 8] == 0x20
        else { throw Self.failure("it does not begin with a status line") }
        head.version = bytes[range.lowerBound + 7] == UInt8(ascii: "0") ? .http10 : .http11
        var status = 0
        for index in range.lowerBound + 9..<range.lowerBound + 12 {
            guard bytes[index].isASCIIDigit else { throw Self.failure("the status is no number") }
            status = status * 10 + Int(bytes[index] - UInt8(ascii: "0"))
        }
        guard status >= 100, status < 600,
            let lineEnd = bytes.firstIndex(of: 0x0d, from: range.lowerBound),
            bytes[lineEnd + 1] == 0x0a
        else { throw Self.failure("the status line is malformed") }
        head.status = status
        head.fields.removeAll()
        do throws(HTTPFailure) {
            try head.fields.append(
                section: bytes.extracting(lineEnd + 2..<range.upperBound),
                maximumCount: limits.headFields)
            try setFraming(MessageFraming(head.fields, version: head.version))
        } catch {
            throw Self.failure(error.reason)
        }
    }

    /// RFC 9112 section 6.3.
    private mutating func setFraming(_ framing: MessageFraming) {
        head.isKeepAlive = framing.isKeepAlive(head.version)
        let hasNoBody =
            isHeadRequest || head.status < 200 || head.status == 204 || head.status == 304
        if hasNoBody {
            head.framing = .none
        } else if framing.isChunked {
            head.framing = .chunked
        } else if let length = framing.length {
            head.framing = .length(length)
        } else {
            head.framing = .untilClose
            head.isKeepAlive = false
        }
    }

    private static func failure(_ reason: String) -> HTTPFailure {
        HTTPFailure(status: 502, reason: reason)
    }
}
