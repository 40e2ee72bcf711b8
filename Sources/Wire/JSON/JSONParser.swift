import CSys
import Primitives

/// Reads a JSON text into nodes; when there is no room for more, it can go on with more room.
struct JSONParser {
    private enum Expectation { case value, firstElement, firstKey, key, colon, commaOrEnd, nothing }

    /// How many nodes there are.
    private(set) var count = 0
    private var at = 0
    private var expected = Expectation.value
    /// The innermost container that is open, and what it is. While a container is open, its `next`
    /// is the one around it.
    private var container: UInt32 = 0
    private var isInObject = false
    private var depth = 0

    /// Reads on to the end of the text. False: `nodes` is full.
    mutating func run(
        _ bytes: Span<UInt8>, _ nodes: inout MutableSpan<JSONTape.Node>
    ) throws(JSONFailure) -> Bool {
        while true {
            while at < bytes.count, Self.isSpace(bytes[at]) { at += 1 }
            if expected == .nothing {
                if at == bytes.count { return true }
                throw JSONFailure("unexpected text after the end", at: at, in: bytes)
            }
            guard at < bytes.count else {
                throw JSONFailure("unexpected end of the text", at: at, in: bytes)
            }
            // No step makes more than one.
            guard count < nodes.count else { return false }
            let byte = bytes[at]
            switch expected {
            case .firstKey where byte == UInt8(ascii: "}"),
                .firstElement where byte == UInt8(ascii: "]"):
                close(bytes, &nodes)
            case .firstKey, .key:
                guard byte == UInt8(ascii: "\"") else {
                    throw JSONFailure("expected a string as key", at: at, in: bytes)
                }
                try readString(bytes, &nodes)
                expected = skip(UInt8(ascii: ":"), bytes) ? .value : .colon
            case .colon:
                guard byte == UInt8(ascii: ":") else {
                    throw JSONFailure("expected ':'", at: at, in: bytes)
                }
                at += 1
                expected = .value
            case .commaOrEnd: try readSeparator(byte, bytes, &nodes)
            case .value, .firstElement: try readValue(byte, bytes, &nodes)
            case .nothing: return true
            }
        }
    }

    /// Usually the next token follows at once: then it needs no step of its own.
    @inline(__always)
    private mutating func skip(_ byte: UInt8, _ bytes: Span<UInt8>) -> Bool {
        guard at < bytes.count, bytes[at] == byte else { return false }
        at += 1
        return true
    }

    /// What follows a value; a comma is skipped.
    @inline(__always)
    private mutating func expectMore(_ bytes: Span<UInt8>) {
        if depth == 0 {
            expected = .nothing
        } else if skip(UInt8(ascii: ","), bytes) {
            expected = isInObject ? .key : .value
        } else {
            expected = .commaOrEnd
        }
    }

    /// After a value: a comma leads to the next key or value, the right bracket to the end.
    @inline(__always)
    private mutating func readSeparator(
        _ byte: UInt8, _ bytes: Span<UInt8>, _ nodes: inout MutableSpan<JSONTape.Node>
    ) throws(JSONFailure) {
        if byte == UInt8(ascii: ",") {
            at += 1
            expected = isInObject ? .key : .value
        } else if byte == (isInObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) {
            close(bytes, &nodes)
        } else {
            throw JSONFailure(
                isInObject ? "expected ',' or '}'" : "expected ',' or ']'", at: at, in: bytes)
        }
    }

    @inline(__always)
    private mutating func readValue(
        _ byte: UInt8, _ bytes: Span<UInt8>, _ nodes: inout MutableSpan<JSONTape.Node>
    ) throws(JSONFailure) {
        switch byte {
        case UInt8(ascii: "{"):
            try open(.object, bytes, &nodes)
            return expected = .firstKey
        case UInt8(ascii: "["):
            try open(.array, bytes, &nodes)
            return expected = .firstElement
        case UInt8(ascii: "\""): try readString(bytes, &nodes)
        case UInt8(ascii: "t"): try read("true", .bool, bytes, &nodes)
        case UInt8(ascii: "f"): try read("false", .bool, bytes, &nodes)
        case UInt8(ascii: "n"): try read("null", .null, bytes, &nodes)
        default:
            guard let end = JSONNumber.end(bytes, from: at) else {
                throw JSONFailure("expected a value", at: at, in: bytes)
            }
            append(.number, to: end, &nodes)
        }
        expectMore(bytes)
    }

    private mutating func open(
        _ kind: JSONTape.Kind, _ bytes: Span<UInt8>, _ nodes: inout MutableSpan<JSONTape.Node>
    ) throws(JSONFailure) {
        guard depth < Limits.jsonDepth else {
            throw JSONFailure("nested too deeply", at: at, in: bytes)
        }
        let around = container
        container = UInt32(count)
        append(kind, to: at + 1, &nodes)
        nodes[count - 1].next = around
        isInObject = kind == .object
        depth += 1
    }

    @inline(__always)
    private mutating func close(
        _ bytes: Span<UInt8>, _ nodes: inout MutableSpan<JSONTape.Node>
    ) {
        at += 1
        let index = Int(container)
        container = nodes[index].next
        nodes[index].end = UInt32(at)
        nodes[index].next = UInt32(count)
        depth -= 1
        isInObject = depth > 0 && nodes[Int(container)].kind == .object
        expectMore(bytes)
    }

    /// A node from here to `end`.
    @inline(__always)
    private mutating func append(
        _ kind: JSONTape.Kind, isEscaped: Bool = false, to end: Int,
        _ nodes: inout MutableSpan<JSONTape.Node>
    ) {
        nodes[count] = JSONTape.Node(
            kind: kind, isEscaped: isEscaped, start: UInt32(at), end: UInt32(end),
            next: UInt32(count + 1))
        count += 1
        at = end
    }

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

    @inline(__always)
    private mutating func readString(
        _ bytes: Span<UInt8>, _ nodes: inout MutableSpan<JSONTape.Node>
    ) throws(JSONFailure) {
        var end = at + 1
        var isEscaped = false
        var isASCII = true
        while true {
            let run = unsafe bytes.withUnsafeBufferPointer { buffer in
                unsafe csys_string_run_at(buffer.baseAddress, end, buffer.count)
            }
            end = run.end
            isASCII = isASCII && run.beyond_ascii == 0
            guard end < bytes.count else {
                throw JSONFailure("unterminated string", at: at, in: bytes)
            }
            if bytes[end] == UInt8(ascii: "\"") { break }
            guard bytes[end] == UInt8(ascii: "\\") else {
                throw JSONFailure("control character in a string", at: end, in: bytes)
            }
            isEscaped = true
            guard let next = JSONEscape.end(bytes, from: end) else {
                throw JSONFailure("invalid escape", at: end, in: bytes)
            }
            end = next
        }
        // Outside of strings nothing but ASCII is JSON.
        if !isASCII, let offset = UTF8Check.firstInvalidOffset(bytes.extracting(at..<end)) {
            throw JSONFailure("invalid UTF-8", at: at + offset, in: bytes)
        }
        append(.string, isEscaped: isEscaped, to: end + 1, &nodes)
    }

    @inline(__always)
    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09
    }
}
