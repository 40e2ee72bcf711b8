import Wire

/// Compares JSON as values: members in any order, array elements in theirs, numbers by value.
enum JSONComparing {
    /// Strings under these names hold JSON themselves and compare as JSON.
    private static let embedded = ["arguments", "schema"]

    /// What differs, each with its path; empty when both mean the same.
    static func differences(_ actual: [UInt8], _ expected: JSONValue) -> [String] {
        guard let document = try? JSONDocument(actual) else {
            return ["not JSON: \(String(decoding: actual, as: UTF8.self))"]
        }
        return differences(document.root, expected, at: "$", named: "")
    }

    /// The same for a text of expected JSON.
    static func differences(_ actual: [UInt8], _ expected: String) throws -> [String] {
        differences(actual, try JSONDocument(Array(expected.utf8)).root)
    }

    private static func differences(
        _ actual: JSONValue, _ expected: JSONValue, at path: String, named name: String
    ) -> [String] {
        let mismatch = ["\(path): \(actual.text), expected \(expected.text)"]
        guard actual.kind == expected.kind else { return mismatch }
        switch expected.kind {
        case .object: return members(actual, expected, at: path)
        case .array:
            guard actual.count == expected.count else { return mismatch }
            return zip(actual.elements, expected.elements).enumerated().flatMap { index, pair in
                differences(pair.0, pair.1, at: "\(path)[\(index)]", named: name)
            }
        case .string:
            if actual.stringBytes == expected.stringBytes { return [] }
            guard embedded.contains(name), let actual = try? actual.embeddedRoot,
                let expected = try? expected.embeddedRoot
            else { return mismatch }
            return differences(actual, expected, at: path, named: "")
        case .number: return actual.double == expected.double ? [] : mismatch
        case .bool: return actual.bool == expected.bool ? [] : mismatch
        case .null: return []
        }
    }

    private static func members(
        _ actual: JSONValue, _ expected: JSONValue, at path: String
    ) -> [String] {
        let actualMembers = actual.dictionary
        let expectedMembers = expected.dictionary
        var found: [String] = []
        if actual.count != actualMembers.count { found.append("\(path): a member stands twice") }
        for name in actualMembers.keys where expectedMembers[name] == nil {
            found.append("\(path).\(name): not expected")
        }
        for (name, value) in expectedMembers {
            guard let other = actualMembers[name] else {
                found.append("\(path).\(name): missing")
                continue
            }
            found += differences(other, value, at: "\(path).\(name)", named: name)
        }
        return found
    }
}

extension JSONValue {
    /// The source as text.
    var text: String { String(decoding: source, as: UTF8.self) }

    /// Members by name.
    var dictionary: [String: JSONValue] {
        Dictionary(
            members.map { ($0.key.string ?? "", $0.value) }, uniquingKeysWith: { first, _ in first }
        )
    }

    fileprivate var embeddedRoot: JSONValue {
        get throws { try JSONDocument(stringBytes ?? []).root }
    }
}
