public import Primitives

/// Turns a `SecretSource` into the secret, by doors to the environment and to files.
public struct SecretResolver: Sendable {
    /// Why a secret cannot be had; never its text.
    public struct Failure: Error, Sendable {
        /// For people.
        public let message: String
    }

    private let environment: @Sendable (String) -> String?
    private let readFile: @Sendable (String) -> [UInt8]?

    /// A resolver over doors that the caller supplies.
    public init(
        environment: @escaping @Sendable (String) -> String?,
        readFile: @escaping @Sendable (String) -> [UInt8]?
    ) {
        self.environment = environment
        self.readFile = readFile
    }

    /// A secret that is sent in a header field or compared with one.
    /// - Throws: as `resolve`; also for more than one line.
    public func resolveLine(_ source: SecretSource) throws(Failure) -> Secret {
        let secret = try resolve(source)
        guard !secret.exposed.contains(where: { $0 < 0x20 || $0 == 0x7f }) else {
            throw Failure(message: "\(Self.place(of: source)) must hold one line of text")
        }
        return secret
    }

    private static func place(of source: SecretSource) -> String {
        switch source {
        case .value: "a value"
        case .environment(let name): "the environment variable \(name)"
        case .file(let path): "the file \(path)"
        }
    }

    /// What a source holds.
    /// - Throws: which variable is not set, or which file cannot be read.
    public func resolve(_ source: SecretSource) throws(Failure) -> Secret {
        switch source {
        case .value(let secret): return secret
        case .environment(let name):
            guard let text = environment(name), !text.isEmpty else {
                throw Failure(message: "the environment variable \(name) is not set")
            }
            return Secret(text)
        case .file(let path):
            guard var bytes = readFile(path) else {
                throw Failure(message: "the file \(path) cannot be read")
            }
            while let last = bytes.last, last == 0x0a || last == 0x0d { bytes.removeLast() }
            guard !bytes.isEmpty else { throw Failure(message: "the file \(path) is empty") }
            return Secret(bytes)
        }
    }
}
