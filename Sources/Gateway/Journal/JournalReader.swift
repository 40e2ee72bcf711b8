import Primitives
import Wire

/// Reads a segment of the journal, whatever has happened to it.
///
/// A killed process leaves a torn record at the end; a bad disk leaves anything anywhere. What does
/// not check is skipped up to the next record that does, and told.
public struct JournalReader {
    /// What comes next in a segment.
    public enum Event: Sendable, Equatable {
        /// A whole record.
        case record(JournalRecord)
        /// That many bytes make no record; reading goes on behind them.
        case damage(bytes: Int)
        /// The segment ends within a record: its writer was stopped there.
        case torn(bytes: Int)
    }

    private enum Found {
        case record(JournalRecord, length: Int)
        case padding(length: Int)
        /// Could be the beginning of a record, but the bytes end.
        case cut
        /// Looks like a record, but its checksum, of so many bytes, does not fit.
        case mismatch(bytes: Int)
        case nothing
    }

    private var position = 0

    /// A reader at the beginning of a segment.
    public init() {}

    /// The next event of a segment, whose bytes are the same at each call; nil at its end.
    public mutating func next(_ bytes: Span<UInt8>) -> Event? {
        while position < bytes.count {
            switch Self.find(bytes, at: position) {
            case .record(let record, let length):
                position += length
                return .record(record)
            case .padding(let length): position += length
            case .cut: return skip(bytes, isCut: true)
            case .mismatch, .nothing: return skip(bytes, isCut: false)
            }
        }
        return nil
    }

    /// Goes on to the next place where a record checks.
    private mutating func skip(_ bytes: Span<UInt8>, isCut: Bool) -> Event {
        let start = position
        var checkedBytes = 0
        position += 1
        while position < bytes.count {
            if bytes[position] == JournalRecord.magic[0] {
                switch Self.find(bytes, at: position) {
                case .record, .padding: return .damage(bytes: position - start)
                case .mismatch(let count): checkedBytes += count
                case .cut, .nothing: break
                }
            }
            // No accident makes so many heads within one another.
            guard checkedBytes <= Limits.journalSkipFactor * bytes.count else {
                position = bytes.count
                return .damage(bytes: position - start)
            }
            position += 1
        }
        return isCut ? .torn(bytes: position - start) : .damage(bytes: position - start)
    }

    private static func find(_ bytes: Span<UInt8>, at start: Int) -> Found {
        let magic = JournalRecord.magic
        let room = bytes.count - start
        for index in 0..<min(magic.count, room) where bytes[start + index] != magic[index] {
            return .nothing
        }
        guard room >= JournalRecord.headBytes else { return .cut }
        let length = number(bytes, at: start + JournalRecord.lengthOffset)
        guard length <= Limits.journalRecordBytes else { return .nothing }
        let whole = JournalRecord.headBytes + length + JournalRecord.checksumBytes
        guard room >= whole else { return .cut }
        let end = start + whole - JournalRecord.checksumBytes
        guard
            CRC32.checksum(bytes.extracting(start + magic.count..<end))
                == UInt32(number(bytes, at: end))
        else { return .mismatch(bytes: whole) }
        guard bytes[start + 5] == JournalRecord.version else { return .nothing }
        let payload = bytes.extracting(start + JournalRecord.headBytes..<end)
        switch bytes[start + 4] {
        case JournalRecord.paddingKind: return .padding(length: whole)
        case JournalRecord.openedKind:
            guard let row = JournalPayload.row(payload) else { return .nothing }
            return .record(.opened(row), length: whole)
        case JournalRecord.settledKind:
            guard let row = JournalPayload.row(payload) else { return .nothing }
            return .record(.settled(row), length: whole)
        default: return .nothing
        }
    }

    private static func number(_ bytes: Span<UInt8>, at start: Int) -> Int {
        (start..<start + 4).reduce(0) { $0 << 8 | Int(bytes[$1]) }
    }
}
