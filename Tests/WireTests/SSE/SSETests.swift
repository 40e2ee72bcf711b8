import Foundation
import Primitives
import TestSupport
import Testing
import Wire

@Suite struct SSETests {
    @Test(arguments: try Fixtures.vectors("sse").map(\.name))
    func `a vector of server-sent events is read`(_ name: String) throws {
        let vector = try #require(try Fixtures.vectors("sse").first { $0.name == name }?.object)
        let input = try #require(vector["input"] as? [String: Any])
        let expect = try #require(vector["expect"] as? [String: Any])
        let reads = (input["reads_base64"] as? [String] ?? []).map { base64($0) }
        for pieces in [reads] + cuts(reads.flatMap { $0 }) {
            #expect(JSONSupport.same(events(pieces), expect["events"]))
        }
    }

    @Test func `raw events put together are the stream, however it is cut`() throws {
        let stream = Array(
            ": hi\r\n\r\ndata: a\r\rdata: b\n\nevent: x\ndata: c\ndata: d\r\n\r\n".utf8)
        for pieces in cuts(stream) {
            var parser = SSEParser()
            var copy: [UInt8] = []
            for piece in pieces {
                parser.receive(piece.span)
                while try parser.next() { copy.append(span: parser.raw()) }
            }
            // A LF that belongs to the last CR may still wait for the next event.
            #expect(copy == stream || copy + [0x0a] == stream)
        }
    }

    @Test func `a line feed far behind carriage returns ends its own line`() {
        let stream = Array("data: a\rdata: b\r\rdata: c\r\r\ndata: d\n\n".utf8)
        let whole = events([stream])
        #expect(whole.compactMap { $0["data"] as? String } == ["a\nb", "c", "d"])
        for pieces in cuts(stream) { #expect(JSONSupport.same(events(pieces), whole)) }
    }

    private func events(_ pieces: [[UInt8]]) -> [[String: Any]] {
        var parser = SSEParser()
        var events: [[String: Any]] = []
        for piece in pieces {
            parser.receive(piece.span)
            while (try? parser.next()) == true {
                guard parser.hasData else { continue }
                let name = String(decoding: parser.name, as: UTF8.self)
                events.append([
                    "event": name.isEmpty ? NSNull() : name,
                    "data": String(decoding: parser.data, as: UTF8.self),
                ])
            }
        }
        return events
    }
}
