import Primitives

/// The file's ways to write durations, sizes, counts and money.
enum Quantities {
    /// `300ms 5s 10m 2h 7d`, in milliseconds; nil for anything else.
    static func milliseconds(_ text: String) -> Int? {
        scaled(
            text,
            units: [
                ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
            ])
    }

    /// `64KiB 20MiB 1GiB`, decimal `KB MB GB`, or bytes.
    static func bytes(_ text: String) -> Int? {
        scaled(
            text,
            units: [
                ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("KB", 1000),
                ("MB", 1_000_000), ("GB", 1_000_000_000), ("B", 1), ("", 1),
            ])
    }

    /// `100k 2M 1_000 12`.
    static func count(_ text: String) -> Int? {
        scaled(
            text.filter { $0 != "_" },
            units: [("k", 1000), ("M", 1_000_000), ("G", 1_000_000_000), ("", 1)])
    }

    /// What `parse` reads, unless it is 0: where that would mean "none at all", it is a mistake for
    /// "without a limit".
    static func positive(_ parse: @escaping (String) -> Int?) -> (String) -> Int? {
        { text in parse(text).flatMap { $0 > 0 ? $0 : nil } }
    }

    /// A decimal number of dollars, in nano-dollars.
    static func nanodollars(_ text: String) -> Int64? {
        Decimal.scaled(Array(text.filter { $0 != "_" }.utf8).span, digits: 9)
    }

    /// Dollars per million tokens, in pico-dollars per token; nil also for more than a dollar per
    /// token, which no sum of costs would hold.
    static func picodollarsPerToken(_ text: String) -> Int64? {
        Decimal.scaled(Array(text.utf8).span, digits: 6).flatMap {
            $0 <= 1_000_000_000_000 ? $0 : nil
        }
    }

    private static func scaled(_ text: String, units: [(String, Int)]) -> Int? {
        for (unit, factor) in units where text.hasSuffix(unit) {
            let number = text.dropLast(unit.count)
            guard !number.isEmpty, number.allSatisfy({ $0.isASCII && $0.isNumber }),
                let value = Int(number)
            else { continue }
            let (product, overflow) = value.multipliedReportingOverflow(by: factor)
            return overflow ? nil : product
        }
        return nil
    }
}
