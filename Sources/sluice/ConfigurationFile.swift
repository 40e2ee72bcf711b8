import Gateway
import Runtime
import Translation

/// The file that `--config` names.
struct ConfigurationFile {
    let path: String

    /// Reads and checks it.
    /// - Throws: when there is no such file.
    func read() throws(CommandFailure) -> ConfigurationReader.Outcome {
        guard let bytes = FileSystem.read(path) else {
            throw .wrongInput(
                "\(path): cannot be read. Name the file with --config, or begin with the "
                    + "gateway.yaml of the project.")
        }
        let reader = ConfigurationReader(
            folder: FilePath.folder(of: path), providers: ProviderCatalogue.all,
            secrets: PlanBuilder.resolver(FileSystem.environment()))
        return reader.read(bytes)
    }

    /// Reads it for use; warnings go to standard error.
    /// - Throws: all that is wrong with it.
    func load() throws(CommandFailure) -> Configuration {
        let outcome = try read()
        let lines = outcome.problems.map { $0.text(file: path) }
        guard let configuration = outcome.configuration else {
            throw .wrongInput(lines.joined(separator: "\n"))
        }
        for line in lines { Output.error(line) }
        return configuration
    }
}
