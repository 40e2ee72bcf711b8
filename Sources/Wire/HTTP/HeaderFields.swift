import Primitives

/// An ordered list of header fields in one block of bytes, reusable without allocating again.
///
/// Names are kept in lower case (RFC 9110 section 5.1: they compare without case; HTTP/2 requires
/// it). The block holds the lines of HTTP/1: a head is read and written in one piece.
public struct HeaderFields: Sendable {
    private struct Field: Sendable {
        var nameStart: UInt32
        var nameEnd: UInt32
        var valueStart: UInt32
        var valueEnd: UInt32

        init(name: Range<Int>, value: Range<Int>) {
            nameStart = UInt32(truncatingIfNeeded: name.lowerBound)
            nameEnd = UInt32(truncatingIfNeeded: name.upperBound)
            valueStart = UInt32(truncatingIfNeeded: value.lowerBound)
            valueEnd = UInt32(truncatingIfNeeded: value.upperBound)
        }

        var name: Range<Int> { Int(nameStart)..<Int(nameEnd) }
        var value: Range<Int> { Int(valueStart)..<Int(valueEnd) }

        /// The same in a block where its line begins so many bytes later.
        func moved(by distance: UInt32) -> Field {
            var moved = self
            moved.nameStart += distance
            moved.nameEnd += distance
            moved.valueStart += distance
            moved.valueEnd += distance
            return moved
        }
    }

    /// A line for each field, with its CRLF.
    private var lines: [UInt8] = []
    private var fields: [Field] = []

    /// An empty list.
    public init() {}

    /// An empty list with room for what is usual, so that it does not grow field by field.
    public init(reservingFields count: Int, bytes: Int) {
        fields.reserveCapacity(count)
        lines.reserveCapacity(bytes)
    }

    /// How many fields there are.
    public var count: Int { fields.count }

    /// Removes all fields and keeps the memory.
    public mutating func removeAll() {
        guard !fields.isEmpty else { return }
        lines.removeAll(keepingCapacity: true)
        fields.removeAll(keepingCapacity: true)
    }

    /// How many bytes the fields take as lines of HTTP/1.
    var lineBytes: Int { lines.count }

    /// Appends the fields of `section`, lines that all end with CRLF (RFC 9112 section 5).
    /// - Throws: 400 for anything that is not a field line; 431 for more than `maximumCount`
    ///   fields. The list is of no use then.
    mutating func append(section: Span<UInt8>, maximumCount: Int) throws(HTTPFailure) {
        var position = lines.count
        var lines: [UInt8] = []
        swap(&lines, &self.lines)
        defer { swap(&lines, &self.lines) }
        lines.append(span: section)
        var copy = lines.mutableSpan
        while position < copy.count {
            let line = try FieldLine(&copy, &position)
            guard fields.count < maximumCount else {
                throw HTTPFailure(status: 431, reason: "There are too many header fields.")
            }
            fields.append(Field(name: line.name, value: line.value))
        }
    }

    /// Appends a field; the name is lower-cased.
    public mutating func append(name: Span<UInt8>, value: Span<UInt8>) {
        let lowercased = name.array.map(\.asciiLowercased)
        append(lowercaseName: lowercased.span, value: value)
    }

    /// Appends a field whose name is in lower case already.
    mutating func append(lowercaseName name: Span<UInt8>, value: Span<UInt8>) {
        let start = lines.count
        lines.append(addingCapacity: name.count + value.count + 4) { output in
            output.append(span: name)
            output.append(": ")
            output.append(span: value)
            output.append("\r\n")
        }
        addField(at: start, nameCount: name.count)
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

    /// Appends a field with a literal, lower-case name and a value of at most `capacity` bytes.
    @inline(__always)
    public mutating func append(
        _ name: StaticString, capacity: Int, value: (inout OutputSpan<UInt8>) -> Void
    ) {
        let start = lines.count
        lines.append(addingCapacity: name.utf8CodeUnitCount + capacity + 4) { output in
            output.append(name)
            output.append(": ")
            value(&output)
            output.append("\r\n")
        }
        addField(at: start, nameCount: name.utf8CodeUnitCount)
    }

    /// The line that begins at `start` and has just been written is a field.
    private mutating func addField(at start: Int, nameCount: Int) {
        fields.append(
            Field(name: start..<start + nameCount, value: start + nameCount + 2..<lines.count - 2))
    }

    /// Appends all fields of another list.
    public mutating func append(contentsOf other: borrowing HeaderFields) {
        guard other.count > 0 else { return }
        let start = UInt32(truncatingIfNeeded: lines.count)
        lines.append(span: other.lines.span)
        for field in other.fields { fields.append(field.moved(by: start)) }
    }

    /// Appends a configured field; the name is lower-cased.
    public mutating func append(name: String, value: [UInt8]) {
        append(name: Array(name.utf8).span, value: value.span)
    }

    /// The name of field `index`, in lower case.
    @_lifetime(borrow self)
    public func name(at index: Int) -> Span<UInt8> {
        lines.span.extracting(fields[index].name)
    }

    /// The value of field `index`.
    @_lifetime(borrow self)
    public func value(at index: Int) -> Span<UInt8> {
        lines.span.extracting(fields[index].value)
    }

    /// The index of the first field of that name (lower-case), at or after `start`.
    public func index(of name: StaticString, from start: Int = 0) -> Int? {
        for index in start..<max(start, fields.count) {
            guard fields[index].name.count == name.utf8CodeUnitCount else { continue }
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
        unsafe lines.withUnsafeBufferPointer { unsafe body($0) }
    }

    /// Where the name and the value of field `index` stand in that memory.
    func place(at index: Int) -> (name: Range<Int>, value: Range<Int>) {
        (fields[index].name, fields[index].value)
    }

    /// Writes all fields as lines of HTTP/1; they take `lineBytes`.
    func appendLines(to output: inout OutputSpan<UInt8>) { output.append(span: lines.span) }
}
