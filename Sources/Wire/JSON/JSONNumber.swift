import Primitives

/// Numbers as RFC 8259 section 6 writes them.
public enum JSONNumber {
    /// The offset behind the number that begins at `start`; nil when none does.
    static func end(_ bytes: Span<UInt8>, from start: Int) -> Int? {
        var at = start
        if at < bytes.count, bytes[at] == UInt8(ascii: "-") { at += 1 }
        guard at < bytes.count, bytes[at].isASCIIDigit else { return nil }
        if bytes[at] == UInt8(ascii: "0") {
            at += 1
        } else {
            at = skipDigits(bytes, from: at)
        }
        if at < bytes.count, bytes[at] == UInt8(ascii: ".") {
            let digits = skipDigits(bytes, from: at + 1)
            guard digits > at + 1 else { return nil }
            at = digits
        }
        guard at < bytes.count, bytes[at] | 0x20 == UInt8(ascii: "e") else { return at }
        at += 1
        if at < bytes.count, bytes[at] == UInt8(ascii: "+") || bytes[at] == UInt8(ascii: "-") {
            at += 1
        }
        let digits = skipDigits(bytes, from: at)
        return digits > at ? digits : nil
    }

    /// The number as an integer when it is a whole one that fits (`1e2` and `1.0` are); else nil.
    public static func integer(_ bytes: Span<UInt8>) -> Int? {
        plainInteger(bytes) ?? scaledInteger(bytes)
    }

    /// Most are a few digits, which cannot overflow.
    private static func plainInteger(_ bytes: Span<UInt8>) -> Int? {
        guard bytes.count <= 18 else { return nil }
        var number = 0
        for index in bytes.indices {
            guard bytes[index].isASCIIDigit else { return nil }
            number = number &* 10 &+ Int(bytes[index] &- UInt8(ascii: "0"))
        }
        return number
    }

    private static func scaledInteger(_ bytes: Span<UInt8>) -> Int? {
        var mantissa = 0
        var isNegative = false
        var scale = 0
        var at = 0
        var hasPoint = false
        while at < bytes.count {
            let byte = bytes[at]
            if byte == UInt8(ascii: "-") {
                isNegative = true
            } else if byte == UInt8(ascii: ".") {
                hasPoint = true
            } else if byte | 0x20 == UInt8(ascii: "e") {
                guard let exponent = Int(bytes.extracting(at + 1..<bytes.count).text) else {
                    return nil
                }
                let (sum, overflow) = scale.addingReportingOverflow(exponent)
                guard !overflow else { return nil }
                scale = sum
                break
            } else {
                let (tens, overflow) = mantissa.multipliedReportingOverflow(by: 10)
                let (sum, tooLarge) = tens.addingReportingOverflow(Int(byte - UInt8(ascii: "0")))
                guard !overflow, !tooLarge else { return nil }
                mantissa = sum
                if hasPoint { scale -= 1 }
            }
            at += 1
        }
        guard mantissa != 0 else { return 0 }
        guard let scaled = shift(mantissa, by: scale) else { return nil }
        return isNegative ? -scaled : scaled
    }

    private static func shift(_ mantissa: Int, by scale: Int) -> Int? {
        guard scale > -20, scale < 20 else { return nil }
        var value = mantissa
        for _ in 0..<abs(scale) {
            if scale > 0 {
                let (product, overflow) = value.multipliedReportingOverflow(by: 10)
                guard !overflow else { return nil }
                value = product
            } else {
                guard value % 10 == 0 else { return nil }
                value /= 10
            }
        }
        return value
    }

    private static func skipDigits(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var at = start
        while at < bytes.count, bytes[at].isASCIIDigit { at += 1 }
        return at
    }
}
