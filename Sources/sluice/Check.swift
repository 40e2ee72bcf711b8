import ArgumentParser
import Gateway

/// `sluice check`: says everything that is wrong with a configuration.
struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check a configuration file and print every problem in it.")

    @Option(help: "The configuration file.")
    var config = "gateway.yaml"

    func run() throws {
        let outcome = try ConfigurationFile(path: config).read()
        for problem in outcome.problems { Output.error(problem.text(file: config)) }
        guard let configuration = outcome.configuration else { throw ExitCode(1) }
        Output.line(
            "\(config): ok (\(configuration.backends.count) backends, "
                + "\(configuration.routes.count) routes, \(configuration.tenants.count) tenants)")
    }
}
