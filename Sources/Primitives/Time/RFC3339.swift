/// Timestamps as RFC 3339 writes them.
public enum RFC3339 {
    /// Such as `2026-01-02T03:04:05.678Z`.
    public static func text(_ time: WallTime) -> String {
        let date = CivilDate(time)
        var bytes: [UInt8] = []
        bytes.append(decimal: date.year, width: 4)
        bytes.append(UInt8(ascii: "-"))
        bytes.append(decimal: date.month, width: 2)
        bytes.append(UInt8(ascii: "-"))
        bytes.append(decimal: date.day, width: 2)
        bytes.append(UInt8(ascii: "T"))
        bytes.append(decimal: date.hour, width: 2)
        bytes.append(UInt8(ascii: ":"))
        bytes.append(decimal: date.minute, width: 2)
        bytes.append(UInt8(ascii: ":"))
        bytes.append(decimal: date.second, width: 2)
        bytes.append(UInt8(ascii: "."))
        bytes.append(decimal: date.millisecond, width: 3)
        bytes.append(UInt8(ascii: "Z"))
        return String(decoding: bytes, as: UTF8.self)
    }
}
