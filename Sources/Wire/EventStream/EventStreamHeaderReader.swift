import Primitives

/// Goes through the headers of an event-stream message where they lie. They are few: looking for
/// one costs less than keeping a list of them.
struct EventStreamHeaderReader {
    /// Where a header lies.
    struct Header {
        let name: Range<Int>
        /// What the value is, as on the wire.
        let type: UInt8
        let value: Range<Int>
    }

    private var at: Int
    private let end: Int

    init(_ range: Range<Int>) {
        at = range.lowerBound
        end = range.upperBound
    }

    /// The next header; nil behind the last one.
    @inline(__always)
    mutating func next(_ bytes: Span<UInt8>) throws(EventStreamFailure) -> Header? {
        guard at < end else { return nil }
        let name = at + 1..<at + 1 + Int(bytes[at])
        guard name.upperBound < end else { throw .malformed }
        let type = bytes[name.upperBound]
        at = name.upperBound + 1
        let length = try valueLength(bytes, type)
        guard length <= end - at else { throw .malformed }
        defer { at += length }
        return Header(name: name, type: type, value: at..<at + length)
    }

    /// How many bytes a value of that type takes. Where they say so themselves, `at` moves behind
    /// that.
    @inline(__always)
    private mutating func valueLength(
        _ bytes: Span<UInt8>, _ type: UInt8
    ) throws(EventStreamFailure) -> Int {
        // Nearly all are strings.
        if type == 6 || type == 7 {
            guard end - at >= 2 else { throw .malformed }
            at += 2
            return Int(bytes[at - 2]) << 8 | Int(bytes[at - 1])
        }
        switch type {
        case 0, 1: return 0
        case 2: return 1
        case 3: return 2
        case 4: return 4
        case 5, 8: return 8
        case 9: return 16
        default: throw .malformed
        }
    }
}

extension EventStreamHeaderReader.Header {
    /// The value as what its type says.
    func copy(of bytes: Span<UInt8>) -> EventStreamMessage.Value {
        let value = bytes.extracting(value)
        return switch type {
        case 0: .bool(true)
        case 1: .bool(false)
        case 2: .int8(Int8(truncatingIfNeeded: Self.integer(value)))
        case 3: .int16(Int16(truncatingIfNeeded: Self.integer(value)))
        case 4: .int32(Int32(truncatingIfNeeded: Self.integer(value)))
        case 5: .int64(Self.integer(value))
        case 7: .string(value.array)
        case 8: .timestamp(Self.integer(value))
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
