import Primitives

/// Writes event-stream messages: the simulator speaks Bedrock with it.
public enum EventStreamEncoder {
    /// Appends an event with a JSON payload, as Bedrock frames it.
    public static func event(_ type: String, payload: [UInt8], to bytes: inout [UInt8]) {
        append(
            [
                (":event-type", type), (":content-type", "application/json"),
                (":message-type", "event"),
            ], payload, to: &bytes)
    }

    /// Appends an exception, which ends the stream.
    public static func exception(_ type: String, payload: [UInt8], to bytes: inout [UInt8]) {
        append(
            [
                (":exception-type", type), (":content-type", "application/json"),
                (":message-type", "exception"),
            ], payload, to: &bytes)
    }

    private static func append(
        _ headers: [(name: String, value: String)], _ payload: [UInt8], to bytes: inout [UInt8]
    ) {
        var block: [UInt8] = []
        for header in headers {
            block.append(UInt8(truncatingIfNeeded: header.name.utf8.count))
            block.append(utf8: header.name)
            block.append(7)
            block.append(UInt8(truncatingIfNeeded: header.value.utf8.count >> 8))
            block.append(UInt8(truncatingIfNeeded: header.value.utf8.count))
            block.append(utf8: header.value)
        }
        let start = bytes.count
        append(UInt32(block.count + payload.count + 16), to: &bytes)
        append(UInt32(block.count), to: &bytes)
        append(CRC32.checksum(bytes.span.extracting(start..<start + 8)), to: &bytes)
        bytes.append(contentsOf: block)
        bytes.append(contentsOf: payload)
        append(CRC32.checksum(bytes.span.extracting(start..<bytes.count)), to: &bytes)
    }

    private static func append(_ number: UInt32, to bytes: inout [UInt8]) {
        for shift in stride(from: 24, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: number >> UInt32(shift)))
        }
    }
}
