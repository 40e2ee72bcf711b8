import Foundation
import TestSupport
import Testing
import Wire

/// One file of `Tests/Fixtures/vectors`: an input and what must come of it.
struct Vector: Sendable, CustomTestStringConvertible {
    let name: String
    let root: JSONValue

    var testDescription: String { name }
    var input: JSONValue { member("input") }
    var expect: JSONValue { member("expect") }

    /// All vectors of a group whose `input` passes `filter`, sorted by name.
    static func all(
        _ group: String, where filter: (JSONValue) -> Bool = { _ in true }
    ) throws -> [Vector] {
        let folder = Fixtures.folder.appendingPathComponent("vectors/\(group)")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        return try files.filter { $0.hasSuffix(".json") }.sorted().map { file in
            let data = try Data(contentsOf: folder.appendingPathComponent(file))
            return Vector(name: file, root: try JSONDocument([UInt8](data)).root)
        }.filter { filter($0.input) }
    }

    private func member(_ name: StaticString) -> JSONValue {
        guard let value = root[name] else { preconditionFailure("\(self.name) has no '\(name)'") }
        return value
    }
}
