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

    @usableFromInline
    struct Node: Sendable {
        @usableFromInline var kind: Kind
        /// The string has at least one escape.
        @usableFromInline var isEscaped = false
        @usableFromInline var start: UInt32
        @usableFromInline var end: UInt32
        /// The index behind this node's last descendant.
        @usableFromInline var next: UInt32
    }

    /// Room for nodes; the first `count` of them are the text.
    @usableFromInline private(set) var nodes: [Node] = []
    /// How many nodes the text has.
    public private(set) var count = 0

    /// An empty tape.
    public init() {}

    /// The same nodes, with room for no more.
    public func copy() -> JSONTape {
        var copy = JSONTape()
        copy.nodes = Array(nodes[..<count])
        copy.count = count
        return copy
    }

    /// Calls `body` with the range of each string of at least that length, keys included.
    @inlinable
    public func forEachString(ofAtLeast length: Int, _ body: (Range<Int>) -> Void) {
        for index in 0..<count {
            let node = nodes[index]
            guard node.kind == .string, Int(node.end - node.start) >= length else { continue }
            body(Int(node.start)..<Int(node.end))
        }
    }

    /// Reads a whole text; node 0 is its value.
    /// - Throws: where and why it is not JSON. The tape is empty then.
    public mutating func parse(_ bytes: Span<UInt8>) throws(JSONFailure) {
        count = 0
        guard bytes.count <= Limits.jsonBytes else {
            throw JSONFailure("the text is too long", at: 0, in: bytes)
        }
        if nodes.count > Limits.jsonIdleNodes { nodes = [] }
        // Enough for the usual answer at once; an embedding's numbers double it a few times.
        makeRoom(min(bytes.count / 16, Limits.jsonFirstNodes) + 8)
        var parser = JSONParser()
        while try !parse(bytes, &parser) { makeRoom(nodes.count * 2) }
        count = parser.count
    }

    /// All in one function: what the parser knows then stays in the processor's registers.
    @inline(__always)
    private mutating func parse(
        _ bytes: Span<UInt8>, _ parser: inout JSONParser
    ) throws(JSONFailure) -> Bool {
        var room = nodes.mutableSpan
        return try parser.run(bytes, &room)
    }

    private mutating func makeRoom(_ wanted: Int) {
        guard nodes.count < wanted else { return }
        let empty = Node(kind: .null, start: 0, end: 0, next: 0)
        let missing = wanted - nodes.count
        nodes.append(addingCapacity: missing) { $0.append(repeating: empty, count: missing) }
    }
}

// MARK: - Looking at a tape without a document

extension JSONTape {
    /// What node `index` is.
    @inlinable
    public func kind(_ index: Int) -> Kind { nodes[index].kind }

    /// Where node `index` lies in the text, quotes and brackets included.
    @inlinable
    public func range(_ index: Int) -> Range<Int> {
        Int(nodes[index].start)..<Int(nodes[index].end)
    }

    /// The index behind node `index` and all its descendants.
    @inlinable
    public func next(after index: Int) -> Int { Int(nodes[index].next) }

    /// Whether the tape holds a text whose value is an object.
    public var isObject: Bool { count > 0 && nodes[0].kind == .object }

    /// Whether the string node `index` has exactly this text, escapes undone.
    public func string(_ index: Int, equals literal: StaticString, in bytes: Span<UInt8>) -> Bool {
        let node = nodes[index]
        guard node.kind == .string else { return false }
        let content = bytes.extracting(Int(node.start) + 1..<Int(node.end) - 1)
        guard node.isEscaped else { return content.equals(literal) }
        return JSONEscape.unescaped(content).span.equals(literal)
    }

    /// The value of node `index` as a whole number that fits, `1e2` and `1.0` included; nil for
    /// others.
    public func integer(_ index: Int, in bytes: Span<UInt8>) -> Int? {
        kind(index) == .number ? JSONNumber.integer(bytes.extracting(range(index))) : nil
    }

    /// The text of node `index`, escapes undone; nil when it is no string.
    public func text(_ index: Int, in bytes: Span<UInt8>) -> String? {
        let node = nodes[index]
        guard node.kind == .string else { return nil }
        guard !node.isEscaped else {
            return String(decoding: stringBytes(index, in: bytes), as: UTF8.self)
        }
        return unsafe bytes.extracting(Int(node.start) + 1..<Int(node.end) - 1)
            .withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }

    /// The content of string node `index`, escapes undone.
    public func stringBytes(_ index: Int, in bytes: Span<UInt8>) -> [UInt8] {
        let node = nodes[index]
        let content = bytes.extracting(Int(node.start) + 1..<Int(node.end) - 1)
        return node.isEscaped ? JSONEscape.unescaped(content) : content.array
    }

    /// The content of string node `index`, escapes undone: it lies in the text, or in `unescaped`
    /// where it has escapes.
    @_lifetime(copy bytes, &unescaped)
    public func string(
        _ index: Int, in bytes: Span<UInt8>, _ unescaped: inout [UInt8]
    ) -> Span<UInt8> {
        let node = nodes[index]
        let content = bytes.extracting(Int(node.start) + 1..<Int(node.end) - 1)
        guard node.isEscaped else { return content }
        unescaped.removeAll(keepingCapacity: true)
        JSONEscape.unescape(content, to: &unescaped)
        return unescaped.span
    }

    /// Calls `body` with the name, escapes undone, and the value of each member of the object node
    /// `object`: who wants several does not look at every name for each.
    @inlinable
    @inline(__always)
    public func forEachMember<Failure: Error>(
        of object: Int = 0, in bytes: Span<UInt8>,
        _ body: (_ name: Span<UInt8>, _ value: Int) throws(Failure) -> Void
    ) throws(Failure) {
        guard object < count, nodes[object].kind == .object else { return }
        let end = Int(nodes[object].next)
        var key = object + 1
        while key < end {
            let node = nodes[key]
            let name = bytes.extracting(Int(node.start) + 1..<Int(node.end) - 1)
            if node.isEscaped {
                try body(stringBytes(key, in: bytes).span, key + 1)
            } else {
                try body(name, key + 1)
            }
            key = Int(nodes[key + 1].next)
        }
    }

    /// The value of the first member of that name in the object node `object`; nil when there is
    /// none.
    public func member(
        _ name: StaticString, of object: Int = 0, in bytes: Span<UInt8>
    ) -> Int? {
        guard object < count, nodes[object].kind == .object else { return nil }
        let end = Int(nodes[object].next)
        let length = name.utf8CodeUnitCount + 2
        var key = object + 1
        while key < end {
            let node = nodes[key]
            // Most are not even as long.
            if node.isEscaped || Int(node.end &- node.start) == length,
                string(key, equals: name, in: bytes)
            {
                return key + 1
            }
            key = Int(nodes[key + 1].next)
        }
        return nil
    }
}
