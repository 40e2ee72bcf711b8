/// Decimal numbers as scaled integers: money is never a floating-point number.
public enum Decimal {
    /// `text` times ten to the power of `digits`, exactly; nil when it is no decimal number, is not
    /// whole at that scale (beyond rounding half up), or does not fit. Takes `12`, `0.075`,
    /// `1e-05`.
    public static func scaled(_ text: Span<UInt8>, digits: Int) -> Int64? {
        var mantissa: Int64 = 0
        var scale = digits
        var hasDigit = false
        var hasPoint = false
        var at = 0
        while at < text.count {
            let byte = text[at]
            if byte.isASCIIDigit {
                hasDigit = true
                let (tens, overflow) = mantissa.multipliedReportingOverflow(by: 10)
                let (sum, tooLarge) = tens.addingReportingOverflow(
                    Int64(byte - UInt8(ascii: "0")))
                guard !overflow, !tooLarge else { return nil }
                mantissa = sum
                if hasPoint { scale -= 1 }
            } else if byte == UInt8(ascii: "."), !hasPoint {
                hasPoint = true
            } else if byte | 0x20 == UInt8(ascii: "e"), hasDigit {
                guard let exponent = Int(text.extracting(at + 1..<text.count).text),
                    exponent.magnitude < 64
                else { return nil }
                scale += exponent
                break
            } else {
                return nil
            }
            at += 1
        }
        return hasDigit ? shift(mantissa, by: scale) : nil
    }

    private static func shift(_ mantissa: Int64, by scale: Int) -> Int64? {
        var value = mantissa
        guard scale < 0 else {
            for _ in 0..<scale {
                let (product, overflow) = value.multipliedReportingOverflow(by: 10)
                guard !overflow else { return nil }
                value = product
            }
            return value
        }
        for step in 0..<(-scale) {
            let isLast = step == -scale - 1
            value = value / 10 + (isLast && value % 10 >= 5 ? 1 : 0)
        }
        return value
    }
}
