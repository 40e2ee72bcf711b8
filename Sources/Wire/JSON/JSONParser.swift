import CSys
import Primitives

/// Reads a JSON text into nodes; when there is no room for more, it can go on with more room.
struct JSONParser {
    private enum Expectation {
        /// The first key of an object, or its end.
        case firstKey
        /// Another key.
        case key
        /// The first element of an array, or its end.
        case firstElement
        /// Another element, the value of a key, or the text's.
        case value
        /// The end of the text.
        case nothing
    }

    /// How many nodes there are.
    private(set) var count = 0
    /// What cannot be negative need not be checked for that with each byte.
    private var offset: UInt32 = 0
    private var at: Int {
        get { Int(offset) }
        set { offset = UInt32(truncatingIfNeeded: newValue) }
    }
    private var expected = Expectation.value
    /// The innermost container that is open, and what it is. While a container is open, its `next`
    /// is the one around it.
    private var container: UInt32 = 0
    private var isInObject = false
    private var depth = 0

    /// Reads on to the end of the text. False: `nodes` is full.
    @inline(__always)
    mutating func run(
        _ bytes: Span<UInt8>, _ nodes: inout MutableSpan<JSONTape.Node>
    ) throws(JSONFailure) -> Bool {
        while expected != .nothing {
            guard count < nodes.count else { return false }
            try step(bytes, &nodes)
        }
        skipSpace(bytes)
        guard at == bytes.count else {
            throw JSONFailure("unexpected text after the end", at: at, in: bytes)
        }
        return true
    }

    /// Reads a key with its colon, or an element and what ends there, or the beginning of a
    /// container.
    @inline(__always)
    private mutating func step(
        _ bytes: Span<UInt8>, _ nodes: inout MutableSpan<JSONTape.Node>
    ) throws(JSONFailure) {
        let byte = try nextByte(bytes)
        if byte == UInt8(ascii: "\"") {
            try readString(bytes, &nodes)
            guard expected == .key || expected == .firstKey else { return try end(bytes, &nodes) }
            guard try nextByte(bytes) == UInt8(ascii: ":") else {
                throw JSONFailure("expected ':'", at: at, in: bytes)
            }
            at += 1
            return expected = .value
        }
        switch expected {
        case .firstKey where byte == UInt8(ascii: "}"): return try end(bytes, &nodes)
        case .firstElement where byte == UInt8(ascii: "]"): return try end(bytes, &nodes)
        case .firstKey, .key: throw JSONFailure("expected a string as key", at: at, in: bytes)
        case .firstElement, .value, .nothing: break
        }
        switch byte {
        case UInt8(ascii: "{"): return try open(.object, bytes, &nodes)
        case UInt8(ascii: "["): return try open(.array, bytes, &nodes)
        case UInt8(ascii: "t"): try read("true", .bool, bytes, &nodes)
        case UInt8(ascii: "f"): try read("false", .bool, bytes, &nodes)
        case UInt8(ascii: "n"): try read("null", .null, bytes, &nodes)
        default:
            guard let end = JSONNumber.end(bytes, from: at) else {
                throw JSONFailure("expected a value", at: at, in: bytes)
            }
            append(.number, to: end, &nodes)
        }
        try end(bytes, &nodes)
    }

