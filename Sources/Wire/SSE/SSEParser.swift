import Primitives

/// An event that is longer than `Limits.eventBytes`.
public struct SSEFailure: Error, Sendable, Equatable {}

/// Splits a server-sent event stream (WHATWG HTML section 9.2) into events, from bytes cut
/// anywhere.
///
/// Lines end with LF, CR or CRLF. Each event keeps its raw bytes, so that it can be passed on as it
/// is.
public struct SSEParser: Sendable {
    /// The data of an event. That of one line, which nearly every event has, is not copied.
    private enum EventData { case none, line(Range<Int>), joinedLines }

    /// The name of the last event; empty when it has none.
    public private(set) var name: [UInt8] = []

    private var buffer: [UInt8] = []
    private var eventData = EventData.none
    private var joinedLines: [UInt8] = []
    private var eventStart = 0
    private var eventEnd = 0
    private var lineStart = 0
    private var scanned = 0
    /// There is no LF between `scanned` and here: lines that end with CR do not look for it again.
    private var lineFeed = 0
    private var endsWithReturn = false
    private var isFirstLine = true
    private var isBetweenEvents = true

    /// A parser at the start of a stream.
    public init() {}

    /// Takes more bytes; afterwards call `next` until it says false.
    public mutating func receive(_ bytes: Span<UInt8>) {
        if eventEnd > 0 {
            buffer.removeFirst(eventEnd)
            if isBetweenEvents {
                eventData = .none
            } else if case .line(let line) = eventData {
                eventData = .line(line.lowerBound - eventEnd..<line.upperBound - eventEnd)
            }
            lineStart -= eventEnd
            scanned -= eventEnd
            lineFeed = max(0, lineFeed - eventEnd)
            eventStart = 0
            eventEnd = 0
        }
        buffer.append(span: bytes)
    }

    /// Moves on to the next complete event. False: more bytes are needed.
    /// - Throws: when the event is too long.
    public mutating func next() throws(SSEFailure) -> Bool {
        if isBetweenEvents { beginEvent() }
        while let end = lineEnd() {
            let byte = buffer[end]
            scanned = end + 1
            if byte == 0x0a, endsWithReturn, lineStart == end {
                // The LF of a CRLF whose CR has ended the line already.
                endsWithReturn = false
                lineStart = scanned
                continue
            }
            let line = lineStart..<end
            endsWithReturn = byte == 0x0d
            lineStart = scanned
            guard line.isEmpty else {
                readField(line)
                continue
            }
            eventEnd = endOfEvent()
            isFirstLine = false
            isBetweenEvents = true
            return true
        }
        scanned = buffer.count
        guard buffer.count - eventStart <= Limits.eventBytes else { throw SSEFailure() }
        return false
    }

    private mutating func beginEvent() {
        isBetweenEvents = false
        eventStart = eventEnd
        eventData = .none
        if !name.isEmpty { name.removeAll(keepingCapacity: true) }
    }

    /// Where the line ends that has not been looked at; nil while its end has not come.
    private mutating func lineEnd() -> Int? {
        lineFeed = max(lineFeed, scanned)
        if lineFeed < buffer.count, buffer[lineFeed] != 0x0a {
            lineFeed = buffer.span.firstIndex(of: 0x0a, from: lineFeed) ?? buffer.count
        }
        let carriageReturn = buffer.span.extracting(0..<lineFeed)
            .firstIndex(of: 0x0d, from: scanned)
        return carriageReturn ?? (lineFeed < buffer.count ? lineFeed : nil)
    }

    /// Whether the last event has a `data` line; without one it is only comments or a blank line.
    public var hasData: Bool { if case .none = eventData { false } else { true } }

    /// The data of the last event: its `data` lines joined by LF.
    @_lifetime(borrow self)
    public func payload() -> Span<UInt8> {
        switch eventData {
        case .none: buffer.span.extracting(0..<0)
        case .line(let line): buffer.span.extracting(line)
        case .joinedLines: joinedLines.span
        }
    }

    /// A copy of the data of the last event.
    public var data: [UInt8] { payload().array }

    /// The raw bytes of the last event, blank line included.
    @_lifetime(borrow self)
    public func raw() -> Span<UInt8> {
        buffer.span.extracting(eventStart..<eventEnd)
    }

    /// Where the data lies in the raw bytes of the last event; nil when it has none, or has it on
    /// several lines.
    public var rangeOfData: Range<Int>? {
        guard case .line(let line) = eventData else { return nil }
        return line.lowerBound - eventStart..<line.upperBound - eventStart
    }

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

    private mutating func readField(_ line: Range<Int>) {
        var start = line.lowerBound
        if isFirstLine {
            isFirstLine = false
            if buffer.span.extracting(line).starts(with: "\u{feff}") { start += 3 }
        }
        guard start < line.upperBound, buffer[start] != UInt8(ascii: ":") else { return }
        let nameEnd = colon(in: start..<line.upperBound) ?? line.upperBound
        var valueStart = min(nameEnd + 1, line.upperBound)
        if valueStart < line.upperBound, buffer[valueStart] == 0x20 { valueStart += 1 }
        if holds("data", at: start..<nameEnd) {
            appendData(valueStart..<line.upperBound)
        } else if holds("event", at: start..<nameEnd) {
            name.removeAll(keepingCapacity: true)
            name.append(contentsOf: buffer[valueStart..<line.upperBound])
        }
    }

    private mutating func appendData(_ line: Range<Int>) {
        switch eventData {
        case .none: return eventData = .line(line)
        case .line(let first):
            joinedLines.removeAll(keepingCapacity: true)
            joinedLines.append(contentsOf: buffer[first])
        case .joinedLines: break
        }
        eventData = .joinedLines
        joinedLines.append(0x0a)
        joinedLines.append(contentsOf: buffer[line])
    }

    private func colon(in line: Range<Int>) -> Int? {
        buffer.span.extracting(0..<line.upperBound)
            .firstIndex(of: UInt8(ascii: ":"), from: line.lowerBound)
    }

    private func holds(_ text: StaticString, at range: Range<Int>) -> Bool {
        buffer.span.extracting(range).equals(text)
    }
}
