import Primitives

/// An event that is longer than `Limits.eventBytes`.
public struct SSEFailure: Error, Sendable, Equatable {}

/// Splits a server-sent event stream (WHATWG HTML section 9.2) into events, from bytes cut
/// anywhere.
///
/// Lines end with LF, CR or CRLF. Each event keeps its raw bytes, so that it can be passed on as it
/// is.
public struct SSEParser: Sendable {
    /// The data of the last event: its `data` lines joined by LF.
    public private(set) var data: [UInt8] = []
    /// The name of the last event; empty when it has none.
    public private(set) var name: [UInt8] = []
    /// Whether the last event has a `data` line; without one it is only comments or a blank line.
    public private(set) var hasData = false

    private var buffer: [UInt8] = []
    private var eventStart = 0
    private var eventEnd = 0
    private var lineStart = 0
    private var scanned = 0
    private var endsWithReturn = false
    private var isFirstLine = true

    /// A parser at the start of a stream.
    public init() {}

    /// Takes more bytes; afterwards call `next` until it says false.
    public mutating func receive(_ bytes: Span<UInt8>) {
        if eventEnd > 0 {
            buffer.removeFirst(eventEnd)
            lineStart -= eventEnd
            scanned -= eventEnd
            eventEnd = 0
        }
        buffer.append(span: bytes)
    }

    /// Moves on to the next complete event. False: more bytes are needed.
    /// - Throws: when the event is too long.
    public mutating func next() throws(SSEFailure) -> Bool {
        eventStart = eventEnd
        while scanned < buffer.count {
            let byte = buffer[scanned]
            scanned += 1
            if byte == 0x0a, endsWithReturn, lineStart == scanned - 1 {
                // The LF of a CRLF whose CR has ended the line already.
                endsWithReturn = false
                lineStart = scanned
                continue
            }
            guard byte == 0x0a || byte == 0x0d else { continue }
            let line = lineStart..<scanned - 1
            endsWithReturn = byte == 0x0d
            lineStart = scanned
            guard line.isEmpty else { continue }
            eventEnd = endOfEvent()
            readFields()
            return true
        }
        guard buffer.count - eventStart <= Limits.eventBytes else { throw SSEFailure() }
        return false
    }

    /// The raw bytes of the last event, blank line included.
    @_lifetime(borrow self)
    public func raw() -> Span<UInt8> {
        buffer.span.extracting(eventStart..<eventEnd)
    }

    /// Whether bytes of an incomplete event are left.
    public var hasPartialEvent: Bool { buffer.count > eventEnd }

    /// A CR that ends an event takes a LF behind it along, when it is there already.
    private mutating func endOfEvent() -> Int {
        guard endsWithReturn, scanned < buffer.count, buffer[scanned] == 0x0a else {
            return scanned
        }
        endsWithReturn = false
        scanned += 1
        lineStart = scanned
        return scanned
    }

    private mutating func readFields() {
        data.removeAll(keepingCapacity: true)
        name.removeAll(keepingCapacity: true)
        hasData = false
        var start = eventStart
        if isFirstLine {
            isFirstLine = false
            let mark: [UInt8] = [0xef, 0xbb, 0xbf]
            if buffer[start..<eventEnd].starts(with: mark) { start += mark.count }
        }
        var at = start
        while at < eventEnd {
            guard buffer[at] == 0x0a || buffer[at] == 0x0d else {
                at += 1
                continue
            }
            readField(start..<at)
            at += 1
            start = at
        }
    }

    private mutating func readField(_ line: Range<Int>) {
        guard !line.isEmpty, buffer[line.lowerBound] != UInt8(ascii: ":") else { return }
        var nameEnd = line.lowerBound
        while nameEnd < line.upperBound, buffer[nameEnd] != UInt8(ascii: ":") { nameEnd += 1 }
        var valueStart = min(nameEnd + 1, line.upperBound)
        if valueStart < line.upperBound, buffer[valueStart] == 0x20 { valueStart += 1 }
        let isData = holds("data", at: line.lowerBound..<nameEnd)
        let isName = holds("event", at: line.lowerBound..<nameEnd)
        if isData {
            if hasData { data.append(0x0a) }
            hasData = true
            data.append(contentsOf: buffer[valueStart..<line.upperBound])
        } else if isName {
            name.removeAll(keepingCapacity: true)
            name.append(contentsOf: buffer[valueStart..<line.upperBound])
        }
    }

    private func holds(_ text: StaticString, at range: Range<Int>) -> Bool {
        buffer.span.extracting(range).equals(text)
    }
}
