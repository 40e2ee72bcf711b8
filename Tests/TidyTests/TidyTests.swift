import Foundation
import Testing

@Suite struct TidyTests {
    static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    @Test(arguments: SourceRules.floors)
    func `a floor keeps the rules`(_ floor: String) throws {
        let folder = Self.root.appendingPathComponent("Sources/\(floor)")
        let files = try FileManager.default.subpathsOfDirectory(atPath: folder.path)
            .filter { $0.hasSuffix(".swift") }
        #expect(!files.isEmpty)
        for file in files {
            let text = try String(contentsOf: folder.appendingPathComponent(file), encoding: .utf8)
            for problem in SourceRules.problems(in: text, floor: floor) {
                Issue.record("Sources/\(floor)/\(file): \(problem)")
            }
        }
    }

    @Test func `every folder of the sources is on the map`() throws {
        let map = try String(
            contentsOf: Self.root.appendingPathComponent("ARCHITECTURE.md"), encoding: .utf8)
        let sources = Self.root.appendingPathComponent("Sources")
        for path in try FileManager.default.subpathsOfDirectory(atPath: sources.path) {
            var isFolder: ObjCBool = false
            let full = sources.appendingPathComponent(path).path
            guard FileManager.default.fileExists(atPath: full, isDirectory: &isFolder),
                isFolder.boolValue, !path.hasSuffix("include")
            else { continue }
            let name = path.split(separator: "/").last.map(String.init) ?? path
            #expect(map.contains("\(name)/"), "Sources/\(path) is missing from ARCHITECTURE.md")
        }
    }

    @Test(arguments: [
        ("import Foundation", "Wire", "Foundation"), ("import Gateway", "Wire", "no lower floor"),
        ("public import Runtime", "Gateway", "no lower floor"),
        ("import CSQLite", "Gateway", "must not import"), ("import Yams", "Gateway", "not a module"),
        ("let x = try! f()", "Wire", "try!"), ("print(1)", "Runtime", "print("),
        ("final class X: @unchecked Sendable {}", "Runtime", "not on the list"),
        ("public struct X {}", "Wire", "without a comment"),
        (String(repeating: "x", count: 101), "Wire", "columns"),
        (String(repeating: "\n", count: 501), "Wire", "lines"),
        ("func f() {\n" + String(repeating: "    x()\n", count: 70) + "}", "Wire", "a function of"),
    ])
    func `what breaks a rule is found`(_ text: String, _ floor: String, _ problem: String) {
        let problems = SourceRules.problems(in: text, floor: floor)
        #expect(problems.contains { $0.contains(problem) }, "\(problems)")
    }

    @Test func `what keeps the rules is left alone`() {
        let text = """
            import Primitives

            /// A thing.
            public struct Thing {
                // A comment may say print( or try!.
                func f() -> Int { 1 }
            }
            """
        #expect(SourceRules.problems(in: text, floor: "Wire").isEmpty)
    }
}
