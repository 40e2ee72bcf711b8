/// The shared AWS files (bedrock-api.md section 5.2): sections of keys and values.
public struct SharedProfiles: Sendable {
    private var profiles: [String: [String: String]] = [:]

    /// The profiles of both files; the credentials file wins where they say different things.
    ///
    /// - Parameters:
    ///   - credentials: text of `~/.aws/credentials`, sections `[name]`.
    ///   - config: text of `~/.aws/config`, sections `[profile name]` and `[default]`.
    public init(credentials: String, config: String) {
        read(config, isConfig: true)
        read(credentials, isConfig: false)
    }

    /// The keys of a profile in lower case; nil when there is no such profile.
    public func profile(_ name: String) -> [String: String]? { profiles[name] }

    private mutating func read(_ text: String, isConfig: Bool) {
        var section: String?
        for raw in text.split(whereSeparator: \.isNewline) {
            // Indented lines are nested values of the key above, not keys of the section.
            guard let first = raw.first, !first.isWhitespace, first != "#", first != ";" else {
                continue
            }
            let line = String(raw)
            if first == "[" {
                section =
                    line.lastIndex(of: "]").map { end in
                        Self.name(String(line[line.index(after: line.startIndex)..<end]), isConfig)
                    } ?? nil
                continue
            }
            guard let section, let equals = line.firstIndex(of: "=") else { continue }
            let key = Self.trimmed(line[..<equals]).lowercased()
            profiles[section, default: [:]][key] = Self.trimmed(
                line[line.index(after: equals)...])
        }
    }

    /// The profile that a section is about; nil for other sections, such as `[sso-session x]`.
    private static func name(_ section: String, _ isConfig: Bool) -> String? {
        let words = section.split(whereSeparator: \.isWhitespace)
        guard isConfig else { return words.joined(separator: " ") }
        if words.count == 1, words[0] == "default" { return "default" }
        guard words.first == "profile", words.count >= 2 else { return nil }
        return words.dropFirst().joined(separator: " ")
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        var result = Substring(text)
        while result.first?.isWhitespace == true { result.removeFirst() }
        while result.last?.isWhitespace == true { result.removeLast() }
        return String(result)
    }
}
