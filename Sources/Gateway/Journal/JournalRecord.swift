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
    static let checksumBytes = 4
    static let openedKind = UInt8(ascii: "o")
    static let settledKind = UInt8(ascii: "s")
    static let paddingKind = UInt8(ascii: "p")

    /// Appends the record of an admitted request.
    public static func append(opened row: LedgerRow, to bytes: inout [UInt8]) {
        append(openedKind, to: &bytes) { JournalPayload.append(row, to: &$0) }
    }

    /// Appends the record of a settled request.
    public static func append(settled row: LedgerRow, to bytes: inout [UInt8]) {
        append(settledKind, to: &bytes) { JournalPayload.append(row, to: &$0) }
    }

    /// Appends a record that says nothing. Each segment begins with one: opening it then shows
    /// that the disk has room for more than a few bytes.
    public static func appendPadding(to bytes: inout [UInt8]) {
        append(paddingKind, to: &bytes) { bytes in
            bytes.append(contentsOf: repeatElement(0, count: Limits.journalPaddingBytes))
        }
    }

    private static func append(
        _ kind: UInt8, to bytes: inout [UInt8], payload: (inout [UInt8]) -> Void
    ) {
        let start = bytes.count
        bytes.append(contentsOf: magic)
        bytes.append(kind)
        bytes.append(version)
        bytes.append(contentsOf: repeatElement(0, count: 4))
        payload(&bytes)
        let length = UInt32(truncatingIfNeeded: bytes.count - start - headBytes)
        for index in 0..<4 {
            bytes[start + 6 + index] = UInt8(truncatingIfNeeded: length >> (24 - 8 * index))
        }
        let checksum = CRC32.checksum(bytes.span.extracting((start + magic.count)...))
        bytes.append(bigEndian: checksum)
    }
}
