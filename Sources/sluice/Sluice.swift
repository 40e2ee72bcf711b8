import ArgumentParser
import Glibc

/// The front door: subcommands and exit codes.
@main
struct Sluice: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sluice",
        abstract: "An OpenAI-compatible AI gateway.",
        discussion: "Start with: sluice serve --config gateway.yaml",
        version: Version.text,
        subcommands: [Serve.self, Check.self, Simulate.self, Usage.self, Key.self])

    /// Exit codes: 0 fine, 1 the configuration or input is wrong, 2 wrong usage, 3 the run failed.
    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let failure as CommandFailure {
            Output.error(failure.message)
            Glibc.exit(failure.code)
        } catch {
            let code = exitCode(for: error)
            let text = fullMessage(for: error)
            if code == .success {
                Output.line(text)
                Glibc.exit(0)
            }
            // A command that has told what is wrong gives an exit code only.
            if !text.isEmpty { Output.error(text) }
            Glibc.exit(code == .validationFailure ? 2 : code.rawValue)
        }
    }
}

/// The version of this build.
enum Version {
    static let text = "0.1.0"
}

/// A command that has failed in a way of its own.
struct CommandFailure: Error {
    let code: Int32
    let message: String

    /// The configuration or the input is wrong.
    static func wrongInput(_ message: String) -> CommandFailure {
        CommandFailure(code: 1, message: message)
    }

    /// The run failed.
    static func runFailed(_ message: String) -> CommandFailure {
        CommandFailure(code: 3, message: message)
    }
}

/// Standard output and standard error.
enum Output {
    static func line(_ text: String) { write(text, to: STDOUT_FILENO) }

    static func error(_ text: String) { write(text, to: STDERR_FILENO) }

    private static func write(_ text: String, to descriptor: Int32) {
        var line = Array(text.utf8)
        // Not of the text: to Swift, CR LF is one character, and no LF.
        if line.last != 0x0a { line.append(0x0a) }
        var offset = 0
        while offset < line.count {
            let count = unsafe line.withUnsafeBytes { bytes in
                unsafe Glibc.write(
                    descriptor, bytes.baseAddress.map { unsafe $0 + offset }, bytes.count - offset)
            }
            guard count > 0 else { return }
            offset += count
        }
    }
}
