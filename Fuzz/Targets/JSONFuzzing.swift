import Primitives
import Wire

/// The JSON tape, and the editor that works by its ranges.
enum JSONFuzzing {
    /// Any text: ranges nest, and what is written from it is read alike.
    static func tape(_ bytes: [UInt8]) {
        let document: JSONDocument
        do throws(JSONFailure) {
            document = try JSONDocument(bytes)
        } catch {
            precondition(error.line >= 1 && error.column >= 1, "a failure without a place")
            precondition(error.line <= bytes.count + 1, "a failure outside the text")
            precondition(error.column <= bytes.count + 1, "a failure outside the text")
            return
        }
        precondition(String(validating: bytes, as: UTF8.self) != nil, "text that is not UTF-8")
        check(document.root, within: 0..<bytes.count)
        var compact: [UInt8] = []
        document.root.appendCompact(to: &compact)
        precondition(compact.count <= bytes.count, "compact text is longer")
        guard let again = try? JSONDocument(compact) else {
            preconditionFailure("compact text is not JSON")
        }
        precondition(isSame(document.root, again.root), "compact text says something else")
        var twice: [UInt8] = []
        again.root.appendCompact(to: &twice)
        precondition(twice == compact, "compact text can be made more compact")
        var writer = JSONWriter()
        rewrite(document.root, &writer)
        guard let rewritten = try? JSONDocument(writer.bytes) else {
            preconditionFailure("what we write is not JSON")
        }
        precondition(isSame(document.root, rewritten.root), "what we write says something else")
    }

    private static func check(_ value: JSONValue, within outer: Range<Int>) {
        let range = value.range
        precondition(!range.isEmpty, "a value without text")
        precondition(
            range.lowerBound >= outer.lowerBound && range.upperBound <= outer.upperBound,
            "a value outside its container")
        var at = range.lowerBound
        for member in value.members {
            precondition(member.key.kind == .string, "a key that is no string")
            precondition(member.key.range.lowerBound > at, "members overlap")
            precondition(
                member.value.range.lowerBound > member.key.range.upperBound, "a key in its value")
            check(member.value, within: range)
            at = member.value.range.upperBound
        }
        for element in value.elements {
            precondition(element.range.lowerBound > at, "elements overlap")
            check(element, within: range)
            at = element.range.upperBound - 1
        }
        if let text = value.stringBytes {
            precondition(String(validating: text, as: UTF8.self) != nil, "a string out of UTF-8")
        }
        if let int = value.int, abs(int.magnitude.distance(to: 0)) < 1 << 52 {
            precondition(value.double == Double(int), "a number that is two")
        }
    }

    private static func isSame(_ left: JSONValue, _ right: JSONValue) -> Bool {
        guard left.kind == right.kind, left.count == right.count else { return false }
        switch left.kind {
        case .object:
            return zip(left.members, right.members).allSatisfy {
                $0.key.stringBytes == $1.key.stringBytes && isSame($0.value, $1.value)
            }
        case .array: return zip(left.elements, right.elements).allSatisfy(isSame)
        case .string: return left.stringBytes == right.stringBytes
        case .number: return left.double == right.double && left.int == right.int
        case .bool: return left.bool == right.bool
        case .null: return true
        }
    }

    private static func rewrite(_ value: JSONValue, _ writer: inout JSONWriter) {
        switch value.kind {
        case .object:
            writer.beginObject()
            for member in value.members {
                writer.key(bytes: member.key.stringBytes ?? [])
                rewrite(member.value, &writer)
            }
            writer.endObject()
        case .array:
            writer.beginArray()
            for element in value.elements { rewrite(element, &writer) }
            writer.endArray()
        case .string: writer.string(bytes: value.stringBytes ?? [])
        case .number: writer.raw(value.source)
        case .bool: writer.bool(value.bool == true)
        case .null: writer.null()
        }
    }

    // MARK: - Editor

    /// An object loses, gets or changes a member: the others keep every byte.
    static func editor(_ bytes: [UInt8]) {
        guard let document = try? JSONDocument(bytes), document.root.kind == .object else {
            return
        }
        var choices = Choices(bytes)
        let members = Array(document.root.members)
        let inserted = edited(bytes) { editor in
            editor.insertMember(
                [UInt8](#""new":[1]"#.utf8), intoObjectAt: document.root.range,
                isEmpty: members.isEmpty)
        }
        precondition(
            sources(inserted) == [[UInt8](#""new":[1]"#.utf8)] + sources(document),
            "an insertion changes something else")
        guard !members.isEmpty else { return }
        let index = choices.next(below: members.count)
        let (key, value) = members[index]
        let replaced = edited(bytes) { editor in
            editor.replace(value.range, with: [UInt8]("false".utf8))
        }
        var expected = sources(document)
        expected[index] = key.source + [UInt8](":false".utf8)
        precondition(sources(replaced) == expected, "a replacement changes something else")
        let removed = edited(bytes) { editor in
            editor.removeMember(
                key: key.range, value: value.range, ofObjectAt: document.root.range,
                in: bytes.span)
        }
        expected.remove(at: index)
        precondition(sources(removed) == expected, "a removal changes something else")
    }

    private static func edited(
        _ bytes: [UInt8], _ edit: (inout JSONEditor) -> Void
    ) -> JSONDocument {
        var editor = JSONEditor()
        edit(&editor)
        guard let document = try? JSONDocument(editor.apply(to: bytes.span)) else {
            preconditionFailure("an edit leaves no JSON")
        }
        return document
    }

    /// Each member as `key:value`, byte for byte.
    private static func sources(_ document: JSONDocument) -> [[UInt8]] {
        document.root.members.map { $0.key.source + [UInt8(ascii: ":")] + $0.value.source }
    }

    /// Two texts with a NUL between them: whatever fits the pattern of the first has its nodes, and
    /// differs in one or two strings only.
    static func pattern(_ bytes: [UInt8]) {
        let halves = bytes.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
        guard halves.count == 2 else { return }
        let (text, other) = (Array(halves[0]), Array(halves[1]))
        var tape = JSONTape()
        guard (try? tape.parse(text.span)) != nil else { return }
        let strings = (0..<tape.count).filter { tape.kind($0) == .string }
        guard !strings.isEmpty else { return }
        var choices = Choices(bytes)
        let first = choices.next(below: strings.count)
        let rest = strings[(first + 1)...]
        let second = rest.isEmpty ? nil : rest[first + 1 + choices.next(below: rest.count)]
        var pattern = JSONPattern()
        pattern.learn(text.span, tape, first: strings[first], second: second)
        precondition(pattern.match(text.span) != nil, "a text that does not fit its own pattern")
        guard let match = pattern.match(other.span) else { return }
        var otherTape = JSONTape()
        guard (try? otherTape.parse(other.span)) != nil else {
            preconditionFailure("what fits the pattern is not JSON")
        }
        precondition(otherTape.count == tape.count, "what fits the pattern has other nodes")
        for node in 0..<tape.count {
            precondition(otherTape.kind(node) == tape.kind(node), "a node is of another kind")
            guard node != strings[first], node != second, tape.next(after: node) == node + 1 else {
                continue
            }
            precondition(
                text[tape.range(node)] == other[otherTape.range(node)], "another node has changed")
        }
        let content = otherTape.range(strings[first])
        precondition(
            match.content == content.lowerBound + 1..<content.upperBound - 1, "a wrong place")
    }
}
