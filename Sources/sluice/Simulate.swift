import ArgumentParser
import Runtime
import Simulator

/// `sluice simulate`: an upstream for trying things out and for tests.
struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a simulated backend that speaks OpenAI/vLLM and Bedrock.",
        discussion: "The same seed and requests give the same answers.")

    @Option(help: "Where to listen.")
    var address = "127.0.0.1:9100"

    @Option(help: "Silence before an answer, in milliseconds.")
    var ttftMs = 0

    @Option(help: "Silence between two chunks, in milliseconds.")
    var chunkMs = 0

    @Option(help: "How many words an answer has.")
    var chunks = 12

    @Option(help: "The share of requests that fail, from 0 to 1.")
    var fail = 0.0

    @Option(help: "What is said, and which requests fail.")
    var seed: UInt64 = 1

    @Option(help: "The length of embedding vectors.")
    var embeddingDimensions = 8

    @Option(help: "Check Bedrock requests' SigV4 signatures: the access key id.")
    var accessKeyId: String?

    @Option(help: "Its secret access key.")
    var secretAccessKey: String?

    @Option(help: "The bearer key that OpenAI requests must have.")
    var apiKey: String?

    func validate() throws {
        guard (0...1).contains(fail) else { throw ValidationError("--fail takes 0 to 1.") }
        guard chunks > 0, ttftMs >= 0, chunkMs >= 0, (1...4096).contains(embeddingDimensions) else {
            throw ValidationError(
                "--chunks and --embedding-dimensions take 1 or more, times 0 or more.")
        }
        guard (accessKeyId == nil) == (secretAccessKey == nil) else {
            throw ValidationError("--access-key-id and --secret-access-key go together.")
        }
    }

    func run() throws {
        var options = SimulatorOptions()
        options.firstTokenMilliseconds = ttftMs
        options.chunkMilliseconds = chunkMs
        options.chunkCount = chunks
        options.failureRate = fail
        options.seed = seed
        options.embeddingDimensions = embeddingDimensions
        options.accessKeyID = accessKeyId
        options.secretAccessKey = secretAccessKey
        options.apiKey = apiKey
        guard let colon = address.lastIndex(of: ":"),
            let port = UInt16(address[address.index(after: colon)...]),
            let socket = SocketAddress(literal: String(address[..<colon]), port: port)
        else { throw ValidationError("--address takes such as 127.0.0.1:9100.") }
        do throws(KernelFailure) {
            let server = SimulatorServer(options: options, address: socket)
            try server.run { Output.error("simulating backends on http://\(socket)") }
        } catch {
            throw CommandFailure.runFailed("cannot listen on \(socket): \(error.reason)")
        }
    }
}
