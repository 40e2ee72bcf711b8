import Primitives

/// Changes single values of a JSON text and keeps every other byte as it is.
///
/// Edits are collected by range and applied in one pass.
public struct JSONEditor: Sendable {
    private struct Edit: Sendable {
        var range: Range<Int>
        var text: [UInt8]
    }

    /// In the order of the text.
    private var edits: [Edit] = []

    /// No edits.
    public init() {}

    /// Whether there is nothing to do.
    public var isEmpty: Bool { edits.isEmpty }

    /// Puts other JSON in the place of a value. Ranges of several edits must not overlap.
    public mutating func replace(_ range: Range<Int>, with json: [UInt8]) {
        add(Edit(range: range, text: json))
    }

    /// Puts a member at the front of an object; `isEmpty` says whether the object has none yet.
    public mutating func insertMember(
        _ member: [UInt8], intoObjectAt range: Range<Int>, isEmpty: Bool
    ) {
        let behindBracket = range.lowerBound + 1
        add(
            Edit(
                range: behindBracket..<behindBracket,
                text: isEmpty ? member : member + [UInt8(ascii: ",")]))
    }

    /// Takes a member out of its object, with one of the commas beside it.
    ///
    /// - Parameters:
    ///   - key: where the key lies.
    ///   - value: where the value lies.
    ///   - object: where the object lies.
    ///   - bytes: the text.
    public mutating func removeMember(
        key: Range<Int>, value: Range<Int>, ofObjectAt object: Range<Int>, in bytes: Span<UInt8>
    ) {
        var end = value.upperBound
        while end < object.upperBound - 1, bytes[end] <= 0x20 { end += 1 }
        if bytes[end] == UInt8(ascii: ",") {
            add(Edit(range: key.lowerBound..<end + 1, text: []))
            return
        }
        var start = key.lowerBound
        while start > object.lowerBound + 1, bytes[start - 1] <= 0x20 { start -= 1 }
        if bytes[start - 1] == UInt8(ascii: ",") { start -= 1 }
        add(Edit(range: start..<value.upperBound, text: []))
    }

    private mutating func add(_ edit: Edit) {
        var index = edits.count
        while index > 0, edits[index - 1].range.lowerBound > edit.range.lowerBound { index -= 1 }
        edits.insert(edit, at: index)
    }

    /// The text with all edits applied.
    public consuming func apply(to bytes: Span<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count + edits.reduce(0) { $0 + $1.text.count })
        append(bytes, to: &result)
        return result
    }

    /// Appends the text with all edits applied. Where it is another than the one they were made
    /// for, and fits its pattern, `match` says how.
    public func append(
        _ bytes: Span<UInt8>, as match: JSONPattern.Match? = nil, to result: inout [UInt8]
    ) {
        var at = 0
        for edit in edits {
            let start = match?.offset(of: edit.range.lowerBound) ?? edit.range.lowerBound
            result.append(span: bytes.extracting(at..<start))
            result.append(contentsOf: edit.text)
            at = match?.offset(of: edit.range.upperBound) ?? edit.range.upperBound
        }
        result.append(span: bytes.extracting(at..<bytes.count))
    }
}
