import Primitives

/// Writes integer nano-dollars as a decimal number of dollars, exactly.
public enum MoneyText {
    /// Such as `0.000123`, `12.5` or `0`: no exponent, no rounding, no trailing zeros.
    public static func dollars(nanodollars: Int64) -> [UInt8] {
        var text: [UInt8] = []
        if nanodollars < 0 { text.append(UInt8(ascii: "-")) }
        let magnitude = nanodollars.magnitude
        text.append(decimal: magnitude / 1_000_000_000)
        let fraction = Int(magnitude % 1_000_000_000)
        guard fraction > 0 else { return text }
        text.append(UInt8(ascii: "."))
        text.append(decimal: fraction, width: 9)
        while text.last == UInt8(ascii: "0") { text.removeLast() }
        return text
    }
}
