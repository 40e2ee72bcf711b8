import Primitives

/// Collects problems while a file is read, so that all of them are told at once.
final class ProblemList {
    private(set) var problems: [ConfigurationProblem] = []

    func add(_ problem: ConfigurationProblem) { problems.append(problem) }

    func add(_ message: String, at node: YAMLNode) { add(ConfigurationProblem(message, at: node)) }
}

/// One mapping of the file: its members are asked for by name, and what nobody asked for is
/// unknown.
struct ConfigurationScope {
    /// Where the mapping stands.
    let node: YAMLNode
    let problems: ProblemList
    private let members: [String: YAMLNode]
    /// All members, in the file's order.
    let entries: [(name: String, key: YAMLNode, value: YAMLNode)]

    /// nil, and a problem, when `node` is no mapping.
    init?(_ node: YAMLNode, _ what: String, _ problems: ProblemList) {
        guard case .mapping(let pairs) = node.content else {
            problems.add("\(what) must be a mapping, not \(node.kindName)", at: node)
            return nil
        }
        var members: [String: YAMLNode] = [:]
        var entries: [(name: String, key: YAMLNode, value: YAMLNode)] = []
        for (key, value) in pairs {
            guard case .scalar(let name, _) = key.content else {
                problems.add("a key must be text", at: key)
                continue
            }
            if Self.hasControl(name) { problems.add("a key must be one line of text", at: key) }
            if members[name] != nil { problems.add("the key \"\(name)\" stands twice", at: key) }
            members[name] = value
            entries.append((name, key, value))
        }
        self.node = node
        self.problems = problems
        self.members = members
        self.entries = entries
    }

    /// Reports every key that is not among `known`.
    func allow(_ known: [String], in what: String) {
        for entry in entries where !known.contains(entry.name) {
            let hint = DidYouMean.hint(entry.name, among: known)
            problems.add("unknown key \"\(entry.name)\" in \(what)\(hint)", at: entry.key)
        }
    }

    /// Reports members that are for backends of another kind: a guardrail that nobody applies is
    /// worse than none.
    func refuse(_ names: [String], of wanted: String, for kind: String) {
        for name in names {
            guard let value = self[name] else { continue }
            problems.add("\"\(name)\" is for backends of kind \(wanted), not \(kind)", at: value)
        }
    }

    /// The member of that name; nil when absent or empty.
    subscript(_ name: String) -> YAMLNode? {
        guard let value = members[name] else { return nil }
        if case .scalar(let text, isPlain: true) = value.content, ["", "~", "null"].contains(text) {
            return nil
        }
        return value
    }

    /// A member that must be there; an empty text says nothing.
    func required(_ name: String, in what: String) -> YAMLNode? {
        if let value = self[name], !value.isEmptyText { return value }
        problems.add("\(what) needs \"\(name)\"", at: node)
        return nil
    }

    /// Text.
    func text(_ name: String) -> String? { self[name].flatMap { text($0, name) } }

    /// The text of a value.
    func text(_ value: YAMLNode, _ name: String) -> String? {
        guard case .scalar(let text, _) = value.content else {
            problems.add("\"\(name)\" must be text, not \(value.kindName)", at: value)
            return nil
        }
        guard !Self.hasControl(text) else {
            problems.add("\"\(name)\" must be one line of text", at: value)
            return nil
        }
        return text
    }

    /// Names, keys and URLs come to stand in header fields and in lines of logs.
    private static func hasControl(_ text: String) -> Bool {
        text.utf8.contains { $0 < 0x20 && $0 != 0x09 || $0 == 0x7f }
    }

    /// `true` or `false`.
    func bool(_ name: String) -> Bool? {
        guard let value = self[name], let text = text(value, name) else { return nil }
        if text == "true" { return true }
        if text == "false" { return false }
        problems.add("\"\(name)\" must be true or false, not \"\(text)\"", at: value)
        return nil
    }

    /// One of a few words.
    func choice(_ name: String, among words: [String]) -> String? {
        guard let value = self[name], let text = text(value, name) else { return nil }
        if words.contains(text) { return text }
        let hint = DidYouMean.hint(text, among: words)
        problems.add(
            "\"\(name)\" must be one of \(words.joined(separator: ", ")), not \"\(text)\"\(hint)",
            at: value)
        return nil
    }

    /// A quantity that `parse` understands.
    func quantity<Value>(
        _ name: String, _ example: String, _ parse: (String) -> Value?
    ) -> Value? {
        guard let value = self[name], let text = text(value, name) else { return nil }
        if let parsed = parse(text) { return parsed }
        problems.add("\"\(name)\" must be such as \(example), not \"\(text)\"", at: value)
        return nil
    }

    /// The elements of a list; none when absent.
    func list(_ name: String) -> [YAMLNode] {
        guard let value = self[name] else { return [] }
        guard case .sequence(let items) = value.content else {
            problems.add("\"\(name)\" must be a list, not \(value.kindName)", at: value)
            return []
        }
        return items
    }

    /// A mapping within this one.
    func scope(_ name: String, allowing known: [String]) -> ConfigurationScope? {
        guard let value = self[name],
            let scope = ConfigurationScope(value, "\"\(name)\"", problems)
        else { return nil }
        scope.allow(known, in: "\"\(name)\"")
        return scope
    }

    /// A secret: exactly one of `env`, `file` and `value`.
    func secret(_ name: String, folder: String) -> SecretSource? {
        self[name].flatMap { SecretReader.read($0, name, folder: folder, problems) }
    }

    /// A path, made absolute by the file's folder.
    func path(_ name: String, folder: String) -> String? {
        text(name).map { FilePath.resolve($0, in: folder) }
    }
}

/// Reads `{env: NAME}`, `{file: PATH}` and `{value: TEXT}`.
enum SecretReader {
    static func read(
        _ node: YAMLNode, _ what: String, folder: String, _ problems: ProblemList
    ) -> SecretSource? {
        guard case .mapping = node.content else {
            problems.add(
                "\"\(what)\" must be {env: NAME}, {file: PATH} or {value: TEXT}", at: node)
            return nil
        }
        guard let scope = ConfigurationScope(node, "\"\(what)\"", problems) else { return nil }
        scope.allow(["env", "file", "value"], in: "\"\(what)\"")
        let sources: [SecretSource] = [
            scope.text("env").map { .environment($0) },
            scope.path("file", folder: folder).map { .file($0) },
            scope.text("value").map { .value(Secret($0)) },
        ].compactMap { $0 }
        guard sources.count == 1 else {
            problems.add(
                "\"\(what)\" must have exactly one of \"env\", \"file\" and \"value\"", at: node)
            return nil
        }
        if case .value(let secret)? = sources.first, secret.isEmpty {
            problems.add("\"value\" must not be empty", at: node)
            return nil
        }
        return sources.first
    }
}

/// Paths in the file are relative to it.
public enum FilePath {
    /// `path` itself when it is absolute, or as it stands in the working directory; else below
    /// `folder`.
    public static func resolve(_ path: String, in folder: String) -> String {
        path.hasPrefix("/") || folder.isEmpty || folder == "." ? path : "\(folder)/\(path)"
    }

    /// The folder part of a path; `.` when there is none.
    public static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
