import Foundation
import Testing
import Wire

@testable import Translation

@Suite struct ConverseStreamVectorTests {
    @Test(arguments: try Vector.all("converse-stream"))
    func `events become chunks`(_ vector: Vector) throws {
        let run = try play(vector, StreamRun.frames(try #require(vector.input["events"])))
        let chunks = try #require(vector.expect["chunks"])
        try check(run, chunks: Array(chunks.elements), terminal: vector.expect["terminal"])
    }

    @Test(arguments: try Vector.all("converse-stream"))
    func `events may be cut at every byte`(_ vector: Vector) throws {
        let bytes = StreamRun.frames(try #require(vector.input["events"])).flatMap { $0 }
        let whole = try play(vector, [bytes])
        for cut in 1..<bytes.count {
            let run = try play(vector, [Array(bytes[..<cut]), Array(bytes[cut...])])
            #expect(run.data == whole.data, "cut at \(cut)")
            #expect(run.output.state == whole.output.state)
            #expect(run.output.usage == whole.output.usage)
        }
        let trickle = try play(vector, bytes.map { [$0] })
        #expect(trickle.data == whole.data)
    }

    @Test(arguments: try Vector.all("converse-stream"))
    func `a stream that ends early is never called done`(_ vector: Vector) throws {
        let frames = StreamRun.frames(try #require(vector.input["events"]))
        let stop = Array(vector.input["events"]?.elements ?? vector.input.elements)
            .firstIndex { $0["messageStop"] != nil }
        let bytes = frames.prefix(stop.map { $0 + 1 } ?? frames.count).flatMap { $0 }
        for end in 0..<bytes.count {
            let run = try play(vector, [Array(bytes[..<end])])
            #expect(run.error != nil, "ended after \(end)")
            #expect(run.output.hasBegun == !run.data.isEmpty)
        }
    }

    @Test(arguments: try Vector.all("converse-wire"))
    func `frames as the service sends them become lines of data`(_ vector: Vector) throws {
        let reads = try #require(vector.input["reads_base64"]).elements.map {
            [UInt8](Data(base64Encoded: $0.string ?? "") ?? Data())
        }
        let expected = Array(try #require(vector.expect["sse_data"]).elements)
        let run = try play(vector, reads)
        try check(run, chunks: expected.dropLast(), terminal: expected.last)

        let bytes = reads.flatMap { $0 }
        for cut in 1..<bytes.count {
            let again = try play(vector, [Array(bytes[..<cut]), Array(bytes[cut...])])
            #expect(again.data == run.data, "cut at \(cut)")
        }
    }

    private func play(_ vector: Vector, _ pieces: [[UInt8]]) throws -> StreamRun {
        let request = try #require(vector.input["request"])
        let target = TargetOptions(vector: try #require(vector.input["target"]))
        return StreamRun(try BedrockTarget.chat(request.source, target), pieces)
    }

    private func check(_ run: StreamRun, chunks: [JSONValue], terminal: JSONValue?) throws {
        try #require(run.chunks.count == chunks.count)
        for (chunk, expected) in zip(run.chunks, chunks) {
            #expect(JSONComparing.differences(chunk, expected) == [])
        }
        guard let error = terminal?["error"] else {
            #expect(run.isFinished)
            return
        }
        #expect(run.error?.message == error["message"]?.string)
        #expect(run.error?.type == error["type"]?.string)
        #expect(run.error?.code == error["code"]?.string)
        #expect(run.error?.param == error["param"]?.string)
    }
}
