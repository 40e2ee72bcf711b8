import Primitives

/// One message of AWS's event-stream encoding (bedrock-api.md section 3).
public struct EventStreamMessage: Sendable, Equatable {
    /// The value of a header, by its type on the wire.
    public enum Value: Sendable, Equatable {
        /// Types 0 and 1.
        case bool(Bool)
        /// Type 2.
        case int8(Int8)
        /// Type 3.
        case int16(Int16)
        /// Type 4.
        case int32(Int32)
        /// Type 5.
        case int64(Int64)
        /// Type 6.
        case bytes([UInt8])
        /// Type 7.
        case string([UInt8])
        /// Type 8: milliseconds since the Unix epoch.
        case timestamp(Int64)
        /// Type 9: 16 bytes.
        case uuid([UInt8])
    }

    /// The headers, in order; names differ.
    public var headers: [(name: [UInt8], value: Value)]
    /// The payload.
    public var payload: [UInt8]

    /// A message.
    public init(headers: [(name: [UInt8], value: Value)], payload: [UInt8]) {
        self.headers = headers
        self.payload = payload
    }

    /// The text of a string header; nil when there is none of that name.
    public func string(_ name: StaticString) -> [UInt8]? {
        for header in headers where header.name.span.equals(name) {
            if case .string(let text) = header.value { return text }
        }
        return nil
    }

    /// Messages are equal when headers, in order, and payload are.
    public static func == (left: EventStreamMessage, right: EventStreamMessage) -> Bool {
        left.payload == right.payload
            && left.headers.elementsEqual(right.headers) {
                $0.name == $1.name && $0.value == $1.value
            }
    }
}

/// Why an event stream cannot be read on. There is no way to find the next message.
public enum EventStreamFailure: String, Error, Sendable {
    /// A CRC-32 does not fit.
    case checksumMismatch = "checksum_mismatch"
    /// Two headers have one name.
    case duplicateHeader = "duplicate_header"
    /// More than 128 KiB of headers, or too many.
    case headersTooLong = "headers_too_long"
    /// More than 24 MiB of payload.
    case payloadTooLong = "payload_too_long"
    /// Lengths or headers make no sense.
    case malformed
    /// The stream ended within a message.
    case truncated
}
