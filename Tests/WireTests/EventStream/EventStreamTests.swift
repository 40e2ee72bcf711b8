import Foundation
import Primitives
import TestSupport
import Testing
import Wire

@Suite struct EventStreamTests {
    @Test(arguments: try Fixtures.vectors("eventstream").map(\.name))
    func `a vector of the framing is decoded`(_ name: String) throws {
        let vector = try #require(
            try Fixtures.vectors("eventstream").first { $0.name == name }?.object)
        let input = try #require(vector["input"] as? [String: Any])
        let expect = try #require(vector["expect"] as? [String: Any])
        let reads = (input["reads_base64"] as? [String] ?? []).map { base64($0) }
        let whole = reads.flatMap { $0 }
        let ways = [reads, [whole]] + (whole.count <= 2000 ? cuts(whole) : [whole.map { [$0] }])
        for pieces in ways {
            let (messages, failure) = decode(pieces)
            #expect(JSONSupport.same(messages.map(describe), expect["messages"]))
            #expect(failure?.rawValue == expect["error"] as? String)
        }
    }

    @Test func `what the encoder writes is what the decoder reads`() throws {
        var bytes: [UInt8] = []
        EventStreamEncoder.event("messageStart", payload: Array("{}".utf8), to: &bytes)
        EventStreamEncoder.exception("throttlingException", payload: [], to: &bytes)
        let (messages, failure) = decode([bytes])
        #expect(failure == nil)
        #expect(
            messages.map { $0.string(":message-type") } == [
                Array("event".utf8), Array("exception".utf8),
            ])
    }

    @Test func `a flipped bit anywhere is noticed`() throws {
        var bytes: [UInt8] = []
        EventStreamEncoder.event("contentBlockDelta", payload: Array("{\"a\":1}".utf8), to: &bytes)
        for index in bytes.indices {
            var damaged = bytes
            damaged[index] ^= 0x10
            let (messages, failure) = decode([damaged])
            #expect(messages.isEmpty)
            #expect(failure != nil)
        }
    }

    @Test func `a frame with a thousand headers is refused`() {
        var headers: [UInt8] = []
        for number in 0..<1_000 {
            headers += [2, UInt8(number >> 8), UInt8(number & 0xff), 0]
        }
        var frame: [UInt8] = []
        for number in [UInt32(headers.count + 16), UInt32(headers.count)] {
            frame += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) }
        }
        for part in [headers, []] {
            let checksum = CRC32.checksum(frame.span)
            frame += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: checksum >> $0) }
            frame += part
        }
        #expect(decode([frame]).1 == .headersTooLong)
    }

    private func decode(
        _ pieces: [[UInt8]]
    ) -> ([EventStreamMessage], EventStreamFailure?) {
        var decoder = EventStreamDecoder()
        var messages: [EventStreamMessage] = []
        do throws(EventStreamFailure) {
            for piece in pieces {
                decoder.receive(piece.span)
                while let message = try decoder.next() { messages.append(message) }
            }
            try decoder.end()
        } catch {
            return (messages, error)
        }
        return (messages, nil)
    }

    private func describe(_ message: EventStreamMessage) -> [String: Any] {
        [
            "headers": message.headers.map { header -> [String: Any] in
                let (type, value) = describe(header.value)
                return [
                    "name": String(decoding: header.name, as: UTF8.self), "type": type,
                    "value": value,
                ]
            },
            "payload_base64": Data(message.payload).base64EncodedString(),
        ]
    }

    private func describe(_ value: EventStreamMessage.Value) -> (String, Any) {
        switch value {
        case .bool(let value): (value ? "bool_true" : "bool_false", value)
        case .int8(let value): ("byte", Int(value))
        case .int16(let value): ("int16", Int(value))
        case .int32(let value): ("int32", Int(value))
        case .int64(let value): ("int64", value)
        case .bytes(let bytes): ("bytes", Data(bytes).base64EncodedString())
        case .string(let text): ("string", String(decoding: text, as: UTF8.self))
        case .timestamp(let value): ("timestamp_ms", value)
        case .uuid(let bytes): ("uuid", uuid(bytes))
        }
    }

    private func uuid(_ bytes: [UInt8]) -> String {
        let digits = bytes.map { String(format: "%02x", $0) }.joined()
        let parts = [0..<8, 8..<12, 12..<16, 16..<20, 20..<32].map { range in
            String(Array(digits)[range])
        }
        return parts.joined(separator: "-")
    }
}
