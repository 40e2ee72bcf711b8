import Foundation
import Primitives
import TestSupport
import Testing
import Wire

@testable import Translation

@Suite struct ConverseVectorTests {
    @Test(arguments: try Fixtures.vectors("profiles").map(\.name))
    func `a model id has its profile`(_ name: String) throws {
        let vector = try Vector("profiles", name)
        let profile = ModelProfile(modelID: try #require(vector.input["model_id"] as? String))
        let expected = try #require(vector.expect["profile"] as? [String: Any])
        #expect(profile.family.rawValue == expected["family"] as? String)
        #expect(profile.reasoning.rawValue == expected["reasoning"] as? String)
        #expect(profile.hasSampling == expected["sampling"] as? Bool)
        #expect(profile.isTemperatureExclusive == expected["exclusive_temp_top_p"] as? Bool)
        #expect(profile.cachePoints.rawValue == expected["cache_points"] as? String)
        #expect(profile.jsonSchema.rawValue == expected["json_schema"] as? String)
        #expect(profile.hasNamedToolChoice == expected["named_tool_choice"] as? Bool)
        #expect(profile.hasMixedToolResultTurn == expected["mixed_tool_result_turn"] as? Bool)
    }

    @Test(arguments: try Fixtures.vectors("converse").map(\.name))
    func `a chat request becomes its Converse request`(_ name: String) throws {
        let vector = try Vector("converse", name)
        do {
            let call = try vector.openChat()
            let request = try #require(call.requests.first)
            #expect(vector.expect["error"] == nil)
            #expect(
                String(decoding: request.path, as: UTF8.self) == vector.expect["path"] as? String)
            #expect(JSONSupport.same(JSONSupport.parse(request.body), vector.expect["body"]))
            let dropped = vector.expect["dropped"] as? [String] ?? []
            #expect(Set(call.droppedParameters) == Set(dropped))
        } catch let error as APIError {
            let expected = try #require(vector.expect["error"] as? [String: Any], "\(error)")
            #expect(error.status == expected["status"] as? Int)
            #expect(error.type == expected["type"] as? String)
            #expect(error.code == expected["code"] as? String)
            #expect(error.param == expected["param"] as? String)
        }
    }

    @Test(arguments: try Fixtures.vectors("converse-response").map(\.name))
    func `a Converse answer becomes its chat completion`(_ name: String) throws {
        let vector = try Vector("converse-response", name)
        let call = try vector.openChat()
        var head = ResponseHead()
        head.status = 200
        let answer = UpstreamAnswer(head: head, body: JSONSupport.text(vector.input["response"]))
        do {
            let result = try call.finish([answer])
            #expect(JSONSupport.same(JSONSupport.parse(result.body), vector.expect["response"]))
        } catch {
            let expected = try #require(vector.expect["error"] as? [String: Any], "\(error)")
            #expect(error.status == expected["status"] as? Int)
            #expect(error.code == expected["code"] as? String)
        }
    }

    @Test(arguments: try Fixtures.vectors("converse-stream").map(\.name))
    func `the events of a stream become their chunks, however they are cut`(_ name: String) throws {
        let vector = try Vector("converse-stream", name)
        let frames = vector.frames()
        for pieces in cuts(frames.count < 4000 ? frames : Array(frames)) {
            let (values, failure) = try vector.play(pieces)
            var expected = vector.expect["chunks"] as? [Any] ?? []
            if let terminal = vector.expect["terminal"] as? String { expected.append(terminal) }
            #expect(JSONSupport.same(values, expected))
            check(failure, vector.expect["terminal"])
        }
    }

    @Test(arguments: try Fixtures.vectors("converse-wire").map(\.name))
    func `socket reads of a stream become their data lines`(_ name: String) throws {
        let vector = try Vector("converse-wire", name)
        let reads = (vector.input["reads_base64"] as? [String] ?? []).map { base64($0) }
        var expected = vector.expect["sse_data"] as? [Any] ?? []
        let terminal = expected.last
        if terminal as? String == nil { expected.removeLast() }
        let whole = reads.flatMap { $0 }
        for pieces in [reads, [whole], whole.map { [$0] }] {
            let (values, failure) = try vector.play(pieces)
            #expect(JSONSupport.same(values, expected))
            check(failure, terminal)
        }
    }

