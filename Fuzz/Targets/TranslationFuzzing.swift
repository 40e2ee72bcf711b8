import Gateway
import Primitives
import Translation
import Wire

/// Both dialects' readers: clients' requests on their way to a backend, answers on their way back.
enum TranslationFuzzing {
    private static let models = [
        "anthropic.claude-sonnet-4-5-20250929-v1:0", "us.amazon.nova-pro-v1:0",
        "meta.llama3-3-70b-instruct-v1:0", "openai.gpt-oss-120b-1:0", "mistral.mistral-large",
        "anthropic.claude-opus-4-7-v1:0", "cohere.command-r-plus-v1:0",
    ]
    private static let embeddingModels = [
        "amazon.titan-embed-text-v1", "amazon.titan-embed-text-v2:0", "cohere.embed-english-v3",
        "cohere.embed-v4:0", "amazon.nova-2-multimodal-embeddings-v1:0",
    ]

    // MARK: - Requests

    /// The body of a chat request, for every kind of backend.
    static func chatRequest(_ bytes: [UInt8]) {
        guard let request = read(bytes, .chatCompletions) else { return }
        var choices = Choices(bytes)
        for provider in ProviderCatalogue.all {
            var target = TargetOptions()
            target.model = models[choices.next(below: models.count)]
            target.isStrict = choices.next(below: 4) == 0
            target.allowsS3 = choices.next(below: 2) == 0
            target.forwardsMetadata = choices.next(below: 2) == 0
            target.fetchesImages = choices.next(below: 2) == 0
            target.isLegacyDialect = choices.next(below: 2) == 0
            check(provider, request, target)
        }
    }

    /// The body of an embeddings request, for every kind of backend.
    static func embeddings(_ bytes: [UInt8]) {
        guard let request = read(bytes, .embeddings) else { return }
        var choices = Choices(bytes)
        for provider in ProviderCatalogue.all {
            var target = TargetOptions()
            target.model = embeddingModels[choices.next(below: embeddingModels.count)]
            check(provider, request, target)
        }
    }

    private static func read(_ bytes: [UInt8], _ endpoint: Endpoint) -> ClientRequest? {
        var tape = JSONTape()
        do throws(APIError) {
            let summary = try RequestSummaryReader.read(
                bytes.span, tape: &tape, endpoint: endpoint)
            precondition(!summary.model.isEmpty, "a request without a model")
            precondition(bytes.indices.contains(summary.modelRange.lowerBound), "a lost model")
            return ClientRequest(
                endpoint: endpoint, body: bytes, summary: summary,
                uniqueID: "0123456789abcdef01234567", requestID: "", createdSeconds: 1_700_000_000,
                traceFields: HeaderFields())
        } catch {
            precondition(error.status == 400, "a refusal that is no 400")
            return nil
        }
    }

    private static func check(
        _ provider: Provider, _ request: ClientRequest, _ target: TargetOptions
    ) {
        do throws(APIError) {
            let call = try provider.open(request, target)
            guard call.missingImages.isEmpty else { return }
            precondition(call.requestCount > 0, "a call without a request")
            for index in 0..<call.requestCount {
                let request = call.request(index)
                precondition((try? JSONDocument(request.body)) != nil, "we send what is no JSON")
                precondition(request.path.first == UInt8(ascii: "/"), "we send a wrong path")
                precondition(
                    request.path.allSatisfy { $0 > 0x20 && $0 < 0x7f }, "we send a wrong path")
                HTTP1Fuzzing.checkFields(request.fields)
            }
        } catch {
            precondition((400..<600).contains(error.status), "a refusal without a status")
        }
    }

    // MARK: - Whole answers

    /// The body of a Converse answer, or of an error; the first byte chooses the status.
    static func converseAnswer(_ bytes: [UInt8]) { answer(bytes, "bedrock") }

    /// The body of an OpenAI-shaped answer, or of an error; the first byte chooses the status.
    static func openAIAnswer(_ bytes: [UInt8]) {
        answer(bytes, "openai")
        answer(bytes, "vllm")
    }

    private static func answer(_ bytes: [UInt8], _ kind: String) {
        let statuses = [200, 200, 200, 200, 301, 400, 401, 403, 404, 408, 424, 429, 500, 503, 599]
        var head = ResponseHead()
        head.status = statuses[Int(bytes.first ?? 0) % statuses.count]
        let body = Array(bytes.dropFirst())
        head.fields.append("content-type", "text/plain")
        head.fields.append("retry-after", Array(body.prefix(20)).filter { $0 >= 0x20 })
        var choices = Choices(bytes)
        let call = call(kind, isStreamed: false, wish: choices.next(below: 3))
        let answer = UpstreamAnswer(head: head, body: body)
        var tape = JSONTape()
        do throws(APIError) {
            guard head.status < 300 else { throw call.classify(answer) }
            let result = try call.finish([answer], tape: &tape)
            precondition((try? JSONDocument(result.body)) != nil, "we answer what is no JSON")
            HTTP1Fuzzing.checkFields(result.fields)
            if let usage = result.usage { check(usage) }
        } catch {
            check(error)
        }
    }

