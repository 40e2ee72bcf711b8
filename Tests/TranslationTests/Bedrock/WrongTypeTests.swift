import Testing
import Wire

@testable import Translation

/// Puts a value of another type in the place of every single value: nothing may trap, what is sent
/// stays JSON, and a stream that lost its stop is not called done.
@Suite struct WrongTypeTests {
    private static let strangers = [
        "null", "true", "-1", "9223372036854775807", "1e400", #""""#, #""\ud83d\ude00\u0000""#,
        "[]", "[[7]]", "{}", #"{"type":7}"#,
    ]

    @Test(arguments: try Vector.all("converse"))
    func `a request with a stranger in it is refused or translated`(_ vector: Vector) throws {
        let target = TargetOptions(
            vector: try #require(vector.input["target"]), profile: vector.input["profile"])
        for body in variants(of: try #require(vector.input["request"])) {
            do {
                let call = try BedrockTarget.chat(body, target)
                #expect((try? JSONDocument(call.requests[0].body)) != nil)
            } catch let error as APIError {
                #expect(error.status == 400)
                #expect(error.origin == .client)
            }
        }
    }

    @Test(arguments: try Vector.all("converse-response"))
    func `an answer with a stranger in it is malformed or passed on`(_ vector: Vector) throws {
        let target = TargetOptions(vector: try #require(vector.input["target"]))
        let request = try #require(vector.input["request"]).source
        for body in variants(of: try #require(vector.input["response"])) {
            let call = try BedrockTarget.chat(request, target)
            do {
                let result = try call.finish([BedrockTarget.answer(body)])
                #expect((try? JSONDocument(result.body)) != nil)
            } catch {
                #expect(error.status == 502)
            }
        }
    }

    @Test(arguments: try Vector.all("converse-stream"))
    func `events with a stranger in them make chunks or an error`(_ vector: Vector) throws {
        let target = TargetOptions(vector: try #require(vector.input["target"]))
        let request = try #require(vector.input["request"]).source
        for events in variants(of: try #require(vector.input["events"])) {
            let document = try JSONDocument(events)
            let run = StreamRun(
                try BedrockTarget.chat(request, target), StreamRun.frames(document.root))
            #expect(run.isFinished != (run.error != nil))
            #expect(run.chunks.allSatisfy { (try? JSONDocument($0)) != nil })
        }
    }

    /// The text of a value with each of its inner values replaced by each stranger.
    private func variants(of value: JSONValue) -> [[UInt8]] {
        let source = value.source
        let offset = value.range.lowerBound
        return inner(value).flatMap { range in
            Self.strangers.map { stranger in
                source[..<(range.lowerBound - offset)] + Array(stranger.utf8)
                    + source[(range.upperBound - offset)...]
            }
        }
    }

    private func inner(_ value: JSONValue) -> [Range<Int>] {
        let children = value.members.map { $0.value } + Array(value.elements)
        return children.flatMap { [$0.range] + inner($0) }
    }
}
