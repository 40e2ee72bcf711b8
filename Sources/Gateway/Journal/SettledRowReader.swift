public import Primitives

/// Goes through the bytes of `SettledRows`, row by row and member by member: a cursor for SQLite.
///
/// The members are numbered as `JournalPayload` writes them, which is the order of the ledger's
/// columns. These bytes are our own, so what does not fit them is our own mistake.
public struct SettledRowReader {
    /// One member of a row.
    public enum Value: Equatable {
        /// Nothing is known.
        case none
        /// A number, or 0 and 1 for no and yes.
        case number(Int64)
        /// When the request began.
        case time(WallTime)
        /// UTF-8, where it lies.
        case text(Range<Int>)
    }

    /// How many members a row has.
    public static let members = 29

    private var row = 0
    private var member = 0
    /// Where `member` begins.
    private var position = JournalRecord.headBytes

    /// At the first row.
    public init() {}

    /// Whether there is no row here.
    public func isAtEnd(_ bytes: Span<UInt8>) -> Bool { row >= bytes.count }

    /// Goes to the next row.
    public mutating func advance(_ bytes: Span<UInt8>) {
        let payload = Int(word(bytes, at: row + JournalRecord.lengthOffset))
        row += JournalRecord.headBytes + payload + JournalRecord.checksumBytes
        rewind()
    }

    /// A member of this row. Quick when they are asked for one after another.
    public mutating func value(_ member: Int, _ bytes: Span<UInt8>) -> Value {
        if member != self.member { skip(to: member, bytes) }
        return next(bytes)
    }

    private mutating func skip(to member: Int, _ bytes: Span<UInt8>) {
        if member < self.member { rewind() }
        while self.member < member { _ = next(bytes) }
    }

    private mutating func rewind() {
        member = 0
        position = row + JournalRecord.headBytes
    }

    // A row has 29 members: what reads one is put together into one function.

    @inline(__always)
    private mutating func next(_ bytes: Span<UInt8>) -> Value {
        defer { member += 1 }
        switch member {
        case 2: return .time(WallTime(milliseconds: number(bytes)))
        case 11: return .number(isSet(bytes) ? 1 : 0)
        case 22, 24:
            let isThere = isSet(bytes)
            let number = number(bytes)
            return isThere ? .number(number) : .none
        case 0...10, 13, 14, 21, 23: return text(bytes)
        default: return .number(number(bytes))
        }
    }

    @inline(__always)
    private mutating func isSet(_ bytes: Span<UInt8>) -> Bool {
        position += 1
        return bytes[position - 1] != 0
    }

    @inline(__always)
    private mutating func number(_ bytes: Span<UInt8>) -> Int64 {
        position += 8
        return Int64(
            bigEndian: unsafe bytes.bytes.unsafeLoadUnaligned(
                fromByteOffset: position - 8, as: Int64.self))
    }

    @inline(__always)
    private mutating func text(_ bytes: Span<UInt8>) -> Value {
        let length = word(bytes, at: position)
        position += 4
        guard length != JournalPayload.absent else { return .none }
        position += Int(length)
        precondition(position <= bytes.count)
        return .text(position - Int(length)..<position)
    }

    @inline(__always)
    private func word(_ bytes: Span<UInt8>, at offset: Int) -> UInt32 {
        UInt32(
            bigEndian: unsafe bytes.bytes.unsafeLoadUnaligned(
                fromByteOffset: offset, as: UInt32.self))
    }
}
