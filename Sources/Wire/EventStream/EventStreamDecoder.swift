import Primitives

/// Reads event-stream messages from bytes cut anywhere.
///
/// A message stays where it has come to: a stream brings one for each token, and copies of headers
/// and payload would cost more than all that is done with them.
public struct EventStreamDecoder: Sendable {
    /// Where a header lies in the buffer.
    private struct Header: Sendable {
        let name: Range<Int>
        let type: UInt8
        let value: Range<Int>
    }

    private static let preludeLength = 12
    private static let checksumLength = 4
    private static let headersLimit = 128 << 10
    private static let payloadLimit = 24 << 20

    private var buffer: [UInt8] = []
    /// Where the next message begins.
    private var start = 0
    private var headers: [Header] = []
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
        headers.removeAll(keepingCapacity: true)
        payloadRange = 0..<0
        buffer.append(span: bytes)
    }

    /// Moves on to the next whole message, which can be looked at until the decoder is called
    /// again. False: more bytes are needed.
    /// - Throws: what is wrong; the stream is lost then.
    public mutating func advance() throws(EventStreamFailure) -> Bool {
        guard let frame = try nextFrame() else { return false }
        let buffer = buffer
        try Self.readHeaders(buffer.span, frame.headers, into: &headers)
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
        return (start + Self.preludeLength..<payloadStart, payloadStart..<start + end)
    }

    /// The payload of the message.
    @_lifetime(borrow self)
    public func payload() -> Span<UInt8> { buffer.span.extracting(payloadRange) }

    /// The text of a string header of the message; nil when there is none of that name.
    @_lifetime(borrow self)
    public func text(of name: StaticString) -> Span<UInt8>? {
        let bytes = buffer.span
        for header in headers where bytes.extracting(header.name).equals(name) {
            return header.type == 7 ? bytes.extracting(header.value) : nil
        }
        return nil
    }

    /// A copy of the message.
    public func message() -> EventStreamMessage {
        let bytes = buffer.span
        return EventStreamMessage(
            headers: headers.map { header in
                (bytes.extracting(header.name).array, Self.value(bytes, header))
            },
            payload: payload().array)
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

    // MARK: - Headers

    private static func readHeaders(
        _ bytes: Span<UInt8>, _ range: Range<Int>, into headers: inout [Header]
    ) throws(EventStreamFailure) {
        headers.removeAll(keepingCapacity: true)
        var at = range.lowerBound
        while at < range.upperBound {
            guard headers.count < Limits.eventStreamHeaders else { throw .headersTooLong }
            let name = at + 1..<at + 1 + Int(bytes[at])
            guard name.upperBound < range.upperBound else { throw .malformed }
            let text = bytes.extracting(name)
            for header in headers where bytes.extracting(header.name).equals(text) {
                throw .duplicateHeader
            }
            let type = bytes[name.upperBound]
            at = name.upperBound + 1
            let length = try valueLength(bytes, type: type, &at, end: range.upperBound)
            guard at + length <= range.upperBound else { throw .malformed }
            headers.append(Header(name: name, type: type, value: at..<at + length))
            at += length
        }
    }

    /// How many bytes a value of that type takes. Where they say so themselves, `at` moves behind
    /// that.
    private static func valueLength(
        _ bytes: Span<UInt8>, type: UInt8, _ at: inout Int, end: Int
    ) throws(EventStreamFailure) -> Int {
        switch type {
        case 0, 1: return 0
        case 2: return 1
        case 3: return 2
        case 4: return 4
        case 5, 8: return 8
        case 9: return 16
        case 6, 7:
            guard at + 2 <= end else { throw .malformed }
            at += 2
            return Int(bytes[at - 2]) << 8 | Int(bytes[at - 1])
        default: throw .malformed
        }
    }

    private static func value(
        _ bytes: Span<UInt8>, _ header: Header
    ) -> EventStreamMessage.Value {
        let value = bytes.extracting(header.value)
        return switch header.type {
        case 0: .bool(true)
        case 1: .bool(false)
        case 2: .int8(Int8(truncatingIfNeeded: integer(value)))
        case 3: .int16(Int16(truncatingIfNeeded: integer(value)))
        case 4: .int32(Int32(truncatingIfNeeded: integer(value)))
        case 5: .int64(integer(value))
        case 7: .string(value.array)
        case 8: .timestamp(integer(value))
        case 9: .uuid(value.array)
        default: .bytes(value.array)
        }
    }

    /// At most eight bytes as a number, the most significant one first.
    private static func integer(_ bytes: Span<UInt8>) -> Int64 {
        var value: Int64 = 0
        for index in bytes.indices { value = value << 8 | Int64(bytes[index]) }
        return value
    }
}

extension Span where Element == UInt8 {
    /// Four bytes as a number; they must be there.
    fileprivate func bigEndian32(at index: Int) -> UInt32 {
        UInt32(self[index]) << 24 | UInt32(self[index + 1]) << 16 | UInt32(self[index + 2]) << 8
            | UInt32(self[index + 3])
    }
}
