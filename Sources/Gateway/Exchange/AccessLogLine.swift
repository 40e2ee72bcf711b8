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
        // Written in place, behind the lines before it.
        var writer = JSONWriter()
        swap(&writer.bytes, &line)
        writer.beginObject()
        writer.key("ts")
        writer.beginString()
        RFC3339.append(
            WallTime(milliseconds: row.startedAtMilliseconds), to: &writer.bytes)
        writer.endString()
        write("id", row.id, to: &writer)
        write("request_id", row.requestID, to: &writer)
        write("tenant", row.tenant, to: &writer)
        write("key_id", row.keyID, to: &writer)
        write("endpoint", row.endpoint, to: &writer)
        write("route", row.route, to: &writer)
        write("backend", row.backend, to: &writer)
        write("model", row.model, to: &writer)
        write("upstream_model", row.upstreamModel, to: &writer)
        writer.key("streamed")
        writer.bool(row.isStreamed)
        write("status", row.status, to: &writer)
        if let code = row.errorCode { write("error_code", code, to: &writer) }
        if let reason = row.finishReason { write("finish_reason", reason, to: &writer) }
        write("attempts", row.attempts, to: &writer)
        write("input_tokens", row.usage.input, to: &writer)
        write("output_tokens", row.usage.output, to: &writer)
        write("cache_read_tokens", row.usage.cacheRead, to: &writer)
        write("cache_write_tokens", row.usage.cacheWrite, to: &writer)
        write("reasoning_tokens", row.usage.reasoning, to: &writer)
        write("usage_source", row.usageSource.rawValue, to: &writer)
        writer.key("cost_nanousd")
        if let cost = row.costNanodollars { writer.integer(cost) } else { writer.null() }
        if let time = row.timeToFirstTokenMilliseconds { write("ttft_ms", time, to: &writer) }
        write("duration_ms", row.durationMilliseconds, to: &writer)
        write("overhead_us", row.overheadMicroseconds, to: &writer)
        write("request_bytes", row.requestBytes, to: &writer)
        write("response_bytes", row.responseBytes, to: &writer)
        writer.endObject()
        swap(&writer.bytes, &line)
        line.append(UInt8(ascii: "\n"))
    }

    private static func write(_ name: StaticString, _ text: String, to writer: inout JSONWriter) {
        writer.key(name)
        writer.string(printable: text)
    }

    private static func write(_ name: StaticString, _ number: Int, to writer: inout JSONWriter) {
        writer.key(name)
        writer.integer(number)
    }
}
