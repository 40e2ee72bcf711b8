import Primitives

/// Reads the body of one message, however it is delimited (RFC 9112 section 6.3).
struct BodyReader {
    private enum State {
        case fixed(remaining: Int)
        case chunked(ChunkedDecoder)
        case untilClose
        case complete
    }

    /// What the bytes held next.
    enum Event: Equatable {
        /// All bytes are used; more must come.
        case needsMore
        /// These bytes are body.
        case body(Range<Int>)
        /// The body is complete.
        case end
    }

    private var state: State

    init(_ framing: BodyFraming) {
        switch framing {
        case .none, .length(0): state = .complete
        case .length(let length): state = .fixed(remaining: length)
        case .chunked: state = .chunked(ChunkedDecoder())
        case .untilClose: state = .untilClose
        }
    }

    /// Whether the end of the connection is the end of the body.
    var endsWithConnection: Bool {
        switch state {
        case .untilClose, .complete: true
        case .fixed, .chunked: false
        }
    }

    /// How much of a body of known length is still to come; 0 of any other.
    var remaining: Int { if case .fixed(let remaining) = state { remaining } else { 0 } }

    /// So many of the `remaining` bytes have been read elsewhere.
    mutating func skip(_ count: Int) {
        let rest = remaining - count
        precondition(count >= 0 && rest >= 0)
        state = rest == 0 ? .complete : .fixed(remaining: rest)
    }

    /// Reads on from `position`, which moves behind what was used.
    /// - Throws: 400 for anything that is not chunked coding.
    mutating func next(
        _ bytes: Span<UInt8>, position: inout Int, limits: HTTP1Limits,
        trailers: inout HeaderFields
    ) throws(HTTPFailure) -> Event {
        switch state {
        case .fixed(let remaining):
            guard let range = take(remaining, bytes, &position) else { return .needsMore }
            state =
                range.count == remaining ? .complete : .fixed(remaining: remaining - range.count)
            return .body(range)
        case .untilClose:
            guard let range = take(bytes.count, bytes, &position) else { return .needsMore }
            return .body(range)
        case .chunked(var decoder):
            let progress = try decoder.next(
                bytes, position: &position, limits: limits, trailers: &trailers)
            state = .chunked(decoder)
            switch progress {
            case .needsMore: return .needsMore
            case .body(let range): return .body(range)
            case .finished:
                state = .complete
                return .end
            }
        case .complete: return .end
        }
    }

    /// At most `count` bytes from `position` on; nil when there are none.
    private func take(_ count: Int, _ bytes: Span<UInt8>, _ position: inout Int) -> Range<Int>? {
        let length = min(count, bytes.count - position)
        guard length > 0 else { return nil }
        defer { position += length }
        return position..<position + length
    }
}
