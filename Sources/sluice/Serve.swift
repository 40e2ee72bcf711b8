import ArgumentParser
import Gateway
import Logging
import Primitives
import Runtime

/// `sluice serve`: runs the gateway.
struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the gateway.",
        discussion: """
            SIGTERM and SIGINT drain and end it, a second one ends it at once. SIGHUP and a \
            changed file make it read the configuration again.
            """)

    @Option(help: "The configuration file.")
    var config = "gateway.yaml"

    func run() throws {
        let file = ConfigurationFile(path: config)
        let fingerprint = FileSystem.fingerprint(config)
        let configuration = try file.load()
        let logger = Self.logger(configuration.log)
        let surroundings = Server.Surroundings(
            path: config, fingerprint: fingerprint,
            reread: {
                do throws(CommandFailure) {
                    return .success(try file.load())
                } catch {
                    return .failure(PlanFailure(message: error.message))
                }
            },
            environment: FileSystem.environment(),
            log: { level, message in
                // Some of it is what peers have said: one event is one line.
                let line = PrintableText.line(message)
                logger.log(level: Logger.Level(rawValue: level) ?? .info, "\(line)")
            },
            version: Version.text)
        let brokenOff: Int
        do throws(PlanFailure) {
            brokenOff = try Server(configuration, surroundings).run()
        } catch {
            throw CommandFailure.runFailed("\(config): \(error.message)")
        }
        guard brokenOff == 0 else {
            throw CommandFailure.runFailed(
                "requests that could not finish before the end (drain.timeout): \(brokenOff)")
        }
    }

    private static func logger(_ log: LogConfiguration) -> Logger {
        var logger = Logger(label: "sluice") { label in
            StreamLogHandler.standardError(label: label)
        }
        logger.logLevel = Logger.Level(rawValue: log.level) ?? .info
        return logger
    }
}
