import Primitives

/// Reads event-stream messages from bytes cut anywhere.
public struct EventStreamDecoder: Sendable {
    private static let preludeLength = 12
    private static let headersLimit = 128 << 10
    private static let payloadLimit = 24 << 20

    private var buffer: [UInt8] = []
    private var start = 0

    /// A decoder at the start of a stream.
    public init() {}

    /// Takes more bytes; afterwards call `next` until it returns nil.
    public mutating func receive(_ bytes: Span<UInt8>) {
        if start > 0 {
            buffer.removeFirst(start)
            start = 0
        }
        buffer.append(span: bytes)
    }

    /// The next whole message; nil when more bytes are needed.
    /// - Throws: what is wrong; the stream is lost then.
    public mutating func next() throws(EventStreamFailure) -> EventStreamMessage? {
        guard let (message, length) = try parse() else { return nil }
        start += length
        return message
    }

    /// The message at `start` and its length.
    private func parse() throws(EventStreamFailure) -> (EventStreamMessage, length: Int)? {
        let bytes = buffer.span.extracting(start..<buffer.count)
        guard bytes.count >= Self.preludeLength else { return nil }
        let total = Int(bytes.bigEndian32(at: 0))
        let headers = Int(bytes.bigEndian32(at: 4))
        guard CRC32.checksum(bytes.extracting(0..<8)) == bytes.bigEndian32(at: 8) else {
            throw .checksumMismatch
        }
        guard headers <= Self.headersLimit else { throw .headersTooLong }
        guard total >= 16, headers <= total - 16 else { throw .malformed }
        guard total - headers - 16 <= Self.payloadLimit else { throw .payloadTooLong }
        guard bytes.count >= total else { return nil }
        guard
            CRC32.checksum(bytes.extracting(0..<total - 4)) == bytes.bigEndian32(at: total - 4)
        else { throw .checksumMismatch }
        let message = EventStreamMessage(
            headers: try Self.headers(bytes.extracting(12..<12 + headers)),
            payload: bytes.extracting(12 + headers..<total - 4).array)
        return (message, total)
    }

    /// The stream has ended.
    /// - Throws: `truncated` when bytes of a message are left.
    public func end() throws(EventStreamFailure) {
        guard start == buffer.count else { throw .truncated }
    }

    private static func headers(
        _ bytes: Span<UInt8>
    ) throws(EventStreamFailure) -> [(name: [UInt8], value: EventStreamMessage.Value)] {
        var headers: [(name: [UInt8], value: EventStreamMessage.Value)] = []
        var at = 0
        while at < bytes.count {
            guard headers.count < Limits.eventStreamHeaders else { throw .headersTooLong }
            let nameEnd = at + 1 + Int(bytes[at])
            guard nameEnd < bytes.count else { throw .malformed }
            let name = bytes.extracting(at + 1..<nameEnd).array
            guard !headers.contains(where: { $0.name == name }) else { throw .duplicateHeader }
            let type = bytes[nameEnd]
            at = nameEnd + 1
            let value = try value(bytes, type: type, at: &at)
            headers.append((name, value))
        }
        return headers
    }

    private static func value(
        _ bytes: Span<UInt8>, type: UInt8, at: inout Int
    ) throws(EventStreamFailure) -> EventStreamMessage.Value {
        switch type {
        case 0: return .bool(true)
        case 1: return .bool(false)
        case 2: return .int8(Int8(truncatingIfNeeded: try integer(bytes, 1, &at)))
        case 3: return .int16(Int16(truncatingIfNeeded: try integer(bytes, 2, &at)))
        case 4: return .int32(Int32(truncatingIfNeeded: try integer(bytes, 4, &at)))
        case 5: return .int64(Int64(bitPattern: try integer(bytes, 8, &at)))
        case 6: return .bytes(try block(bytes, nil, &at))
        case 7: return .string(try block(bytes, nil, &at))
        case 8: return .timestamp(Int64(bitPattern: try integer(bytes, 8, &at)))
        case 9: return .uuid(try block(bytes, 16, &at))
        default: throw .malformed
        }
    }

    private static func integer(
        _ bytes: Span<UInt8>, _ width: Int, _ at: inout Int
    ) throws(EventStreamFailure) -> UInt64 {
        guard at + width <= bytes.count else { throw .malformed }
        var value: UInt64 = 0
        for index in at..<at + width { value = value << 8 | UInt64(bytes[index]) }
        at += width
        return value
    }

    /// A block of that length, or one that begins with its length in two bytes.
    private static func block(
        _ bytes: Span<UInt8>, _ fixedLength: Int?, _ at: inout Int
    ) throws(EventStreamFailure) -> [UInt8] {
        let length = if let fixedLength { fixedLength } else { Int(try integer(bytes, 2, &at)) }
        guard at + length <= bytes.count else { throw .malformed }
        defer { at += length }
        return bytes.extracting(at..<at + length).array
    }
}

extension Span where Element == UInt8 {
    /// Four bytes as a number; they must be there.
    fileprivate func bigEndian32(at index: Int) -> UInt32 {
        UInt32(self[index]) << 24 | UInt32(self[index + 1]) << 16 | UInt32(self[index + 2]) << 8
            | UInt32(self[index + 3])
    }
}
