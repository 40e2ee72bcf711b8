import Primitives
import Translation
import Wire

/// One request as one line of JSON. Text from clients is escaped as JSON strings, and what steers
/// terminals is, too.
enum AccessLogLine {
    static func append(_ row: LedgerRow, isJSON: Bool, to line: inout [UInt8]) {
        isJSON ? appendJSON(row, to: &line) : appendText(row, to: &line)
    }

    /// For people: the few members that matter, in fixed order.
    private static func appendText(_ row: LedgerRow, to line: inout [UInt8]) {
        var model = JSONWriter()
        model.string(printable: row.model)
        let cost = row.costNanodollars.map { MoneyText.dollars(nanodollars: $0) } ?? [UInt8]("-")
        let start = WallTime(milliseconds: row.startedAtMilliseconds)
        line.append(utf8: "\(RFC3339.text(start)) \(row.requestID) \(row.status) ")
        line.append(utf8: "tenant=\(row.tenant) route=\(row.route) backend=\(row.backend) model=")
        line.append(contentsOf: model.bytes)
        line.append(utf8: " in=\(row.usage.input) out=\(row.usage.output) usd=")
        line.append(contentsOf: cost)
        line.append(utf8: " ms=\(row.durationMilliseconds)\n")
    }

    private static func appendJSON(_ row: LedgerRow, to line: inout [UInt8]) {
        line.append(atMost: capacity(row)) { writeJSON(row, to: &$0) }
    }

    private static func writeJSON(_ row: LedgerRow, to output: inout OutputSpan<UInt8>) {
        output.append("{\"ts\":\"")
        RFC3339.append(WallTime(milliseconds: row.startedAtMilliseconds), to: &output)
        text("\",\"id\":\"", row.id, &output)
        text("\",\"request_id\":\"", row.requestID, &output)
        text("\",\"tenant\":\"", row.tenant, &output)
        text("\",\"key_id\":\"", row.keyID, &output)
        text("\",\"endpoint\":\"", row.endpoint, &output)
        text("\",\"route\":\"", row.route, &output)
        text("\",\"backend\":\"", row.backend, &output)
        text("\",\"model\":\"", row.model, &output)
        text("\",\"upstream_model\":\"", row.upstreamModel, &output)
        output.append("\",\"streamed\":")
        if row.isStreamed { output.append("true") } else { output.append("false") }
        number(",\"status\":", row.status, &output)
        if let code = row.errorCode { member(",\"error_code\":\"", code, &output) }
        if let reason = row.finishReason { member(",\"finish_reason\":\"", reason, &output) }
        number(",\"attempts\":", row.attempts, &output)
        number(",\"input_tokens\":", row.usage.input, &output)
        number(",\"output_tokens\":", row.usage.output, &output)
        number(",\"cache_read_tokens\":", row.usage.cacheRead, &output)
        number(",\"cache_write_tokens\":", row.usage.cacheWrite, &output)
        number(",\"reasoning_tokens\":", row.usage.reasoning, &output)
        member(",\"usage_source\":\"", row.usageSource.rawValue, &output)
        output.append(",\"cost_nanousd\":")
        if let cost = row.costNanodollars {
            output.append(decimal: cost)
        } else {
            output.append("null")
        }
        if let time = row.timeToFirstTokenMilliseconds {
            number(",\"ttft_ms\":", time, &output)
        }
        number(",\"duration_ms\":", row.durationMilliseconds, &output)
        number(",\"overhead_us\":", row.overheadMicroseconds, &output)
        number(",\"request_bytes\":", row.requestBytes, &output)
        number(",\"response_bytes\":", row.responseBytes, &output)
        output.append("}\n")
    }

    /// Room for a line: names, numbers and punctuation, and each byte of a text as `\u0000`.
    private static func capacity(_ row: LedgerRow) -> Int {
        let fixed = 1200
        var texts = row.id.utf8.count + row.requestID.utf8.count + row.tenant.utf8.count
        texts += row.keyID.utf8.count + row.endpoint.utf8.count + row.route.utf8.count
        texts += row.backend.utf8.count + row.model.utf8.count + row.upstreamModel.utf8.count
        texts += (row.errorCode?.utf8.count ?? 0) + (row.finishReason?.utf8.count ?? 0)
        return fixed + 6 * texts
    }

    /// What comes before a text, its opening quote included, and the text. What is next closes it.
    @inline(__always)
    private static func text(
        _ opening: StaticString, _ text: String, _ output: inout OutputSpan<UInt8>
    ) {
        output.append(opening)
        appendPrintable(text, &output)
    }

    /// A whole member whose value is a text.
    @inline(__always)
    private static func member(
        _ opening: StaticString, _ text: String, _ output: inout OutputSpan<UInt8>
    ) {
        Self.text(opening, text, &output)
        output.append("\"")
    }

    @inline(__always)
    private static func number(
        _ opening: StaticString, _ number: Int, _ output: inout OutputSpan<UInt8>
    ) {
        output.append(opening)
        output.append(decimal: number)
    }

    private static func appendPrintable(_ text: String, _ output: inout OutputSpan<UInt8>) {
        let start = output.count
        output.append(utf8: text)
        guard !isPlain(output.span.extracting(start...)) else { return }
        output.removeLast(output.count - start)
        var writer = JSONWriter()
        writer.string(printable: text)
        output.append(span: writer.bytes.span.extracting(1..<writer.bytes.count - 1))
    }

    /// Whether each byte stands for itself, in JSON and on a terminal. Eight are looked at at once.
    private static func isPlain(_ bytes: Span<UInt8>) -> Bool {
        var found: UInt64 = 0
        if bytes.count >= 8 {
            // The last eight may have been looked at in part.
            let last = bytes.count - 8
            for at in stride(from: 0, to: last, by: 8) { found |= specials(eight(bytes, at: at)) }
            found |= specials(eight(bytes, at: last))
        } else {
            var all: UInt64 = 0x2020_2020_2020_2020
            for index in bytes.indices { all = all << 8 | UInt64(bytes[index]) }
            found = specials(all)
        }
        return found & 0x8080_8080_8080_8080 == 0
    }

    private static func eight(_ bytes: Span<UInt8>, at offset: Int) -> UInt64 {
        unsafe bytes.bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }

    /// The highest bit is set of a byte that is a control, DEL, a quote, a backslash or not ASCII.
    /// It may be set of a byte above such a one, too.
    private static func specials(_ bytes: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let quotes = bytes ^ (ones &* 0x22)
        let backslashes = bytes ^ (ones &* 0x5c)
        let low = (bytes &- (ones &* 0x20)) & ~bytes
        let special = (quotes &- ones) & ~quotes | (backslashes &- ones) & ~backslashes
        return bytes | (bytes &+ ones) | low | special
    }
}