    private static func check(_ error: APIError) {
        precondition((400..<600).contains(error.status), "an error without a status")
        precondition((error.retryAfterSeconds ?? 0) >= 0, "a wait of less than nothing")
        if let body = error.verbatimBody {
            precondition((try? JSONDocument(body)) != nil, "we answer what is no JSON")
        }
    }

    /// Tokens that a backend claims can be added up and paid for.
    private static func check(_ usage: TokenUsage) {
        let counts = [
            usage.input, usage.output, usage.cacheRead, usage.cacheWrite, usage.cacheWriteOneHour,
            usage.reasoning, usage.audioInput, usage.audioOutput,
        ]
        precondition(counts.allSatisfy { $0 >= 0 }, "fewer tokens than none")
        // What accounts and metrics do with them over many requests must not overflow.
        precondition(counts.allSatisfy { $0 <= 1 << 40 }, "more tokens than can be added up")
        precondition(price.cost(of: usage, serviceTier: nil) >= 0, "money that is given back")
    }

    private static let price: Price = {
        var figures = Price.Figures()
        figures.input = 15_000
        figures.output = 75_000
        return Price(id: "fuzz", base: figures)
    }()

    // MARK: - Streams

    /// A ConverseStream answer: the bytes as they are, and the lines of the bytes as the payloads
    /// of events.
    static func converseStream(_ bytes: [UInt8]) {
        compareStreams(bytes, "bedrock")
        let names = [
            "messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop",
            "messageStop", "metadata",
        ]
        var framed: [UInt8] = []
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            // The first byte of a line is the event: `0` is messageStart.
            let number = Int(line.first ?? 0) - 0x30
            let payload = Array(line.dropFirst())
            if names.indices.contains(number) {
                EventStreamEncoder.event(names[number], payload: payload, to: &framed)
            } else {
                EventStreamEncoder.exception("throttlingException", payload: payload, to: &framed)
            }
        }
        compareStreams(framed, "bedrock")
    }

    /// A stream of an OpenAI-shaped backend.
    static func openAIStream(_ bytes: [UInt8]) {
        compareStreams(bytes, "openai")
        compareStreams(bytes, "vllm")
    }

    private static func compareStreams(_ bytes: [UInt8], _ kind: String) {
        var choices = Choices(bytes)
        let pieces = choices.pieces(bytes)
        let wish = choices.next(below: 3)
        let (text, state) = play(call(kind, isStreamed: true, wish: wish), [bytes])
        let (other, otherState) = play(call(kind, isStreamed: true, wish: wish), pieces)
        precondition(state == otherState, "a stream ends elsewhere when cut")
        precondition(kind != "bedrock" || text == other, "a stream says something else when cut")
        precondition(text.count <= 4_096 + bytes.count * 200, "an answer that swells")
    }

    private static func play(
        _ call: any BackendCall, _ pieces: [[UInt8]]
    ) -> ([UInt8], StreamOutput.State) {
        var output = StreamOutput()
        var text: [UInt8] = []
        var head = ResponseHead()
        head.status = 200
        head.fields.append("content-type", "text/event-stream")
        call.begin(head, into: &output)
        for piece in pieces {
            call.receive(piece.span, into: &output)
            text += output.bytes
            output.bytes = []
        }
        call.end(into: &output)
        text += output.bytes
        if let usage = output.usage { check(usage) }
        precondition(output.outputBytes >= 0, "less output than none")
        HTTP1Fuzzing.checkFields(output.fields)
        if case .failed(let error) = output.state { check(error) }
        return (text, output.state)
    }

    // MARK: - Calls

    private typealias Opening = (request: ClientRequest, target: TargetOptions)

    /// Requests with different wishes; reading them for each input would take all the time.
    private static let whole = openings(isStreamed: false)
    private static let streamed = openings(isStreamed: true)

    private static func call(
        _ kind: String, isStreamed: Bool, wish: Int
    ) -> any BackendCall {
        let opening = (isStreamed ? streamed : whole)[wish]
        guard let provider = ProviderCatalogue.provider(kind: kind),
            let call = try? provider.open(opening.request, opening.target)
        else { preconditionFailure("the fixed request is refused") }
        return call
    }

    private static func openings(isStreamed: Bool) -> [Opening] {
        let wishes = [
            "",
            #","tools":[{"type":"function","#
                + #""function":{"name":"f.g","parameters":{"type":"object"}}}]"#,
            #","response_format":{"type":"json_schema","json_schema":{"name":"s","schema":"#
                + #"{"type":"object"}}}"#,
        ]
        return wishes.enumerated().map { index, wish in
            let stream =
                isStreamed ? #","stream":true,"stream_options":{"include_usage":true}"# : ""
            let body =
                #"{"model":"m","messages":[{"role":"user","content":"a"}]"#
                + (index == 1 ? stream : isStreamed ? #","stream":true"# : "") + wish + "}"
            guard let request = read(Array(body.utf8), .chatCompletions) else {
                preconditionFailure("the fixed request is refused")
            }
            var target = TargetOptions()
            target.model = models[0]
            target.rewritesModel = index == 1
            return (request, target)
        }
    }
}
