import ArgumentParser
import Primitives
import Wire

/// `sluice key`: makes an API key.
struct Key: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a random API key and the line for the configuration.")

    @Option(help: "The tenant that the key is for.")
    var tenant: String?

    func run() {
        let random = SecureRandom.bytes(count: 32)
        let digits = Base64.encode(random.span).filter { $0 != UInt8(ascii: "=") }.map { byte in
            byte == UInt8(ascii: "+")
                ? UInt8(ascii: "-") : byte == UInt8(ascii: "/") ? UInt8(ascii: "_") : byte
        }
        let key = "sk-sluice-" + String(decoding: digits, as: UTF8.self)
        let digest = SHA256.digest(Array(key.utf8).span).hexadecimal
        Output.line(key)
        if let tenant { Output.line("# gateway.yaml, tenants: - name: \(tenant), under keys:") }
        Output.line("- {sha256: \"\(String(decoding: digest, as: UTF8.self))\"}")
    }
}
