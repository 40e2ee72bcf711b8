import Primitives

/// Reads the requests of one connection, one after another (RFC 9112), from bytes cut anywhere.
public struct HTTP1RequestReader: ~Copyable {
    private enum State {
        case head(HeadScanner, emptyLines: Int)
        case body(BodyReader)
        case finished
        case failed(HTTPFailure)
    }

    /// What the bytes held next.
    public enum Event: Equatable, Sendable {
        /// Everything usable is used. What lies behind `position` is part of a head and must be
        /// presented again, in front of new bytes.
        case needsMore
        /// `head` is complete.
        case head
        /// These bytes are body.
        case body(Range<Int>)
        /// The request is complete.
        case end
        /// The request is refused; nothing behind it can be understood.
        case failed(HTTPFailure)
    }

    /// The head, valid from `.head` until `reset`.
    public private(set) var head = RequestHead()
    /// The trailers of a chunked body, valid at `.end`.
    public private(set) var trailers = HeaderFields()

    private let limits: HTTP1Limits
    private var state = State.head(HeadScanner(), emptyLines: 0)

    /// A reader for a new connection.
    public init(limits: HTTP1Limits) { self.limits = limits }

    /// The next event from `bytes[position...]`; `position` moves behind what was used.
    public mutating func next(_ bytes: Span<UInt8>, position: inout Int) -> Event {
        do throws(HTTPFailure) {
            switch state {
            case .head(let scanner, let emptyLines):
                return try readHead(
                    bytes, position: &position, scanner: scanner, emptyLines: emptyLines)
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

    /// How much of a body of known length is still to come. Whoever reads that elsewhere says so
    /// with `skipBody`; 0 of any other body.
    public var remainingBody: Int { if case .body(let body) = state { body.remaining } else { 0 } }

    /// So many of the `remainingBody` bytes have been read elsewhere.
    public mutating func skipBody(_ count: Int) {
        guard case .body(var body) = state, count > 0 else { return }
        body.skip(count)
        state = .body(body)
    }

    /// Ready for the next request on the connection; call it after `.end`.
    public mutating func reset() {
        head.fields.removeAll()
        trailers.removeAll()
        state = .head(HeadScanner(), emptyLines: 0)
    }

    private mutating func readHead(
        _ bytes: Span<UInt8>, position: inout Int, scanner: HeadScanner, emptyLines: Int
    ) throws(HTTPFailure) -> Event {
        var scanner = scanner
        var emptyLines = emptyLines
        while true {
            switch scanner.scan(bytes, from: position) {
            case .needsMore:
                try checkPartialHead(bytes, from: position)
                state = .head(scanner, emptyLines: emptyLines)
                return .needsMore
            case .bareLineEnd:
                throw HTTPFailure(status: 400, reason: "A line does not end with CR LF.")
            case .complete(let end):
                if end == position + 2, emptyLines < limits.leadingEmptyLines {
                    emptyLines += 1
                    position = end
                    scanner.reset()
                    continue
                }
                guard end - position <= limits.headBytes else { throw Self.headTooLong }
                let start = position
                position = end
                try RequestHeadParser(limits: limits).parse(bytes, start..<end - 2, into: &head)
                state = .body(BodyReader(head.framing))
                return .head
            }
        }
    }

    /// A head that is too long is refused before it is complete.
    private func checkPartialHead(
        _ bytes: Span<UInt8>, from start: Int
    ) throws(HTTPFailure) {
        let lineEnd = bytes.firstIndex(of: 0x0d, from: start) ?? bytes.count
        guard lineEnd - start <= limits.requestLineBytes else {
            throw RequestHeadParser.targetTooLong
        }
        guard bytes.count - start <= limits.headBytes else { throw Self.headTooLong }
    }

    private static let headTooLong = HTTPFailure(
        status: 431, reason: "The request's header is too long.")
}
