import Gateway
import Glibc
import Primitives

/// A worker's journal: one segment after another, `STATE/journal/START-SHARD-NUMBER.journal`.
///
/// START is random, so that the segments of two processes in one state directory never collide.
public struct JournalWriter: Sendable {
    private let directory: String
    private let prefix: String
    private let queue: LedgerQueue
    private let report: @Sendable (String) -> Void
    private var number = 0
    private var current: JournalSegment?
    private var size = 0
    private var isFailing = false

    /// A journal in a directory that `makeDirectory` has made. `report` is told when it begins to
    /// fail.
    public init(
        directory: String, start: String, shard: Int, queue: LedgerQueue,
        report: @escaping @Sendable (String) -> Void
    ) {
        self.directory = directory
        prefix = "\(directory)/\(start)-\(shard)-"
        self.queue = queue
        self.report = report
    }

    /// Appends records to the segment; the first ones begin one.
    mutating func append(_ records: [UInt8]) -> JournalOutcome {
        guard let current else { return renew(with: records) }
        if current.isDeleted { return fail(KernelFailure(number: ENOENT), current.path) }
        do throws(KernelFailure) {
            try current.append(records, size: size)
            size += records.count
            return .written(segmentBytes: size)
        } catch {
            return fail(error, current.path)
        }
    }

    /// Begins a segment with `records`. Only then the former one is given up: until everything
    /// that is still needed of it stands in the new one, it must not go.
    mutating func renew(with records: [UInt8]) -> JournalOutcome {
        let outcome = begin(with: records)
        switch outcome {
        case .failed(EBUSY): break  // Somebody took the new file for one that was left behind.
        case .failed(ENOENT): try? JournalReplay.makeDirectory(directory)
        case .failed, .written: return outcome
        }
        return begin(with: records)
    }

    private mutating func begin(with records: [UInt8]) -> JournalOutcome {
        number += 1
        let path = prefix + String(number) + JournalSegment.suffix
        var bytes: [UInt8] = []
        JournalRecord.appendPadding(to: &bytes)
        bytes.append(contentsOf: records)
        do throws(KernelFailure) {
            let segment = try JournalSegment(creating: path)
            do throws(KernelFailure) {
                try segment.append(bytes, size: 0)
            } catch {
                segment.remove()
                throw error
            }
            queue.begin(segment)
            current = segment
            size = bytes.count
            isFailing = false
            return .written(segmentBytes: size)
        } catch {
            return fail(error, path)
        }
    }

    /// Gives the segment up; the next record begins another.
    mutating func end() {
        queue.begin(nil)
        current = nil
    }

    private mutating func fail(_ failure: KernelFailure, _ path: String) -> JournalOutcome {
        if !isFailing {
            report("the journal \(path) cannot be written: \(failure.reason)")
        }
        isFailing = true
        return .failed(failure.number)
    }
}
