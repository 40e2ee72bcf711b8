/// Timestamps as RFC 3339 writes them.
public enum RFC3339 {
    /// Such as `2026-01-02T03:04:05.678Z`.
    public static func text(_ time: WallTime) -> String {
        var bytes: [UInt8] = []
        append(time, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Appends the same.
    public static func append(_ time: WallTime, to bytes: inout [UInt8]) {
        bytes.append(addingCapacity: capacity) { append(time, to: &$0) }
    }

    /// More than any time takes, in bytes.
    public static let capacity = 40

    /// Writes the same, where there is room for `capacity` bytes.
    public static func append(_ time: WallTime, to output: inout OutputSpan<UInt8>) {
        let date = CivilDate(time)
        output.append(decimal: UInt64(clamping: date.year), width: 4)
        append(UInt8(ascii: "-"), date.month, to: &output)
        append(UInt8(ascii: "-"), date.day, to: &output)
        append(UInt8(ascii: "T"), date.hour, to: &output)
        append(UInt8(ascii: ":"), date.minute, to: &output)
        append(UInt8(ascii: ":"), date.second, to: &output)
        append(UInt8(ascii: "."), date.millisecond / 10, to: &output)
        output.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: date.millisecond % 10))
        output.append(UInt8(ascii: "Z"))
    }

    /// Writes a separator and a number of two digits.
    private static func append(
        _ separator: UInt8, _ number: Int, to output: inout OutputSpan<UInt8>
    ) {
        output.append(separator)
        output.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number / 10))
        output.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number % 10))
    }

    /// The time that a text names: `2026-01-02`, `2026-01-02T03:04:05Z`, with a fraction or an
    /// offset; nil for anything else.
    public static func time(_ text: String) -> WallTime? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 10, bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"),
            let year = number(bytes[0..<4]), let month = number(bytes[5..<7]),
            let day = number(bytes[8..<10]), (1...12).contains(month), (1...31).contains(day)
        else { return nil }
        let midnight = CivilDate.midnight(year: year, month: month, day: day)
        if bytes.count == 10 { return midnight }
        guard bytes.count >= 20, bytes[10] | 0x20 == UInt8(ascii: "t"),
            bytes[13] == UInt8(ascii: ":"), bytes[16] == UInt8(ascii: ":"),
            let hour = number(bytes[11..<13]), let minute = number(bytes[14..<16]),
            let second = number(bytes[17..<19]), hour < 24, minute < 60, second < 61
        else { return nil }
        var milliseconds = ((hour * 60 + minute) * 60 + second) * 1000
        var at = 19
        if bytes[at] == UInt8(ascii: ".") {
            let digits = bytes[(at + 1)...].prefix { $0.isASCIIDigit }
            guard let first = digits.first else { return nil }
            let padded = [first] + digits.dropFirst().prefix(2) + [0x30, 0x30]
            milliseconds += number(padded[0..<3]) ?? 0
            at += 1 + digits.count
        }
        guard let offset = offsetMinutes(bytes[at...]) else { return nil }
        return WallTime(
            milliseconds: midnight.milliseconds + Int64(milliseconds) - Int64(offset) * 60_000)
    }

    private static func offsetMinutes(_ text: ArraySlice<UInt8>) -> Int? {
        if text.count == 1, let zulu = text.first, zulu | 0x20 == UInt8(ascii: "z") { return 0 }
        guard text.count == 6, let sign = text.first,
            sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-"),
            let hours = number(text.dropFirst().prefix(2)), let minutes = number(text.suffix(2))
        else { return nil }
        return (hours * 60 + minutes) * (sign == UInt8(ascii: "-") ? -1 : 1)
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
        var value = 0
        for digit in digits {
            guard digit.isASCIIDigit else { return nil }
            value = value * 10 + Int(digit - UInt8(ascii: "0"))
        }
        return value
    }
}
