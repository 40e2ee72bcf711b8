import Primitives

/// A parsed JSON text that owns its bytes; values refer into it.
public final class JSONDocument: Sendable {
    let bytes: [UInt8]
    let tape: JSONTape

    /// Parses a whole text.
    /// - Throws: where and why it is not JSON.
    public init(_ bytes: [UInt8]) throws(JSONFailure) {
        var tape = JSONTape()
        try tape.parse(bytes.span)
        self.bytes = bytes
        self.tape = tape
    }

    /// A text that `tape` was read from.
    public init(_ bytes: [UInt8], tape: JSONTape) {
        self.bytes = bytes
        self.tape = tape
    }

    /// The value of the text.
    public var root: JSONValue { JSONValue(document: self, node: 0) }
}

/// One value of a document.
public struct JSONValue: Sendable {
    /// What a value is.
    public typealias Kind = JSONTape.Kind

    let document: JSONDocument
    let node: Int

    /// What it is.
    public var kind: Kind { document.tape.kind(node) }

    /// Whether it is `null`.
    public var isNull: Bool { kind == .null }

    /// Where it lies in the text, quotes and brackets included.
    public var range: Range<Int> { document.tape.range(node) }

    /// Its exact text.
    public var source: [UInt8] { Array(document.bytes[range]) }

    /// The first member of that name, keys compared with escapes undone; nil when there is none or
    /// this is no object. A `null` member is there.
    public subscript(_ name: StaticString) -> JSONValue? {
        let bytes = document.bytes
        guard let index = document.tape.member(name, of: node, in: bytes.span) else { return nil }
        return JSONValue(document: document, node: index)
    }

    /// Like the subscript, but `null` counts as absent.
    public func present(_ name: StaticString) -> JSONValue? {
        guard let value = self[name], !value.isNull else { return nil }
        return value
    }

    /// The members of an object in order; none for others.
    public var members: JSONMembers { JSONMembers(self) }

    /// The elements of an array in order; none for others.
    public var elements: JSONElements { JSONElements(self) }

    /// How many members or elements there are.
    public var count: Int {
        kind == .object
            ? members.reduce(0) { count, _ in count + 1 }
            : elements.reduce(0) { count, _ in count + 1 }
    }

    /// The text of a string, escapes undone; nil for others.
    public var stringBytes: [UInt8]? {
        guard kind == .string else { return nil }
        let bytes = document.bytes
        return document.tape.stringBytes(node, in: bytes.span)
    }

    /// The text of a string; nil for others.
    public var string: String? { stringBytes.map { String(decoding: $0, as: UTF8.self) } }

    /// A whole number that fits, `1e2` and `1.0` included; nil for others.
    public var int: Int? {
        guard kind == .number else { return nil }
        let bytes = document.bytes
        return JSONNumber.integer(bytes.span.extracting(range))
    }

    /// A number; nil for others.
    public var double: Double? {
        guard kind == .number else { return nil }
        return Double(String(decoding: document.bytes[range], as: UTF8.self))
    }

    /// `true` or `false`; nil for others.
    public var bool: Bool? {
        guard kind == .bool else { return nil }
        return document.bytes[range.lowerBound] == UInt8(ascii: "t")
    }

    /// Whether it is a string with exactly this text.
    public func equals(_ literal: StaticString) -> Bool {
        let bytes = document.bytes
        return document.tape.string(node, equals: literal, in: bytes.span)
    }

    /// Appends its text without insignificant white space: key order, numbers and escapes are kept.
    public func appendCompact(to text: inout [UInt8]) {
        let tape = document.tape
        let bytes = document.bytes
        var runStart = range.lowerBound
        var previousEnd = runStart
        text.append(addingCapacity: range.count) { output in
            // Between the tokens of a valid text there is only punctuation and white space.
            for index in node..<tape.next(after: node) {
                let token = tape.range(index)
                skipSpace(in: previousEnd..<token.lowerBound, bytes.span, &runStart, &output)
                let isContainer = tape.kind(index) == .object || tape.kind(index) == .array
                previousEnd = isContainer ? token.lowerBound + 1 : token.upperBound
            }
            skipSpace(in: previousEnd..<range.upperBound, bytes.span, &runStart, &output)
            output.append(span: bytes.span.extracting(runStart..<range.upperBound))
        }
    }

    /// Writes what comes before each white space of the gap; the next run begins behind it.
    private func skipSpace(
        in gap: Range<Int>, _ bytes: Span<UInt8>, _ runStart: inout Int,
        _ output: inout OutputSpan<UInt8>
    ) {
        for at in gap where bytes[at] <= 0x20 {
            output.append(span: bytes.extracting(runStart..<at))
            runStart = at + 1
        }
    }
}

/// The members of an object.
public struct JSONMembers: Sequence, IteratorProtocol, Sendable {
    private let document: JSONDocument
    private var key: Int
    private let end: Int

    init(_ value: JSONValue) {
        document = value.document
        key = value.node + 1
        end = value.kind == .object ? value.document.tape.next(after: value.node) : 0
    }

    /// The next member.
    public mutating func next() -> (key: JSONValue, value: JSONValue)? {
        guard key < end else { return nil }
        let pair = (
            key: JSONValue(document: document, node: key),
            value: JSONValue(document: document, node: key + 1)
        )
        key = document.tape.next(after: key + 1)
        return pair
    }
}

/// The elements of an array.
public struct JSONElements: Sequence, IteratorProtocol, Sendable {
    private let document: JSONDocument
    private var element: Int
    private let end: Int

    init(_ value: JSONValue) {
        document = value.document
        element = value.node + 1
        end = value.kind == .array ? value.document.tape.next(after: value.node) : 0
    }

    /// The next element.
    public mutating func next() -> JSONValue? {
        guard element < end else { return nil }
        defer { element = document.tape.next(after: element) }
        return JSONValue(document: document, node: element)
    }
}
