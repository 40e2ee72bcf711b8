import Primitives
import Wire

/// What a worker writes down about a request before anybody sees its end (design D7).
///
/// On disk: four bytes of magic, kind, version, the payload's length, the payload, and a CRC-32 of
/// everything after the magic. The magic begins with two bytes that no UTF-8 has, so that no text
/// of a client can look like the beginning of a record.
public enum JournalRecord: Sendable, Equatable {
    /// A request was admitted: the row that it becomes if nobody ever settles it.
    case opened(LedgerRow)
    /// A request has ended: its row.
    case settled(LedgerRow)

    static let magic: [UInt8] = [0xff, 0xf9, UInt8(ascii: "S"), UInt8(ascii: "J")]
    static let version: UInt8 = 1
    /// Magic, kind, version and length.
    static let headBytes = 10
    static let lengthOffset = 6
    static let checksumBytes = 4
    static let openedKind = UInt8(ascii: "o")
    static let settledKind = UInt8(ascii: "s")
    static let paddingKind = UInt8(ascii: "p")

    /// Appends the record of an admitted request.
    public static func append(opened row: LedgerRow, to bytes: inout [UInt8]) {
        append(openedKind, JournalPayload.capacity(row), to: &bytes) {
            JournalPayload.append(row, to: &$0)
        }
    }

    /// Appends the record of a settled request.
    public static func append(settled row: LedgerRow, to bytes: inout [UInt8]) {
        append(settledKind, JournalPayload.capacity(row), to: &bytes) {
            JournalPayload.append(row, to: &$0)
        }
    }

    /// Appends a record that says nothing. Each segment begins with one: opening it then shows
    /// that the disk has room for more than a few bytes.
    public static func appendPadding(to bytes: inout [UInt8]) {
        append(paddingKind, Limits.journalPaddingBytes, to: &bytes) { output in
            output.append(repeating: 0, count: Limits.journalPaddingBytes)
        }
    }

    /// `capacity` is what the payload takes at most.
    @inline(__always)
    private static func append(
        _ kind: UInt8, _ capacity: Int, to bytes: inout [UInt8],
        payload: (inout OutputSpan<UInt8>) -> Void
    ) {
        bytes.append(addingCapacity: headBytes + capacity + checksumBytes) { output in
            for byte in magic { output.append(byte) }
            output.append(kind)
            output.append(version)
            output.append(bigEndian: UInt32(0))
            payload(&output)
            let length = UInt32(truncatingIfNeeded: output.count - headBytes)
            var written = output.mutableSpan
            for index in 0..<4 {
                written[lengthOffset + index] = UInt8(
                    truncatingIfNeeded: length >> (24 - 8 * index))
            }
            output.append(bigEndian: CRC32.checksum(output.span.extracting(magic.count...)))
        }
    }
}
