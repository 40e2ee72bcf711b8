import CSys
import Primitives

/// A validated JSON text as a flat list of nodes in the order of the text, reused between texts.
///
/// Nodes are 16 bytes and refer to the text by range, so parsing copies nothing. Iterative and
/// depth-limited (`Limits.jsonDepth`): no input can overflow the stack.
public struct JSONTape: Sendable {
    /// What a node is.
    public enum Kind: UInt8, Sendable {
        /// Children are key, value, key, value, …
        case object
        /// Children are the elements.
        case array
        /// The range includes the quotes.
        case string
        /// As RFC 8259 section 6 writes it.
        case number
        /// `true` or `false`.
        case bool
        /// `null`.
        case null
    }

    struct Node: Sendable {
        var kind: Kind
        /// The string has at least one escape.
        var isEscaped = false
        var start: UInt32
        var end: UInt32
        /// The index behind this node's last descendant.
        var next: UInt32
    }

    private enum Expectation { case value, firstElement, firstKey, key, colon, commaOrEnd, nothing }

    private(set) var nodes: [Node] = []
    private var open: [UInt32] = []

    /// An empty tape.
    public init() {}

    /// Calls `body` with the range of each string of at least that length, keys included.
    public func forEachString(ofAtLeast count: Int, _ body: (Range<Int>) -> Void) {
        for node in nodes where node.kind == .string && Int(node.end - node.start) >= count {
            body(Int(node.start)..<Int(node.end))
        }
    }

    /// Reads a whole text; node 0 is its value.
    /// - Throws: where and why it is not JSON. The tape is empty then.
    public mutating func parse(_ bytes: Span<UInt8>) throws(JSONFailure) {
        nodes.removeAll(keepingCapacity: true)
        open.removeAll(keepingCapacity: true)
        guard bytes.count <= Limits.jsonBytes else {
            throw JSONFailure("the text is too long", at: 0, in: bytes)
        }
        // Enough for the usual answer at once; an embedding's numbers double it a few times.
        nodes.reserveCapacity(min(bytes.count / 16, Limits.jsonFirstNodes))
        if let offset = UTF8Check.firstInvalidOffset(bytes) {
            throw JSONFailure("invalid UTF-8", at: offset, in: bytes)
        }
        do throws(JSONFailure) {
            try parseValue(bytes)
        } catch {
            nodes.removeAll(keepingCapacity: true)
            throw error
        }
    }

    private mutating func parseValue(_ bytes: Span<UInt8>) throws(JSONFailure) {
        var at = 0
        var expected = Expectation.value
        while true {
            while at < bytes.count, Self.isSpace(bytes[at]) { at += 1 }
            if expected == .nothing {
                if at == bytes.count { return }
                throw JSONFailure("unexpected text after the end", at: at, in: bytes)
            }
            guard at < bytes.count else {
                throw JSONFailure("unexpected end of the text", at: at, in: bytes)
            }
            let byte = bytes[at]
            switch expected {
            case .firstKey where byte == UInt8(ascii: "}"),
                .firstElement where byte == UInt8(ascii: "]"):
                at += 1
                expected = close(endingAt: at)
            case .firstKey, .key:
                guard byte == UInt8(ascii: "\"") else {
                    throw JSONFailure("expected a string as key", at: at, in: bytes)
                }
                at = try appendString(bytes, from: at)
                expected = .colon
            case .colon:
                guard byte == UInt8(ascii: ":") else {
                    throw JSONFailure("expected ':'", at: at, in: bytes)
                }
                at += 1
                expected = .value
            case .commaOrEnd:
                expected = try separator(byte, at: at, in: bytes)
                at += 1
                if expected == .commaOrEnd { expected = close(endingAt: at) }
            case .value, .firstElement:
                (at, expected) = try appendValue(bytes, from: at)
            case .nothing: return
            }
        }
    }

    /// After a value: `,` leads to the next key or value, the right bracket to the end
    /// (`commaOrEnd`).
    private func separator(
        _ byte: UInt8, at offset: Int, in bytes: Span<UInt8>
    ) throws(JSONFailure) -> Expectation {
        let isObject = nodes[Int(open[open.count - 1])].kind == .object
        if byte == UInt8(ascii: ",") { return isObject ? .key : .value }
        if byte == (isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) { return .commaOrEnd }
        throw JSONFailure(
            isObject ? "expected ',' or '}'" : "expected ',' or ']'", at: offset, in: bytes)
    }

