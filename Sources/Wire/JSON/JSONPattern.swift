import CSys
import Primitives

/// A JSON text in which only what one or two strings hold may change.
///
/// The events of a stream are alike but for the piece of text that each brings. One that fits the
/// pattern of another is JSON and has the same nodes, and need not be parsed to know it.
public struct JSONPattern: Sendable {
    /// How a text fits a pattern.
    public struct Match: Sendable {
        /// Where the content of the first string stands, escapes and all.
        public let content: Range<Int>
        /// Where the strings end in the pattern, and by how much each is longer here.
        fileprivate let ends: (first: Int, second: Int)
        fileprivate let growth: (first: Int, second: Int)

        /// Where that stands which stands in the pattern at an offset, outside of what may change.
        func offset(of offset: Int) -> Int {
            offset + (offset < ends.first ? 0 : growth.first)
                + (offset < ends.second ? 0 : growth.second)
        }
    }

    private var text: [UInt8] = []
    /// What may change, without the quotes; the second is empty where there is only one.
    private var first = 0..<0
    private var second = 0..<0

    /// A pattern that nothing fits.
    public init() {}

    /// Makes it the pattern of `text`, in which the strings at these nodes of its tape may hold
    /// something else. The second stands behind the first.
    public mutating func learn(
        _ text: Span<UInt8>, _ tape: JSONTape, first: Int, second: Int? = nil
    ) {
        self.text.removeAll(keepingCapacity: true)
        self.text.append(span: text)
        self.first = Self.content(tape.range(first))
        self.second = second.map { Self.content(tape.range($0)) } ?? text.count..<text.count
    }

    /// Nothing fits any more.
    public mutating func forget() {
        if !text.isEmpty { text.removeAll(keepingCapacity: true) }
    }

    /// How a text fits the pattern; nil when it does not.
    public func match(_ other: Span<UInt8>) -> Match? {
        guard !text.isEmpty, holds(0..<first.lowerBound, at: 0, of: other),
            let firstEnd = Self.stringEnd(other, from: first.lowerBound),
            holds(first.upperBound..<second.lowerBound, at: firstEnd, of: other)
        else { return nil }
        var growth = (first: firstEnd - first.upperBound, second: 0)
        if second.lowerBound < text.count {
            let start = second.lowerBound + growth.first
            guard let secondEnd = Self.stringEnd(other, from: start),
                holds(second.upperBound..<text.count, at: secondEnd, of: other)
            else { return nil }
            growth.second = secondEnd - growth.first - second.upperBound
        }
        guard other.count == text.count + growth.first + growth.second else { return nil }
        return Match(
            content: first.lowerBound..<firstEnd, ends: (first.upperBound, second.upperBound),
            growth: growth)
    }

    /// Whether a part of the pattern stands in `other` at an offset.
    private func holds(_ part: Range<Int>, at start: Int, of other: Span<UInt8>) -> Bool {
        part.count <= other.count - start
            && text.span.extracting(part).equals(
                other.extracting(start..<start + part.count))
    }

    /// Where the string ends whose content begins at `start`; nil when it is not a proper one.
    private static func stringEnd(_ bytes: Span<UInt8>, from start: Int) -> Int? {
        var run = bytes.stringRun(from: start)
        var isASCII = run.beyond_ascii == 0
        while run.end < bytes.count, bytes[run.end] != UInt8(ascii: "\"") {
            guard bytes[run.end] == UInt8(ascii: "\\"),
                let next = JSONEscape.end(bytes, from: run.end)
            else { return nil }
            run = bytes.stringRun(from: next)
            isASCII = isASCII && run.beyond_ascii == 0
        }
        guard run.end < bytes.count else { return nil }
        let content = bytes.extracting(start..<run.end)
        return isASCII || UTF8Check.firstInvalidOffset(content) == nil ? run.end : nil
    }

    /// A string without its quotes.
    private static func content(_ string: Range<Int>) -> Range<Int> {
        string.lowerBound + 1..<string.upperBound - 1
    }
}
