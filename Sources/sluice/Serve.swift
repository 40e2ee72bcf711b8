import ArgumentParser
import Gateway
import Glibc
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
        let log = OperatorLog { level, message in
            // Some of it is what peers have said: one event is one line.
            let line = PrintableText.line(message)
            logger.log(level: Logger.Level(rawValue: level) ?? .info, "\(line)")
        }
        let surroundings = Server.Surroundings(
            path: config, fingerprint: fingerprint,
            reread: {
                do throws(CommandFailure) {
                    return .success(try file.load { log.add("warning", $0) })
                } catch {
                    return .failure(PlanFailure(message: error.message))
                }
            },
            environment: FileSystem.environment(), log: { log.add($0, $1) },
            version: Version.text)
        let brokenOff: Int
        do throws(PlanFailure) {
            let server = try Server(configuration, surroundings)
            // Not before the server has blocked signals: threads inherit that.
            try Self.start(log)
            brokenOff = try server.run()
        } catch {
            _ = log.stop()
            throw CommandFailure.runFailed("\(config): \(error.message)")
        }
        let failure =
            brokenOff == 0
            ? nil
            : CommandFailure.runFailed(
                "requests that could not finish before the end (drain.timeout): \(brokenOff)")
        // While nobody reads the log, a message would wait for that; so would exit(3), for the lock
        // of standard error.
        if !log.stop() { Glibc._exit(failure?.code ?? 0) }
        if let failure { throw failure }
    }

    private static func start(_ log: OperatorLog) throws(PlanFailure) {
        do throws(KernelFailure) {
            try log.start()
        } catch {
            throw PlanFailure(message: "no thread for the log: \(error.reason)")
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