    private mutating func appendValue(
        _ bytes: Span<UInt8>, from at: Int
    ) throws(JSONFailure) -> (Int, Expectation) {
        switch bytes[at] {
        case UInt8(ascii: "{"):
            try openContainer(.object, at: at, in: bytes)
            return (at + 1, .firstKey)
        case UInt8(ascii: "["):
            try openContainer(.array, at: at, in: bytes)
            return (at + 1, .firstElement)
        case UInt8(ascii: "\""): return (try appendString(bytes, from: at), afterValue)
        case UInt8(ascii: "t"):
            return (try appendLiteral("true", .bool, bytes, from: at), afterValue)
        case UInt8(ascii: "f"):
            return (try appendLiteral("false", .bool, bytes, from: at), afterValue)
        case UInt8(ascii: "n"):
            return (try appendLiteral("null", .null, bytes, from: at), afterValue)
        default:
            guard let end = JSONNumber.end(bytes, from: at) else {
                throw JSONFailure("expected a value", at: at, in: bytes)
            }
            append(.number, from: at, to: end)
            return (end, afterValue)
        }
    }

    private var afterValue: Expectation { open.isEmpty ? .nothing : .commaOrEnd }

    private mutating func openContainer(
        _ kind: Kind, at offset: Int, in bytes: Span<UInt8>
    ) throws(JSONFailure) {
        guard open.count < Limits.jsonDepth else {
            throw JSONFailure("nested too deeply", at: offset, in: bytes)
        }
        open.append(UInt32(nodes.count))
        append(kind, from: offset, to: offset)
    }

    private mutating func close(endingAt end: Int) -> Expectation {
        let index = Int(open.removeLast())
        nodes[index].end = UInt32(end)
        nodes[index].next = UInt32(nodes.count)
        return afterValue
    }

    private mutating func append(_ kind: Kind, from start: Int, to end: Int) {
        nodes.append(
            Node(
                kind: kind, start: UInt32(start), end: UInt32(end), next: UInt32(nodes.count + 1)))
    }

    private mutating func appendLiteral(
        _ literal: StaticString, _ kind: Kind, _ bytes: Span<UInt8>, from at: Int
    ) throws(JSONFailure) -> Int {
        let end = at + literal.utf8CodeUnitCount
        guard end <= bytes.count, bytes.extracting(at..<end).equals(literal) else {
            throw JSONFailure("expected a value", at: at, in: bytes)
        }
        append(kind, from: at, to: end)
        return end
    }

    private mutating func appendString(
        _ bytes: Span<UInt8>, from quote: Int
    ) throws(JSONFailure) -> Int {
        var at = quote + 1
        var isEscaped = false
        while true {
            at = unsafe bytes.withUnsafeBufferPointer { buffer in
                unsafe csys_string_end(buffer.baseAddress, at, buffer.count)
            }
            guard at < bytes.count else {
                throw JSONFailure("unterminated string", at: quote, in: bytes)
            }
            if bytes[at] == UInt8(ascii: "\"") { break }
            guard bytes[at] == UInt8(ascii: "\\") else {
                throw JSONFailure("control character in a string", at: at, in: bytes)
            }
            isEscaped = true
            guard let end = JSONEscape.end(bytes, from: at) else {
                throw JSONFailure("invalid escape", at: at, in: bytes)
            }
            at = end
        }
        append(.string, from: quote, to: at + 1)
        nodes[nodes.count - 1].isEscaped = isEscaped
        return at + 1
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09
    }
}

// MARK: - Looking at a tape without a document

extension JSONTape {
    /// What node `index` is.
    public func kind(_ index: Int) -> Kind { nodes[index].kind }

    /// Where node `index` lies in the text, quotes and brackets included.
    public func range(_ index: Int) -> Range<Int> {
        Int(nodes[index].start)..<Int(nodes[index].end)
    }

    /// The index behind node `index` and all its descendants.
    public func next(after index: Int) -> Int { Int(nodes[index].next) }

    /// Whether the tape holds a text whose value is an object.
    public var isObject: Bool { nodes.first?.kind == .object }

    /// Whether the string node `index` has exactly this text, escapes undone.
    public func string(_ index: Int, equals literal: StaticString, in bytes: Span<UInt8>) -> Bool {
        let node = nodes[index]
        guard node.kind == .string else { return false }
        let content = bytes.extracting(Int(node.start) + 1..<Int(node.end) - 1)
        guard node.isEscaped else { return content.equals(literal) }
        return JSONEscape.unescaped(content).span.equals(literal)
    }

    /// The content of string node `index`, escapes undone.
    public func stringBytes(_ index: Int, in bytes: Span<UInt8>) -> [UInt8] {
        let node = nodes[index]
        let content = bytes.extracting(Int(node.start) + 1..<Int(node.end) - 1)
        return node.isEscaped ? JSONEscape.unescaped(content) : content.array
    }

    /// The value of the first member of that name in the object node `object`; nil when there is
    /// none.
    public func member(
        _ name: StaticString, of object: Int = 0, in bytes: Span<UInt8>
    ) -> Int? {
        guard object < nodes.count, nodes[object].kind == .object else { return nil }
        let end = Int(nodes[object].next)
        var key = object + 1
        while key < end {
            if string(key, equals: name, in: bytes) { return key + 1 }
            key = Int(nodes[key + 1].next)
        }
        return nil
    }
}
