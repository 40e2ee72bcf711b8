import Primitives
import Translation

/// A ledger row as bytes: its members in fixed order, numbers big-endian, texts with their length.
enum JournalPayload {
    /// In place of a length: there is no text. No text is that long.
    static let absent = UInt32.max

    /// More than a row takes, in bytes.
    static func capacity(_ row: LedgerRow) -> Int {
        let fixed = 29 * 9
        var texts = row.id.utf8.count + row.requestID.utf8.count + row.tenant.utf8.count
        texts += row.keyID.utf8.count + (row.user?.utf8.count ?? 0) + row.endpoint.utf8.count
        texts += row.route.utf8.count + row.backend.utf8.count + row.model.utf8.count
        texts += row.upstreamModel.utf8.count + (row.errorCode?.utf8.count ?? 0)
        texts += (row.finishReason?.utf8.count ?? 0) + row.usageSource.rawValue.utf8.count
        return fixed + texts + (row.priceID?.utf8.count ?? 0)
    }

    static func append(_ row: LedgerRow, to output: inout OutputSpan<UInt8>) {
        append(row.id, to: &output)
        append(row.requestID, to: &output)
        append(row.startedAtMilliseconds, to: &output)
        append(row.tenant, to: &output)
        append(row.keyID, to: &output)
        append(row.user, to: &output)
        append(row.endpoint, to: &output)
        append(row.route, to: &output)
        append(row.backend, to: &output)
        append(row.model, to: &output)
        append(row.upstreamModel, to: &output)
        output.append(row.isStreamed ? 1 : 0)
        append(Int64(row.status), to: &output)
        append(row.errorCode, to: &output)
        append(row.finishReason, to: &output)
        append(Int64(row.attempts), to: &output)
        append(Int64(row.usage.input), to: &output)
        append(Int64(row.usage.output), to: &output)
        append(Int64(row.usage.cacheRead), to: &output)
        append(Int64(row.usage.cacheWrite), to: &output)
        append(Int64(row.usage.reasoning), to: &output)
        append(row.usageSource.rawValue, to: &output)
        append(row.costNanodollars, to: &output)
        append(row.priceID, to: &output)
        append(row.timeToFirstTokenMilliseconds.map { Int64($0) }, to: &output)
        append(Int64(row.durationMilliseconds), to: &output)
        append(Int64(row.overheadMicroseconds), to: &output)
        append(Int64(row.requestBytes), to: &output)
        append(Int64(row.responseBytes), to: &output)
    }

    private static func append(_ number: Int64, to output: inout OutputSpan<UInt8>) {
        output.append(bigEndian: UInt64(bitPattern: number))
    }

    private static func append(_ number: Int64?, to output: inout OutputSpan<UInt8>) {
        output.append(number == nil ? 0 : 1)
        append(number ?? 0, to: &output)
    }

    private static func append(_ text: String, to output: inout OutputSpan<UInt8>) {
        guard text.utf8.count <= Limits.ledgerTextBytes else {
            return append(LedgerRow.clipped(text), to: &output)
        }
        output.append(bigEndian: UInt32(truncatingIfNeeded: text.utf8.count))
        output.append(utf8: text)
    }

    private static func append(_ text: String?, to output: inout OutputSpan<UInt8>) {
        if let text { append(text, to: &output) } else { output.append(bigEndian: absent) }
    }

    /// The row of a payload; nil when it is none.
    static func row(_ bytes: Span<UInt8>) -> LedgerRow? {
        var cursor = Cursor()
        do throws(Malformed) {
            let row = try cursor.row(bytes)
            return cursor.position == bytes.count ? row : nil
        } catch {
            return nil
        }
    }

    private struct Malformed: Error {}

    /// Where reading is; every step checks what is left.
    private struct Cursor {
        var position = 0

        mutating func row(_ bytes: Span<UInt8>) throws(Malformed) -> LedgerRow {
            var row = LedgerRow()
            row.id = try text(bytes)
            row.requestID = try text(bytes)
            row.startedAtMilliseconds = try number(bytes)
            row.tenant = try text(bytes)
            row.keyID = try text(bytes)
            row.user = try optionalText(bytes)
            row.endpoint = try text(bytes)
            row.route = try text(bytes)
            row.backend = try text(bytes)
            row.model = try text(bytes)
            row.upstreamModel = try text(bytes)
            row.isStreamed = try byte(bytes) != 0
            row.status = Int(try number(bytes))
            row.errorCode = try optionalText(bytes)
            row.finishReason = try optionalText(bytes)
            row.attempts = Int(try number(bytes))
            row.usage.input = Int(try number(bytes))
            row.usage.output = Int(try number(bytes))
            row.usage.cacheRead = Int(try number(bytes))
            row.usage.cacheWrite = Int(try number(bytes))
            row.usage.reasoning = Int(try number(bytes))
            guard let source = LedgerRow.UsageSource(rawValue: try text(bytes)) else {
                throw Malformed()
            }
            row.usageSource = source
            row.costNanodollars = try optionalNumber(bytes)
            row.priceID = try optionalText(bytes)
            row.timeToFirstTokenMilliseconds = try optionalNumber(bytes).map { Int($0) }
            row.durationMilliseconds = Int(try number(bytes))
            row.overheadMicroseconds = Int(try number(bytes))
            row.requestBytes = Int(try number(bytes))
            row.responseBytes = Int(try number(bytes))
            return row
        }

        private mutating func take(
            _ count: Int, _ bytes: Span<UInt8>
        ) throws(Malformed) -> Range<Int> {
            guard count <= bytes.count - position else { throw Malformed() }
            position += count
            return position - count..<position
        }

        private mutating func byte(_ bytes: Span<UInt8>) throws(Malformed) -> UInt8 {
            bytes[try take(1, bytes).lowerBound]
        }

        private mutating func length(_ bytes: Span<UInt8>) throws(Malformed) -> UInt32 {
            let range = try take(4, bytes)
            return range.reduce(UInt32(0)) { $0 << 8 | UInt32(bytes[$1]) }
        }

        private mutating func number(_ bytes: Span<UInt8>) throws(Malformed) -> Int64 {
            let range = try take(8, bytes)
            return Int64(bitPattern: range.reduce(UInt64(0)) { $0 << 8 | UInt64(bytes[$1]) })
        }

        private mutating func optionalNumber(
            _ bytes: Span<UInt8>
        ) throws(Malformed) -> Int64? {
            let isThere = try byte(bytes) != 0
            let number = try number(bytes)
            return isThere ? number : nil
        }

        private mutating func text(_ bytes: Span<UInt8>) throws(Malformed) -> String {
            guard let text = try optionalText(bytes) else { throw Malformed() }
            return text
        }

        private mutating func optionalText(_ bytes: Span<UInt8>) throws(Malformed) -> String? {
            let length = try length(bytes)
            guard length != absent else { return nil }
            return bytes.extracting(try take(Int(length), bytes)).text
        }
    }
}