    @Test(arguments: try Fixtures.vectors("errors").map(\.name))
    func `an error of Bedrock becomes its error`(_ name: String) throws {
        let vector = try Vector("errors", name)
        var head = ResponseHead()
        head.status = try #require(vector.input["status"] as? Int)
        for (name, value) in vector.input["headers"] as? [String: String] ?? [:] {
            head.fields.append(name: name, value: Array(value.utf8))
        }
        let body = Array((vector.input["body"] as? String ?? "").utf8)
        let error = BedrockErrors.classify(UpstreamAnswer(head: head, body: body))
        #expect(error.status == vector.expect["status"] as? Int)
        let envelope = try #require(
            (vector.expect["body"] as? [String: Any])?["error"] as? [String: Any])
        #expect(error.message == envelope["message"] as? String)
        #expect(error.type == envelope["type"] as? String)
        #expect(error.code == envelope["code"] as? String)
        #expect(error.param == envelope["param"] as? String)
        let headers = vector.expect["headers"] as? [String: String] ?? [:]
        #expect(error.retryAfterSeconds.map(String.init) == headers["retry-after"])
        #expect(error.shouldRetry.map { "\($0)" } == headers["x-should-retry"])
    }

    @Test(arguments: try Fixtures.vectors("embeddings").map(\.name))
    func `embeddings go through InvokeModel`(_ name: String) throws {
        let vector = try Vector("embeddings", name)
        var target = TargetOptions()
        target.model = vector.input["model_id"] as? String
        do {
            let call = try BedrockEmbeddingsCall(try vector.clientRequest(.embeddings), target)
            let bodies = call.requests.map { JSONSupport.parse($0.body) ?? NSNull() }
            #expect(JSONSupport.same(bodies, vector.expect["invoke_bodies"]))
            #expect(
                call.requests.first.map { String(decoding: $0.path, as: UTF8.self) }
                    == vector.expect["path"] as? String)
            let answers = (vector.input["answers"] as? [[String: Any]] ?? []).map { answer in
                var head = ResponseHead()
                head.status = 200
                for (name, value) in answer["headers"] as? [String: String] ?? [:] {
                    head.fields.append(name: name, value: Array(value.utf8))
                }
                return UpstreamAnswer(head: head, body: JSONSupport.text(answer["body"]))
            }
            let result = try call.finish(answers)
            #expect(JSONSupport.same(JSONSupport.parse(result.body), vector.expect["response"]))
        } catch let error as APIError {
            let expected = try #require(vector.expect["error"] as? [String: Any], "\(error)")
            #expect(error.status == expected["status"] as? Int)
            #expect(error.code == expected["code"] as? String)
            #expect(error.param == expected["param"] as? String)
        }
    }

    private func check(_ failure: APIError?, _ terminal: Any?) {
        guard let envelope = (terminal as? [String: Any])?["error"] as? [String: Any] else {
            #expect(failure == nil)
            return
        }
        #expect(failure?.message == envelope["message"] as? String)
        #expect(failure?.type == envelope["type"] as? String)
        #expect(failure?.code == envelope["code"] as? String)
    }
}

/// One vector of the translation.
struct Vector {
    let input: [String: Any]
    let expect: [String: Any]

    init(_ group: String, _ name: String) throws {
        let object = try #require(try Fixtures.vectors(group).first { $0.name == name }?.object)
        input = try #require(object["input"] as? [String: Any])
        expect = try #require(object["expect"] as? [String: Any])
    }

    /// The call, or what the client is told instead.
    func openChat() throws(APIError) -> BedrockChatCall {
        guard let request = try? clientRequest(.chatCompletions) else {
            // What the summary refuses, the translation's own checks refuse alike.
            throw try rejection()
        }
        return try BedrockChatCall(request, target)
    }

    private func rejection() throws(APIError) -> APIError {
        guard let document = try? JSONDocument(JSONSupport.text(input["request"])) else {
            return .badRequest("invalid_json", param: nil, "")
        }
        let profile = ModelProfile(modelID: "")
        _ = try ChatCompletionsReader(profile: profile, target: target).read(document.root)
        return .badRequest("accepted", param: nil, "")
    }

    func clientRequest(_ endpoint: Endpoint) throws -> ClientRequest {
        let body = JSONSupport.text(input["request"])
        var tape = JSONTape()
        let summary = try RequestSummaryReader.read(body.span, tape: &tape, endpoint: endpoint)
        let id = (input["id"] as? String ?? "chatcmpl-TEST").dropFirst("chatcmpl-".count)
        return ClientRequest(
            endpoint: endpoint, body: body, summary: summary, uniqueID: Array(id.utf8),
            createdSeconds: Int64(input["created"] as? Int ?? 1_700_000_000),
            forwardedFields: HeaderFields())
    }

    private var target: TargetOptions {
        let given = input["target"] as? [String: Any] ?? [:]
        var options = TargetOptions()
        options.model = given["model_id"] as? String
        options.isStrict = given["policy"] as? String == "strict"
        options.allowsS3 = given["allow_s3"] as? Bool ?? false
        options.forwardsMetadata = given["forward_metadata"] as? Bool ?? false
        if let guardrail = given["guardrail"] as? [String: String] {
            options.guardrail = TargetOptions.Guardrail(
                identifier: guardrail["guardrailIdentifier"] ?? "",
                version: guardrail["guardrailVersion"] ?? "", trace: guardrail["trace"],
                streamProcessingMode: guardrail["streamProcessingMode"])
        }
        return options
    }

    /// The events as event-stream frames.
    func frames() -> [UInt8] {
        var bytes: [UInt8] = []
        for event in input["events"] as? [[String: Any]] ?? [] {
            for (name, payload) in event {
                let body = JSONSupport.text(payload)
                if name.hasSuffix("Exception") {
                    EventStreamEncoder.exception(name, payload: body, to: &bytes)
                } else {
                    EventStreamEncoder.event(name, payload: body, to: &bytes)
                }
            }
        }
        return bytes
    }

    /// The data lines that the client gets, and how the stream failed, if it did.
    func play(_ pieces: [[UInt8]]) throws -> ([Any], APIError?) {
        let call = try openChat()
        var output = StreamOutput()
        for piece in pieces { call.receive(piece.span, into: &output) }
        call.end(into: &output)
        var values: [Any] = []
        var parser = SSEParser()
        parser.receive(output.bytes.span)
        while try parser.next() {
            let text = String(decoding: parser.data, as: UTF8.self)
            values.append(JSONSupport.parse(parser.data) ?? text)
        }
        if case .failed(let error) = output.state { return (values, error) }
        return (values, nil)
    }
}
