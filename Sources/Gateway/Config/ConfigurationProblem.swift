/// Something in gateway.yaml that is wrong, or that deserves a warning.
public struct ConfigurationProblem: Error, Sendable, Equatable {
    /// How bad it is.
    public enum Severity: String, Sendable {
        /// Nothing starts.
        case error
        /// It starts, but somebody should know.
        case warning
    }

    /// The line, from 1.
    public let line: Int
    /// The column, from 1.
    public let column: Int
    /// What is wrong, and what to do.
    public let message: String
    /// How bad it is.
    public let severity: Severity

    /// A problem at a place.
    public init(line: Int, column: Int, message: String, severity: Severity = .error) {
        self.line = line
        self.column = column
        self.message = message
        self.severity = severity
    }

    init(_ message: String, at node: YAMLNode, severity: Severity = .error) {
        self.init(line: node.line, column: node.column, message: message, severity: severity)
    }

    /// One line, as compilers write them: `gateway.yaml:3:5: error: …`.
    public func text(file: String) -> String {
        "\(file):\(line):\(column): \(severity.rawValue): \(message)"
    }
}
