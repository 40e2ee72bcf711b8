import Foundation

/// Finds and reads the files below `Tests/Fixtures`.
public enum Fixtures {
    /// The folder `Tests/Fixtures`.
    public static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Fixtures")

    /// The JSON objects of one folder of vectors, with their file names, sorted by name.
    public static func vectors(_ group: String) throws -> [(name: String, object: [String: Any])] {
        let directory = folder.appendingPathComponent("vectors").appendingPathComponent(group)
        return try FileManager.default.contentsOfDirectory(atPath: directory.path)
            .filter { $0.hasSuffix(".json") }.sorted()
            .map { file in
                let data = try Data(contentsOf: directory.appendingPathComponent(file))
                let object = try JSONSerialization.jsonObject(with: data)
                guard let dictionary = object as? [String: Any] else {
                    throw CocoaError(.fileReadCorruptFile)
                }
                return (file, dictionary)
            }
    }
}
