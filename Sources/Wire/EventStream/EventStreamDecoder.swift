import Primitives

/// Reads event-stream messages from bytes cut anywhere.
///
/// A message stays where it has come to: a stream brings one for each token, and copies of headers
/// and payload would cost more than all that is done with them.
public struct EventStreamDecoder: Sendable {
    private static let preludeLength = 12
    private static let checksumLength = 4
    private static let headersLimit = 128 << 10
    private static let payloadLimit = 24 << 20

    private var buffer: [UInt8] = []
    /// Where the next message begins.
    private var start = 0
    /// Where the parts of the message lie.
    private var headersRange = 0..<0
    private var payloadRange = 0..<0

    /// A decoder at the start of a stream.
    public init() {}

    /// Takes more bytes; afterwards call `advance` until it says false.
    public mutating func receive(_ bytes: Span<UInt8>) {
        if start == buffer.count {
            buffer.removeAll(keepingCapacity: true)
        } else if start > 0 {
            buffer.removeFirst(start)
        }
        start = 0
        headersRange = 0..<0
        payloadRange = 0..<0
        buffer.append(span: bytes)
    }

    /// Moves on to the next whole message, which can be looked at until the decoder is called
    /// again. False: more bytes are needed.
    /// - Throws: what is wrong; the stream is lost then.
    public mutating func advance() throws(EventStreamFailure) -> Bool {
        guard let frame = try nextFrame() else { return false }
        headersRange = frame.headers
        payloadRange = frame.payload
        start = frame.payload.upperBound + Self.checksumLength
        return true
    }

    /// Where the parts of the message at `start` lie; nil while it is not whole.
    private func nextFrame() throws(EventStreamFailure) -> (
        headers: Range<Int>, payload: Range<Int>
    )? {
        let bytes = buffer.span.extracting(start..<buffer.count)
        guard bytes.count >= Self.preludeLength else { return nil }
        let total = Int(bytes.bigEndian32(at: 0))
        let headersLength = Int(bytes.bigEndian32(at: 4))
        let checksum = CRC32.checksum(bytes.extracting(0..<8))
        guard checksum == bytes.bigEndian32(at: 8) else { throw .checksumMismatch }
        guard headersLength <= Self.headersLimit else { throw .headersTooLong }
        guard total >= 16, headersLength <= total - 16 else { throw .malformed }
        guard total - headersLength - 16 <= Self.payloadLimit else { throw .payloadTooLong }
        guard bytes.count >= total else { return nil }
        let end = total - Self.checksumLength
        guard
            CRC32.checksum(bytes.extracting(8..<end), seed: checksum)
                == bytes.bigEndian32(at: end)
        else { throw .checksumMismatch }
        let payloadStart = start + Self.preludeLength + headersLength
        let headers = start + Self.preludeLength..<payloadStart
        try Self.checkHeaders(buffer.span, headers)
        return (headers, payloadStart..<start + end)
    }

    /// The payload of the message.
    @_lifetime(borrow self)
    public func payload() -> Span<UInt8> { buffer.span.extracting(payloadRange) }

    /// The text of a string header of the message; nil when there is none of that name.
    @_lifetime(borrow self)
    public func text(of name: StaticString) -> Span<UInt8>? {
        let bytes = buffer.span
        var reader = EventStreamHeaderReader(headersRange)
        while let header = try? reader.next(bytes) {
            guard bytes.extracting(header.name).equals(name) else { continue }
            return header.type == 7 ? bytes.extracting(header.value) : nil
        }
        return nil
    }

    /// A copy of the message.
    public func message() -> EventStreamMessage {
        let bytes = buffer.span
        var headers: [(name: [UInt8], value: EventStreamMessage.Value)] = []
        var reader = EventStreamHeaderReader(headersRange)
        while let header = try? reader.next(bytes) {
            headers.append((bytes.extracting(header.name).array, header.copy(of: bytes)))
        }
        return EventStreamMessage(headers: headers, payload: payload().array)
    }

    /// A copy of the next whole message; nil when more bytes are needed.
    /// - Throws: what is wrong; the stream is lost then.
    public mutating func next() throws(EventStreamFailure) -> EventStreamMessage? {
        try advance() ? message() : nil
    }

    /// The stream has ended.
    /// - Throws: `truncated` when bytes of a message are left.
    public func end() throws(EventStreamFailure) {
        guard start == buffer.count else { throw .truncated }
    }

    /// Headers must make sense, and their names differ.
    private static func checkHeaders(
        _ bytes: Span<UInt8>, _ range: Range<Int>
    ) throws(EventStreamFailure) {
        var count = 0
        var seen: UInt64 = 0
        var reader = EventStreamHeaderReader(range)
        while let header = try reader.next(bytes) {
            count += 1
            guard count <= Limits.eventStreamHeaders else { throw .headersTooLong }
            let name = header.name
            let middle = name.isEmpty ? 0 : bytes[name.lowerBound + name.count / 2]
            let mark = UInt64(1) << ((UInt64(name.count) ^ UInt64(middle)) & 63)
            // Names of different marks differ: hardly ever must one be held against the others.
            if seen & mark != 0, try isRepeated(name, bytes, from: range.lowerBound) {
                throw .duplicateHeader
            }
            seen |= mark
        }
    }

    /// Whether a header before this one has its name.
    private static func isRepeated(
        _ name: Range<Int>, _ bytes: Span<UInt8>, from start: Int
    ) throws(EventStreamFailure) -> Bool {
        var earlier = EventStreamHeaderReader(start..<name.lowerBound - 1)
        while let header = try earlier.next(bytes) {
            if bytes.extracting(header.name).equals(bytes.extracting(name)) { return true }
        }
        return false
    }
}

extension Span where Element == UInt8 {
    /// Four bytes as a number; they must be there.
    fileprivate func bigEndian32(at index: Int) -> UInt32 {
        unsafe withUnsafeBytes { bytes in
            UInt32(bigEndian: unsafe bytes.loadUnaligned(fromByteOffset: index, as: UInt32.self))
        }
    }
}
