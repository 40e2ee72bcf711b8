import Primitives

/// An ordered list of header fields in one block of bytes, reusable without allocating again.
///
/// Names are kept in lower case (RFC 9110 section 5.1: they compare without case; HTTP/2 requires
/// it).
public struct HeaderFields: Sendable {
    private struct Field: Sendable {
        var nameStart: UInt32
        var valueStart: UInt32
        var valueEnd: UInt32
    }

    private var storage: [UInt8] = []
    private var fields: [Field] = []

    /// An empty list.
    public init() {}

    /// An empty list with room for what is usual, so that it does not grow field by field.
    public init(reservingFields count: Int, bytes: Int) {
        fields.reserveCapacity(count)
        storage.reserveCapacity(bytes)
    }

    /// How many fields there are.
    public var count: Int { fields.count }

    /// Removes all fields and keeps the memory.
    public mutating func removeAll() {
        guard !fields.isEmpty else { return }
        storage.removeAll(keepingCapacity: true)
        fields.removeAll(keepingCapacity: true)
    }

    /// How many bytes all names and values are.
    public var byteCount: Int { storage.count }

    /// Appends a field from the wire; the name is lower-cased.
    public mutating func append(name: Span<UInt8>, value: Span<UInt8>) {
        append(nameCount: name.count, valueCapacity: value.count) { output in
            for index in name.indices { output.append(name[index].asciiLowercased) }
        } value: { output in
            output.append(span: value)
        }
    }

    /// Appends a field whose name is in lower case already.
    mutating func append(lowercaseName name: Span<UInt8>, value: Span<UInt8>) {
        append(nameCount: name.count, valueCapacity: value.count) { output in
            output.append(span: name)
        } value: { output in
            output.append(span: value)
        }
    }

    /// Appends a field with a literal, lower-case name.
    public mutating func append(_ name: StaticString, _ value: StaticString) {
        append(name, capacity: value.utf8CodeUnitCount) { $0.append(value) }
    }

    /// Appends a field with a literal, lower-case name. The value must hold no CR, LF or NUL.
    public mutating func append(_ name: StaticString, _ value: [UInt8]) {
        append(name, capacity: value.count) { $0.append(span: value.span) }
    }

    /// Appends a field with a literal, lower-case name and a text value.
    public mutating func append(_ name: StaticString, text: String) {
        append(name, capacity: text.utf8.count) { $0.append(utf8: text) }
    }

    /// Appends a field with a literal, lower-case name and a decimal value.
    public mutating func append(_ name: StaticString, decimal: Int) {
        append(name, capacity: 20) { $0.append(decimal: decimal) }
    }

    /// Appends all fields of another list.
    public mutating func append(contentsOf other: borrowing HeaderFields) {
        for index in 0..<other.count {
            append(lowercaseName: other.name(at: index), value: other.value(at: index))
        }
    }

    /// Appends a configured field; the name is lower-cased.
    public mutating func append(name: String, value: [UInt8]) {
        append(name: Array(name.utf8).span, value: value.span)
    }

    /// The name of field `index`, in lower case.
    @_lifetime(borrow self)
    public func name(at index: Int) -> Span<UInt8> {
        let field = fields[index]
        return storage.span.extracting(Int(field.nameStart)..<Int(field.valueStart))
    }

    /// The value of field `index`.
    @_lifetime(borrow self)
    public func value(at index: Int) -> Span<UInt8> {
        let field = fields[index]
        return storage.span.extracting(Int(field.valueStart)..<Int(field.valueEnd))
    }

    /// The index of the first field of that name (lower-case), at or after `start`.
    public func index(of name: StaticString, from start: Int = 0) -> Int? {
        for index in start..<max(start, fields.count) {
            let field = fields[index]
            guard Int(field.valueStart - field.nameStart) == name.utf8CodeUnitCount else {
                continue
            }
            if self.name(at: index).equals(name) { return index }
        }
        return nil
    }

    /// A copy of the first value of that name (lower-case); nil when there is none.
    public func value(of name: StaticString) -> [UInt8]? {
        index(of: name).map { value(at: $0).array }
    }

    /// Calls `body` with the memory that holds all names and values.
    func withUnsafeBytes<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
        unsafe storage.withUnsafeBufferPointer { unsafe body($0) }
    }

    /// Where the name and the value of field `index` stand in that memory.
    func place(at index: Int) -> (name: Range<Int>, value: Range<Int>) {
        let field = fields[index]
        return (
            Int(field.nameStart)..<Int(field.valueStart),
            Int(field.valueStart)..<Int(field.valueEnd)
        )
    }

    /// Writes all fields as lines of HTTP/1; they take `byteCount` and four bytes each.
    func appendLines(to output: inout OutputSpan<UInt8>) {
        for index in 0..<fields.count {
            output.append(span: name(at: index))
            output.append(": ")
            output.append(span: value(at: index))
            output.append("\r\n")
        }
    }

    /// Appends a field with a literal, lower-case name and a value of at most `capacity` bytes.
    public mutating func append(
        _ name: StaticString, capacity: Int, value: (inout OutputSpan<UInt8>) -> Void
    ) {
        append(
            nameCount: name.utf8CodeUnitCount, valueCapacity: capacity,
            name: { $0.append(name) }, value: value)
    }

    @inline(__always)
    private mutating func append(
        nameCount: Int, valueCapacity: Int, name: (inout OutputSpan<UInt8>) -> Void,
        value: (inout OutputSpan<UInt8>) -> Void
    ) {
        let start = storage.count
        storage.append(addingCapacity: nameCount + valueCapacity) { output in
            name(&output)
            value(&output)
        }
        fields.append(
            Field(
                nameStart: UInt32(start), valueStart: UInt32(start + nameCount),
                valueEnd: UInt32(storage.count)))
    }
}
