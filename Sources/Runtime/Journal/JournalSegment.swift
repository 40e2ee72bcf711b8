import Glibc
import Primitives
import Synchronization

/// One file of the journal. It is locked while it is open: what another living process still writes
/// is not taken for what a dead one has left.
public final class JournalSegment: Sendable {
    /// How the name of a segment ends.
    static let suffix = ".journal"

    let path: String
    private let descriptor: Int32
    private let isUnsynced = Atomic<Bool>(true)
    private let isNew = Atomic<Bool>(true)
    private let hasGone = Atomic<Bool>(false)

    /// Makes a file of that name.
    /// - Throws: the `errno` value; EBUSY when another process was quicker to lock it.
    init(creating path: String) throws(KernelFailure) {
        let opened = unsafe open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o600)
        guard opened >= 0 else { throw KernelFailure(number: errno) }
        guard Self.lock(opened) else {
            close(opened)
            throw KernelFailure(number: EBUSY)
        }
        self.path = path
        descriptor = opened
    }

    /// Opens a file that somebody has left; nil when its writer lives.
    /// - Throws: the `errno` value when the file cannot be opened.
    init?(adopting path: String) throws(KernelFailure) {
        let opened = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard opened >= 0 else { throw KernelFailure(number: errno) }
        guard Self.lock(opened) else {
            close(opened)
            return nil
        }
        self.path = path
        descriptor = opened
    }

    deinit { close(descriptor) }

    /// Takes the lock. A file that was deleted meanwhile had been adopted by somebody: locked by us
    /// or not, it is no place to write to.
    private static func lock(_ descriptor: Int32) -> Bool {
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { return false }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return false }
        return status.st_nlink > 0
    }

    /// Writes at the end. After a failure the file ends where it ended before, at `size`.
    /// - Throws: the `errno` value, such as ENOSPC.
    func append(_ bytes: [UInt8], size: Int) throws(KernelFailure) {
        var offset = 0
        while offset < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe Glibc.write(
                    descriptor, buffer.baseAddress.map { unsafe $0 + offset },
                    bytes.count - offset)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                let number = count == 0 ? ENOSPC : errno
                // A torn record would be skipped too, but then told as damage.
                _ = ftruncate(descriptor, off_t(size))
                throw KernelFailure(number: number)
            }
            offset += count
        }
        isUnsynced.store(true, ordering: .releasing)
    }

    /// Everything that is in the file; nil when it cannot be read, or is longer than any of ours.
    func bytes() -> [UInt8]? {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 256 << 10)
        while bytes.count <= Limits.journalReadBytes {
            let count = unsafe chunk.withUnsafeMutableBytes {
                unsafe pread(descriptor, $0.baseAddress, $0.count, off_t(bytes.count))
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { return nil }
            if count == 0 { return bytes }
            bytes.append(contentsOf: chunk[0..<count])
        }
        return nil
    }

    /// Brings what was written to the disk itself; called from the ledger's thread, for it blocks.
    /// - Throws: the `errno` value.
    func sync() throws(KernelFailure) {
        guard isUnsynced.exchange(false, ordering: .acquiringAndReleasing) else { return }
        do throws(KernelFailure) {
            guard fdatasync(descriptor) == 0 else { throw KernelFailure(number: errno) }
            if isNew.load(ordering: .relaxed) { try syncName() }
        } catch {
            isUnsynced.store(true, ordering: .releasing)
            throw error
        }
    }

    /// The name of a new file must last too.
    private func syncName() throws(KernelFailure) {
        let folder = unsafe open(FileSystem.folder(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw KernelFailure(number: errno) }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw KernelFailure(number: errno) }
        isNew.store(false, ordering: .relaxed)
    }

    /// Whether somebody has deleted the file under us: what is written to it then is lost.
    var isDeleted: Bool { hasGone.load(ordering: .relaxed) }

    /// Looks whether the file is still in its directory; called from the ledger's thread.
    func look() {
        var status = stat()
        if unsafe fstat(descriptor, &status) == 0, status.st_nlink == 0 {
            hasGone.store(true, ordering: .relaxed)
        }
    }

    /// Deletes the file: all that it said is in the ledger.
    func remove() { _ = unsafe unlink(path) }

    /// Keeps the file for people to look at, under a name that is not replayed.
    func setAside() { _ = unsafe rename(path, path + ".damaged") }
}
