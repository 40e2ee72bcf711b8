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

    /// How many fields there are.
    public var count: Int { fields.count }

    /// Removes all fields and keeps the memory.
    public mutating func removeAll() {
        storage.removeAll(keepingCapacity: true)
        fields.removeAll(keepingCapacity: true)
    }

    /// Appends a field from the wire; the name is lower-cased.
    public mutating func append(name: Span<UInt8>, value: Span<UInt8>) {
        let start = storage.count
        storage.append(span: name)
        for index in start..<storage.count { storage[index] = storage[index].asciiLowercased }
        finish(nameStart: start) { $0.append(span: value) }
    }

    /// Appends a field with a literal, lower-case name.
    public mutating func append(_ name: StaticString, _ value: StaticString) {
        let start = begin(name)
        finish(nameStart: start) { $0.append(value) }
    }

    /// Appends a field with a literal, lower-case name. The value must hold no CR, LF or NUL.
    public mutating func append(_ name: StaticString, _ value: [UInt8]) {
        let start = begin(name)
        finish(nameStart: start) { $0.append(contentsOf: value) }
    }

    /// Appends a field with a literal, lower-case name and a text value.
    public mutating func append(_ name: StaticString, text: String) {
        let start = begin(name)
        finish(nameStart: start) { $0.append(utf8: text) }
    }

    /// Appends a field with a literal, lower-case name and a decimal value.
    public mutating func append(_ name: StaticString, decimal: Int) {
        let start = begin(name)
        finish(nameStart: start) { $0.append(decimal: decimal) }
    }

    /// Appends all fields of another list.
    public mutating func append(contentsOf other: borrowing HeaderFields) {
        for index in 0..<other.count {
            append(name: other.name(at: index), value: other.value(at: index))
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
        var index = start
        while index < fields.count {
            if self.name(at: index).equals(name) { return index }
            index += 1
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

    private mutating func begin(_ name: StaticString) -> Int {
        let start = storage.count
        storage.append(name)
        return start
    }

    private mutating func finish(nameStart: Int, appendValue: (inout [UInt8]) -> Void) {
        let valueStart = storage.count
        appendValue(&storage)
        fields.append(
            Field(
                nameStart: UInt32(nameStart), valueStart: UInt32(valueStart),
                valueEnd: UInt32(storage.count)))
    }
}
