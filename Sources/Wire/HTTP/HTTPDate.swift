public import Primitives

/// Dates as HTTP writes them (RFC 9110 section 5.6.7).
public enum HTTPDate {
    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// Such as `Sun, 06 Nov 1994 08:49:37 GMT`; 29 bytes as long as years have four digits.
    public static func text(_ time: WallTime) -> [UInt8] {
        let date = CivilDate(time)
        let second = (time.seconds % 604_800 + 604_800) % 604_800
        // 1970 began on a Thursday.
        let day = days[(Int(second / 86_400) + 4) % 7]
        return [UInt8](atMost: 60) { output in
            output.append(utf8: day)
            output.append(", ")
            output.append(decimal: UInt64(date.day), width: 2)
            output.append(" ")
            output.append(utf8: months[date.month - 1])
            output.append(" ")
            output.append(decimal: UInt64(clamping: date.year), width: 4)
            for (separator, number) in [
                (UInt8(ascii: " "), date.hour), (UInt8(ascii: ":"), date.minute),
                (UInt8(ascii: ":"), date.second),
            ] {
                output.append(separator)
                output.append(decimal: UInt64(number), width: 2)
            }
            output.append(" GMT")
        }
    }

    /// The time of a date, in this form or one of the two that are obsolete and must be understood;
    /// nil for anything else.
    public static func time(_ text: Span<UInt8>) -> WallTime? {
        guard text.count <= 40 else { return nil }
        // `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` and
        // `Sun Nov  6 08:49:37 1994` differ in what stands between their parts, and in the order.
        let parts = text.text.split { ", -:".contains($0) }.map { String($0) }
        switch parts.count {
        case 8 where parts[7] == "GMT":
            return time(year: parts[3], month: parts[2], day: parts[1], parts[4..<7])
        case 7: return time(year: parts[6], month: parts[1], day: parts[2], parts[3..<6])
        default: return nil
        }
    }

    private static func time(
        year: String, month: String, day: String, _ clock: ArraySlice<String>
    ) -> WallTime? {
        let clock = clock.compactMap { number($0) }
        guard var year = number(year), let month = months.firstIndex(of: month),
            let day = number(day), (1...31).contains(day), clock.count == 3, clock[0] < 24,
            clock[1] < 60, clock[2] <= 60
        else { return nil }
        // Two digits, as POSIX reads them.
        if year < 100 { year += year < 70 ? 2000 : 1900 }
        let midnight = CivilDate.midnight(year: year, month: month + 1, day: day)
        return midnight.advanced(bySeconds: Int64((clock[0] * 60 + clock[1]) * 60 + clock[2]))
    }

    /// At most four digits.
    private static func number(_ text: String) -> Int? {
        guard (1...4).contains(text.utf8.count), text.utf8.allSatisfy(\.isASCIIDigit) else {
            return nil
        }
        return Int(text)
    }
}

/// The `date` field of answers (RFC 9110 section 6.6.1), written once a second.
public struct DateField: Sendable {
    private static let lineBytes = 37
    private static let valueRange = 6..<35

    /// The line of HTTP/1, in place: an answer copies it and counts no references.
    private var bytes = [37 of UInt8](repeating: 0)
    /// The milliseconds in which it is true.
    private var lifetime: Range<Int64> = 0..<0

    /// A field that is true at no time yet.
    public init() {}

    /// Brings the field to a time.
    @inline(__always)
    public mutating func advance(to time: WallTime) {
        if !lifetime.contains(time.milliseconds) { write(time) }
    }

    private mutating func write(_ time: WallTime) {
        let start = time.seconds * 1000
        lifetime = start..<start + 1000
        var line = [UInt8]("date: ")
        line.append(contentsOf: HTTPDate.text(time))
        line.append("\r\n")
        // A clock that is ten thousand years wrong is not worth a trap.
        for index in 0..<min(line.count, Self.lineBytes) { bytes[index] = line[index] }
    }

    /// The field as a line of HTTP/1.
    public var line: Span<UInt8> {
        @_lifetime(borrow self) borrowing get { bytes.span }
    }

    /// Its value.
    public var value: Span<UInt8> {
        @_lifetime(borrow self) borrowing get { bytes.span.extracting(Self.valueRange) }
    }
}
