public import Primitives
public import Translation

/// What `sluice usage` and `/admin/usage` ask the ledger.
public struct UsageQuery: Sendable {
    /// What rows can be grouped by: the ledger's own names.
    public static let dimensions = [
        "tenant", "model", "route", "backend", "upstream_model", "key_id", "user", "endpoint",
        "status", "day",
    ]

    /// From here on.
    public var since: WallTime
    /// Up to here, not included.
    public var until: WallTime
    /// What to group by, in order.
    public var by: [String]

    /// Reads the texts of options or of a query string.
    ///
    /// - Parameters:
    ///   - since: a duration back from `now`, or an RFC 3339 time; nil is 24 hours.
    ///   - until: the same; nil is now.
    ///   - by: names with commas between; nil is tenant and model.
    ///   - now: what durations count back from.
    /// - Throws: a 400 that names the option and what it takes.
    public init(since: String?, until: String?, by: String?, now: WallTime) throws(APIError) {
        self.since = try Self.time(since ?? "24h", "since", now)
        self.until =
            try until.map { text throws(APIError) in try Self.time(text, "until", now) }
            ?? now.advanced(bySeconds: 1)
        guard self.since <= self.until else {
            throw .badRequest(
                "invalid_value", param: "until", "'until' must not lie before 'since'.")
        }
        self.by = (by ?? "tenant,model").split(separator: ",").map { name in
            String(name.drop { $0 == " " })
        }
        for name in self.by where !Self.dimensions.contains(name) {
            throw .badRequest(
                "invalid_value", param: "by",
                "'by' takes \(Self.dimensions.joined(separator: ", ")), not '\(name)'.")
        }
        // Each is a member of the answer's groups.
        guard Set(self.by).count == self.by.count else {
            throw .badRequest("invalid_value", param: "by", "'by' takes each name once.")
        }
    }

    /// Reads a query string.
    /// - Throws: as the other initialiser; also for a parameter that does not exist.
    public init(query: [UInt8], now: WallTime) throws(APIError) {
        var values: [String: String] = [:]
        for pair in query.split(separator: UInt8(ascii: "&")) {
            let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1)
            guard let name = parts.first else { continue }
            let value = parts.count > 1 ? Array(parts[1]) : []
            values[String(decoding: name, as: UTF8.self)] = String(
                decoding: PercentEncoding.decode(value.span), as: UTF8.self)
        }
        for name in values.keys where !["since", "until", "by"].contains(name) {
            throw .badRequest(
                "unsupported_parameter", param: name, "There is no parameter '\(name)' here.")
        }
        try self.init(since: values["since"], until: values["until"], by: values["by"], now: now)
    }

    /// The calendar months (UTC) that lie within the query whole, such as `2026-01`: from `first`
    /// up to `end`, which is not one of them.
    public var wholeMonths: (first: String, end: String) {
        let date = CivilDate(since)
        let midnight = CivilDate.midnight(year: date.year, month: date.month, day: 1)
        let first =
            midnight == since
            ? since : CivilDate.midnight(year: date.year, month: date.month + 1, day: 1)
        return (String(RFC3339.text(first).prefix(7)), String(RFC3339.text(until).prefix(7)))
    }

    private static func time(
        _ text: String, _ name: String, _ now: WallTime
    ) throws(APIError) -> WallTime {
        if let back = Quantities.milliseconds(text) {
            return WallTime(milliseconds: now.milliseconds - Int64(back))
        }
        if let time = RFC3339.time(text) { return time }
        throw .badRequest(
            "invalid_value", param: name,
            "'\(name)' must be such as 24h, 7d or 2026-01-02T03:04:05Z, not '\(text)'.")
    }
}
