import Primitives
import Wire

/// The answer to a `UsageQuery`.
public struct UsageReport: Sendable {
    /// One group of rows.
    public struct Group: Sendable {
        /// The values of the query's `by`, in its order.
        public var names: [String]
        /// Rows.
        public var requests: Int64
        /// Prompt tokens, cached ones included.
        public var inputTokens: Int64
        /// Generated tokens.
        public var outputTokens: Int64
        /// Prompt tokens read from a cache.
        public var cacheReadTokens: Int64
        /// Prompt tokens written to a cache.
        public var cacheWriteTokens: Int64
        /// Generated tokens of reasoning.
        public var reasoningTokens: Int64
        /// Nano-dollars, as far as prices were known.
        public var costNanodollars: Int64

        /// A group.
        public init(names: [String], sums: [Int64]) {
            self.names = names
            let padded = sums + [Int64](repeating: 0, count: max(0, 7 - sums.count))
            requests = padded[0]
            inputTokens = padded[1]
            outputTokens = padded[2]
            cacheReadTokens = padded[3]
            cacheWriteTokens = padded[4]
            reasoningTokens = padded[5]
            costNanodollars = padded[6]
        }

        var figures: [Int64] {
            [
                requests, inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens,
                reasoningTokens,
            ]
        }
    }

    /// The question.
    public let query: UsageQuery
    /// The groups, the dearest first.
    public let groups: [Group]
    /// Months that the query cuts, and of which only totals are left: they are in no group.
    public let omittedMonths: [String]

    private static let figureNames = [
        "requests", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens",
        "reasoning_tokens",
    ]

    /// A report.
    public init(query: UsageQuery, groups: [Group], omittedMonths: [String] = []) {
        self.query = query
        self.groups = groups
        self.omittedMonths = omittedMonths
    }

    /// The object of contract section 5.
    public func json() -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("since")
        writer.string(text: RFC3339.text(query.since))
        writer.key("until")
        writer.string(text: RFC3339.text(query.until))
        writer.key("groups")
        writer.beginArray()
        for group in groups {
            writer.beginObject()
            for (name, value) in zip(query.by, group.names) {
                writer.key(text: name)
                writer.string(text: value)
            }
            for (name, figure) in zip(Self.figureNames, group.figures) {
                writer.key(text: name)
                writer.integer(figure)
            }
            writer.key("cost_nanousd")
            writer.integer(group.costNanodollars)
            writer.endObject()
        }
        writer.endArray()
        if !omittedMonths.isEmpty {
            writer.key("omitted_months")
            writer.beginArray()
            for month in omittedMonths { writer.string(text: month) }
            writer.endArray()
        }
        writer.endObject()
        return writer.bytes
    }

    /// Comma-separated values (RFC 4180) with a header line.
    public func csv() -> String {
        let header = (query.by + Self.figureNames + ["cost_nanousd"]).joined(separator: ",")
        let lines = groups.map { group in
            let names = group.names.map(Self.quoted)
            let figures = (group.figures + [group.costNanodollars]).map(\.description)
            return (names + figures).joined(separator: ",")
        }
        return ([header] + lines).joined(separator: "\r\n") + "\r\n"
    }

    /// Columns for people; money in dollars.
    public func table() -> String {
        let header = query.by + Self.figureNames + ["cost_usd"]
        let rows = groups.map { group in
            group.names + group.figures.map(\.description)
                + [
                    String(
                        decoding: MoneyText.dollars(nanodollars: group.costNanodollars),
                        as: UTF8.self)
                ]
        }
        let widths = header.indices.map { column in
            ([header] + rows).map { $0[column].count }.max() ?? 0
        }
        return ([header] + rows).map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                let padding = String(repeating: " ", count: widths[column] - cell.count)
                line += column < query.by.count ? cell + padding + "  " : padding + cell + "  "
            }
            while line.last == " " { line.removeLast() }
            return line + "\n"
        }.joined()
    }

    private static func quoted(_ text: String) -> String {
        guard text.contains(where: { ",\"\r\n".contains($0) }) else { return text }
        return "\""
            + text.split(separator: "\"", omittingEmptySubsequences: false)
            .joined(separator: "\"\"") + "\""
    }
}
