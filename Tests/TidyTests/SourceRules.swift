import Foundation

/// What is wrong with a piece of source, by the rules of CONTRIBUTING.md that a machine can check.
enum SourceRules {
    /// The floors, lowest first; a floor imports only lower ones.
    static let floors = [
        "Primitives", "Wire", "Translation", "Gateway", "Runtime", "Simulator", "sluice",
    ]

    /// Which floors may import which C module.
    static let modules: [String: [String]] = [
        "CSys": ["Primitives", "Wire", "Runtime", "Simulator"], "COpenSSL": ["Wire", "Runtime"],
        "CNghttp2": ["Wire"], "CZlib": ["Wire"], "CSQLite": ["Runtime"], "CYaml": ["Gateway"],
        "CPrices": ["Gateway"],
        "Glibc": ["Primitives", "Runtime", "Simulator", "sluice"],
        "ArgumentParser": ["sluice"], "Logging": ["sluice"],
        "Synchronization": ["Gateway", "Runtime", "Simulator"],
    ]

    /// Words that must not stand in sources, and what to write instead.
    static let banned = [
        ("print(", "Output.line in the front door, the log elsewhere"),
        ("try!", "handle the error"), ("as!", "as? and a decision"),
        ("DispatchQueue", "a worker, or BackgroundThread"), ("Date()", "SystemClock, passed in"),
        ("fatalError(", "precondition with a condition"),
        ("TO" + "DO", "do it, or say so in the issue"),
    ]

    /// Classes that promise thread-safety by hand: each says why in its comment.
    static let uncheckedSendable = ["Locked", "TLSContext", "BackgroundThread", "WorkerBox"]

    static let columnLimit = 100
    static let functionLimit = 70
    static let fileLimit = 500

    /// All problems of one file; `floor` is the name of its target.
    static func problems(in text: String, floor: String) -> [String] {
        let lines = text.components(separatedBy: "\n")
        var problems: [String] = []
        if lines.count > fileLimit { problems.append("the file has \(lines.count) lines") }
        for (index, line) in lines.enumerated() {
            let place = "line \(index + 1): "
            if line.count > columnLimit { problems.append(place + "\(line.count) columns") }
            problems += importProblems(line, floor: floor).map { place + $0 }
            let code = line.components(separatedBy: "//").first ?? ""
            for (word, instead) in banned where holds(word, in: code) {
                problems.append(place + "\(word) is banned: \(instead)")
            }
            if code.contains("@unchecked Sendable"),
                !uncheckedSendable.contains(where: { code.contains($0) })
            {
                problems.append(place + "@unchecked Sendable is not on the list")
            }
            if isPublicType(code), !isDocumented(lines, before: index) {
                problems.append(place + "a public type without a comment")
            }
        }
        return problems + longFunctions(lines)
    }

    /// Whether a word stands in code by itself: `fingerprint(` holds no `print(`.
    private static func holds(_ word: String, in code: String) -> Bool {
        var rest = code[...]
        while let found = rest.range(of: word) {
            let before =
                found.lowerBound > code.startIndex
                ? code[code.index(before: found.lowerBound)] : " "
            if !before.isLetter { return true }
            rest = rest[found.upperBound...]
        }
        return false
    }

    private static func importProblems(_ line: String, floor: String) -> [String] {
        let words = line.split(separator: " ")
        guard let position = words.firstIndex(of: "import"), position <= 1,
            position == 0 || words[0] == "public", words.count > position + 1
        else { return [] }
        let module = String(words[position + 1])
        if module == "Foundation" { return ["Foundation stays out of the sources"] }
        if let mine = floors.firstIndex(of: floor), let theirs = floors.firstIndex(of: module) {
            return theirs < mine
                ? [] : ["\(floor) must not import \(module), which is no lower floor"]
        }
        guard let allowed = modules[module] else { return ["\(module) is not a module we know"] }
        return allowed.contains(floor) ? [] : ["\(floor) must not import \(module)"]
    }

    private static func isPublicType(_ code: String) -> Bool {
        guard code.hasPrefix("public ") || code.hasPrefix("@safe public ") else { return false }
        return ["struct ", "class ", "enum ", "protocol "].contains { code.contains($0) }
    }

    private static func isDocumented(_ lines: [String], before index: Int) -> Bool {
        var above = index - 1
        while above >= 0, lines[above].hasPrefix("@") { above -= 1 }
        return above >= 0 && lines[above].trimmingCharacters(in: .whitespaces).hasPrefix("///")
    }

    /// Functions over the wall, by the indentation of their closing brace.
    private static func longFunctions(_ lines: [String]) -> [String] {
        var problems: [String] = []
        for (start, line) in lines.enumerated() {
            let indentation = line.prefix { $0 == " " }
            let words = line.split(separator: " ")
            guard let keyword = words.firstIndex(where: { $0 == "func" || $0.hasPrefix("init(") }),
                keyword <= 4, !line.contains("//"), !line.hasSuffix("}")
            else { continue }
            // A requirement of a protocol has no body.
            guard
                let opening = lines[start...].prefix(12).firstIndex(where: { $0.hasSuffix("{") }),
                let end = lines[(opening + 1)...].firstIndex(where: { $0 == indentation + "}" })
            else { continue }
            let isNested = lines[start...opening].dropFirst().contains { other in
                other.split(separator: " ").contains { $0 == "func" }
            }
            if !isNested, end - start + 1 > functionLimit {
                problems.append("line \(start + 1): a function of \(end - start + 1) lines")
            }
        }
        return problems
    }
}
