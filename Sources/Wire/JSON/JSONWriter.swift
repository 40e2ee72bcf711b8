import CSys
import Primitives

/// Writes JSON text into a byte array; commas come by themselves.
public struct JSONWriter: Sendable {
    /// What has been written.
    public var bytes: [UInt8] = []
    private var needsComma = false

    /// An empty text.
    public init() {}

    /// An empty text that will probably be that long.
    public init(reservingBytes count: Int) { bytes.reserveCapacity(count) }

    /// Begins another text behind what has been written.
    public mutating func beginDocument() { needsComma = false }

    /// `{`
    public mutating func beginObject() { open(UInt8(ascii: "{")) }

    /// `}`
    public mutating func endObject() { close(UInt8(ascii: "}")) }

    /// `[`
    public mutating func beginArray() { open(UInt8(ascii: "[")) }

    /// `]`
    public mutating func endArray() { close(UInt8(ascii: "]")) }

    /// A key that needs no escapes.
    public mutating func key(_ name: StaticString) {
        bytes.append(addingCapacity: name.utf8CodeUnitCount + 4) { output in
            if needsComma { output.append(",") }
            output.append("\"")
            output.append(name)
            output.append("\":")
        }
        needsComma = false
    }

    /// A key with any text.
    public mutating func key(bytes name: [UInt8]) {
        separate()
        appendQuoted(name.span)
        endKey()
    }

    /// A key with any text.
    public mutating func key(text name: String) { key(bytes: Array(name.utf8)) }

    /// A string that needs no escapes.
    public mutating func string(_ literal: StaticString) {
        bytes.append(addingCapacity: literal.utf8CodeUnitCount + 3) { output in
            if needsComma { output.append(",") }
            output.append("\"")
            output.append(literal)
            output.append("\"")
        }
        needsComma = true
    }

    /// A string with any text.
    public mutating func string(text: String) {
        var text = text
        text.withUTF8 { unsafe string(span: $0.span) }
    }

    /// A string for a line that people read: what could steer their terminal is escaped, too.
    public mutating func string(printable text: String) {
        let isPlain = text.utf8.allSatisfy { (0x20..<0x7f).contains($0) }
        guard !isPlain, text.unicodeScalars.contains(where: PrintableText.isUnsafe) else {
            return string(text: text)
        }
        separate()
        bytes.append(UInt8(ascii: "\""))
        for scalar in text.unicodeScalars {
            if scalar.value >= 0x7f, PrintableText.isUnsafe(scalar) {
                bytes.append("\\u")
                bytes.append(hexadecimal: UInt8(truncatingIfNeeded: scalar.value >> 8))
                bytes.append(hexadecimal: UInt8(truncatingIfNeeded: scalar.value))
            } else {
                appendEscaped(Array(String(scalar).utf8).span)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// A string with any UTF-8 text.
    public mutating func string(bytes text: [UInt8]) { string(span: text.span) }

    /// A string with any UTF-8 text.
    public mutating func string(span text: Span<UInt8>) {
        separate()
        appendQuoted(text)
    }

    /// A whole number.
    public mutating func integer(_ number: Int) { integer(Int64(number)) }

    /// A whole number.
    public mutating func integer(_ number: Int64) {
        separate()
        bytes.append(decimal: number)
    }

    /// A number; NaN and infinities, which JSON has not, become `null`.
    public mutating func double(_ number: Double) {
        separate()
        if number.isFinite {
            bytes.append(utf8: number.description)
        } else {
            bytes.append("null")
        }
    }

    /// `true` or `false`.
    public mutating func bool(_ value: Bool) {
        separate()
        bytes.append(value ? "true" : "false")
    }

    /// `null`.
    public mutating func null() {
        separate()
        bytes.append("null")
    }

    /// A value of another text, without its insignificant white space.
    public mutating func value(_ value: JSONValue) {
        separate()
        value.appendCompact(to: &bytes)
    }

    /// A whole value that is JSON already.
    public mutating func raw(_ json: [UInt8]) {
        separate()
        bytes.append(contentsOf: json)
    }

    private mutating func open(_ bracket: UInt8) {
        separate()
        bytes.append(bracket)
        needsComma = false
    }

    private mutating func close(_ bracket: UInt8) {
        bytes.append(bracket)
        needsComma = true
    }

    private mutating func endKey() {
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
    }

    private mutating func appendQuoted(_ text: Span<UInt8>) {
        guard Self.isPlain(text) else {
            bytes.append(UInt8(ascii: "\""))
            appendEscaped(text)
            return bytes.append(UInt8(ascii: "\""))
        }
        bytes.append(addingCapacity: text.count + 2) { output in
            output.append("\"")
            output.append(span: text)
            output.append("\"")
        }
    }

    /// Whether a text needs no escapes.
    public static func isPlain(_ text: Span<UInt8>) -> Bool {
        text.stringRun(from: 0).end == text.count
    }

    /// Escapes what RFC 8259 section 7 demands and nothing more: non-ASCII text stays as it is.
    private mutating func appendEscaped(_ text: Span<UInt8>) {
        var start = 0
        while true {
            let end = text.stringRun(from: start).end
            bytes.append(span: text.extracting(start..<end))
            guard end < text.count else { return }
            appendEscape(text[end])
            start = end + 1
        }
    }

    private mutating func appendEscape(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): bytes.append("\\\"")
        case UInt8(ascii: "\\"): bytes.append("\\\\")
        case 0x0a: bytes.append("\\n")
        case 0x0d: bytes.append("\\r")
        case 0x09: bytes.append("\\t")
        case 0x08: bytes.append("\\b")
        case 0x0c: bytes.append("\\f")
        default:
            bytes.append("\\u00")
            bytes.append(hexadecimal: byte)
        }
    }
}