    /// Behind a value: a comma leads to the next one, brackets end what they belong to.
    @inline(__always)
    private mutating func end(
        _ bytes: Span<UInt8>, _ nodes: inout MutableSpan<JSONTape.Node>
    ) throws(JSONFailure) {
        while depth > 0 {
            let byte = try nextByte(bytes)
            if byte == UInt8(ascii: ",") {
                at += 1
                return expected = isInObject ? .key : .value
            }
            guard byte == (isInObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else {
                throw JSONFailure(
                    isInObject ? "expected ',' or '}'" : "expected ',' or ']'", at: at, in: bytes)
            }
            close(&nodes)
        }
        expected = .nothing
    }

    @inline(__always)
    private mutating func open(
        _ kind: JSONTape.Kind, _ bytes: Span<UInt8>, _ nodes: inout MutableSpan<JSONTape.Node>
    ) throws(JSONFailure) {
        guard depth < Limits.jsonDepth else {
            throw JSONFailure("nested too deeply", at: at, in: bytes)
        }
        let around = container
        container = UInt32(truncatingIfNeeded: count)
        append(kind, to: at + 1, &nodes)
        nodes[count - 1].next = around
        isInObject = kind == .object
        depth += 1
        expected = isInObject ? .firstKey : .firstElement
    }

    @inline(__always)
    private mutating func close(_ nodes: inout MutableSpan<JSONTape.Node>) {
        at += 1
        let index = Int(container)
        container = nodes[index].next
        nodes[index].end = UInt32(truncatingIfNeeded: at)
        nodes[index].next = UInt32(truncatingIfNeeded: count)
        depth -= 1
        isInObject = depth > 0 && nodes[Int(container)].kind == .object
    }

    /// A node from here to `end`. `Limits.jsonBytes` has been held against the text: all offsets
    /// fit.
    @inline(__always)
    private mutating func append(
        _ kind: JSONTape.Kind, isEscaped: Bool = false, to end: Int,
        _ nodes: inout MutableSpan<JSONTape.Node>
    ) {
        nodes[count] = JSONTape.Node(
            kind: kind, isEscaped: isEscaped, start: UInt32(truncatingIfNeeded: at),
            end: UInt32(truncatingIfNeeded: end), next: UInt32(truncatingIfNeeded: count + 1))
        count += 1
        at = end
    }

    @inline(__always)
    private mutating func read(
        _ literal: StaticString, _ kind: JSONTape.Kind, _ bytes: Span<UInt8>,
        _ nodes: inout MutableSpan<JSONTape.Node>
    ) throws(JSONFailure) {
        let end = at + literal.utf8CodeUnitCount
        guard end <= bytes.count, bytes.extracting(at..<end).equals(literal) else {
            throw JSONFailure("expected a value", at: at, in: bytes)
        }
        append(kind, to: end, &nodes)
    }

    /// Most strings are ASCII without escapes, and end where their first quote is.
    @inline(__always)
    private mutating func readString(
        _ bytes: Span<UInt8>, _ nodes: inout MutableSpan<JSONTape.Node>
    ) throws(JSONFailure) {
        let run = bytes.stringRun(from: at + 1)
        guard run.end < bytes.count, bytes[run.end] == UInt8(ascii: "\""), run.beyond_ascii == 0
        else {
            let string = try Self.string(bytes, from: at, beginningWith: run)
            return append(.string, isEscaped: string.isEscaped, to: string.end, &nodes)
        }
        append(.string, to: run.end + 1, &nodes)
    }

    /// Where the string from `start` ends, and whether it has escapes.
    @inline(never)
    private static func string(
        _ bytes: Span<UInt8>, from start: Int, beginningWith first: csys_string_run
    ) throws(JSONFailure) -> (end: Int, isEscaped: Bool) {
        var end = first.end
        var isASCII = first.beyond_ascii == 0
        var isEscaped = false
        while true {
            guard end < bytes.count else {
                throw JSONFailure("unterminated string", at: start, in: bytes)
            }
            if bytes[end] == UInt8(ascii: "\"") { break }
            guard bytes[end] == UInt8(ascii: "\\") else {
                throw JSONFailure("control character in a string", at: end, in: bytes)
            }
            isEscaped = true
            guard let next = JSONEscape.end(bytes, from: end) else {
                throw JSONFailure("invalid escape", at: end, in: bytes)
            }
            let run = bytes.stringRun(from: next)
            end = run.end
            isASCII = isASCII && run.beyond_ascii == 0
        }
        // Outside of strings nothing but ASCII is JSON.
        if !isASCII, let offset = UTF8Check.firstInvalidOffset(bytes.extracting(start..<end)) {
            throw JSONFailure("invalid UTF-8", at: start + offset, in: bytes)
        }
        return (end + 1, isEscaped)
    }

    /// The byte behind white space.
    @inline(__always)
    private mutating func nextByte(_ bytes: Span<UInt8>) throws(JSONFailure) -> UInt8 {
        skipSpace(bytes)
        guard at < bytes.count else {
            throw JSONFailure("unexpected end of the text", at: at, in: bytes)
        }
        return bytes[at]
    }

    @inline(__always)
    private mutating func skipSpace(_ bytes: Span<UInt8>) {
        while at < bytes.count, bytes[at] <= 0x20, Self.isSpace(bytes[at]) { at += 1 }
    }

    @inline(__always)
    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09
    }
}
