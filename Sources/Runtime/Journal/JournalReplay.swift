import Gateway
import Glibc
import Primitives

/// Brings what dead processes have left in their journals into the ledger.
///
/// Settled rows of all segments come first, then what was opened: a request that has settled, in
/// whatever segment, is in the ledger by then, and its row is not replaced. So a replay that is
/// broken off anywhere is made good by the next one.
struct JournalReplay {
    /// What was found.
    struct Summary: Equatable {
        var segments = 0
        /// Rows that the ledger did not have.
        var settled = 0
        /// Requests that nobody has settled.
        var interrupted = 0
        /// Segments that end within a record, as after a kill.
        var torn = 0
        /// Places that could not be read.
        var damaged = 0
        /// Files that could not even be opened; they stay.
        var unopened = 0

        /// For the log; nil when there was nothing to do.
        var text: String? {
            guard segments + unopened > 0 else { return nil }
            var text = "the journal of an earlier run was replayed: \(settled) rows, "
            text += "\(interrupted) interrupted requests, \(torn) segments with a torn end"
            if damaged > 0 {
                text += "; \(damaged) places are damaged, their files are kept as .damaged"
            }
            if unopened > 0 { text += "; \(unopened) files could not be opened" }
            return text
        }
    }

    let store: LedgerStore
    private(set) var summary = Summary()

    init(into store: LedgerStore) { self.store = store }

    /// Where the journal of a state directory is.
    static func directory(in state: String) -> String { "\(state)/journal" }

    /// Makes the directory of the journal when it is missing.
    /// - Throws: the `errno` value.
    static func makeDirectory(_ path: String) throws(KernelFailure) {
        guard unsafe mkdir(path, 0o700) == 0 || errno == EEXIST else {
            throw KernelFailure(number: errno)
        }
    }

    /// Replays all segments in a directory that no living process holds, and deletes them.
    /// - Throws: when the ledger takes no rows; all segments stay then.
    mutating func run(directory: String) throws(SQLiteFailure) {
        let segments = adoptSegments(in: directory)
        summary.segments += segments.count
        var unsound: [String] = []
        for segment in segments where try !replaySettled(segment) { unsound.append(segment.path) }
        for segment in segments { try replayOpened(segment) }
        for segment in segments {
            unsound.contains(segment.path) ? segment.setAside() : segment.remove()
        }
    }

    private mutating func adoptSegments(in directory: String) -> [JournalSegment] {
        var segments: [JournalSegment] = []
        for name in FileSystem.names(in: directory).sorted()
        where name.hasSuffix(JournalSegment.suffix) {
            do throws(KernelFailure) {
                if let segment = try JournalSegment(adopting: "\(directory)/\(name)") {
                    segments.append(segment)
                }
            } catch {
                // Gone meanwhile: a neighbour was quicker.
                if error.number != ENOENT { summary.unopened += 1 }
            }
        }
        return segments
    }

    /// Adds the settled rows of one segment. False: not all of it could be read.
    mutating func replaySettled(_ segment: JournalSegment) throws(SQLiteFailure) -> Bool {
        guard let bytes = segment.bytes() else {
            summary.damaged += 1
            return false
        }
        let damagedBefore = summary.damaged
        var batch = SettledRows()
        var reader = JournalReader()
        while let event = reader.next(bytes.span) {
            switch event {
            case .record(.settled(let row)): batch.append(row)
            case .record(.opened): break
            case .torn: summary.torn += 1
            case .damage: summary.damaged += 1
            }
            if batch.count >= Limits.ledgerBatchRows { summary.settled += try add(&batch) }
        }
        summary.settled += try add(&batch)
        return summary.damaged == damagedBefore
    }

    private mutating func replayOpened(_ segment: JournalSegment) throws(SQLiteFailure) {
        guard let bytes = segment.bytes() else { return }
        var batch = SettledRows()
        var reader = JournalReader()
        while let event = reader.next(bytes.span) {
            if case .record(.opened(let row)) = event { batch.append(row) }
            if batch.count >= Limits.ledgerBatchRows { summary.interrupted += try add(&batch) }
        }
        summary.interrupted += try add(&batch)
    }

    private func add(_ batch: inout SettledRows) throws(SQLiteFailure) -> Int {
        guard !batch.isEmpty else { return 0 }
        let added = try store.append(batch)
        batch.removeAll()
        return added
    }
}
