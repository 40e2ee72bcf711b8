import Gateway
import Runtime
import Translation

/// The file that `--config` names.
struct ConfigurationFile {
    let path: String

    /// Reads and checks it. Who only looks at what is recorded need not have the gateway's secrets.
    /// - Throws: when there is no such file.
    func read(checkingSecrets: Bool = true) throws(CommandFailure) -> ConfigurationReader.Outcome {
        guard let bytes = FileSystem.read(path) else {
            throw .wrongInput(
                "\(path): cannot be read. Name the file with --config, or begin with the "
                    + "gateway.yaml of the project.")
        }
        let environment = FileSystem.environment()
        let reader = ConfigurationReader(
            folder: FilePath.folder(of: path), providers: ProviderCatalogue.all,
            secrets: checkingSecrets ? PlanBuilder.resolver(environment) : nil,
            region: PlanBuilder.region(environment))
        return reader.read(bytes)
    }

    /// Reads it for use; `warn` is told what is odd.
    /// - Throws: all that is wrong with it.
    func load(
        checkingSecrets: Bool = true, warn: (String) -> Void = { Output.error($0) }
    ) throws(CommandFailure) -> Configuration {
        let outcome = try read(checkingSecrets: checkingSecrets)
        let lines = outcome.problems.map { $0.text(file: path) }
        guard let configuration = outcome.configuration else {
            throw .wrongInput(lines.joined(separator: "\n"))
        }
        for line in lines { warn(line) }
        return configuration
    }
}
