import Glibc
import Primitives

/// Collects access-log lines of all workers; a thread of its own writes them to standard output,
/// so that a reader that stalls never stalls a worker.
public final class AccessLogSink: Sendable {
    private struct Pending {
        var lines: [UInt8] = []
        /// What workers handed over in one piece, and nobody will read.
        var lostBatches = 0
    }

    private let pending = Locked(Pending())
    private let thread = LogThread()
    private let descriptor: Int32

    /// An empty sink in front of standard output.
    public convenience init() { self.init(descriptor: STDOUT_FILENO) }

    /// An empty sink in front of a descriptor.
    init(descriptor: Int32) { self.descriptor = descriptor }

    /// Starts the thread that writes.
    /// - Throws: the `errno` value when the system has no thread to give.
    func start() throws(KernelFailure) { try thread.start { [self] in flush() } }

    /// Has everything written that waits, if somebody reads it.
    func stop() { _ = thread.stop() }

    /// Takes whole lines; when `Limits.pendingLogBytes` wait already, they are counted as lost.
    func append(_ lines: [UInt8]) {
        pending.withLock { pending in
            if pending.lines.count + lines.count > Limits.pendingLogBytes {
                pending.lostBatches += 1
            } else {
                pending.lines.append(contentsOf: lines)
            }
        }
        thread.ring()
    }

    /// Writes everything that waits. What cannot be written is lost, and told of as soon as
    /// something can.
    func flush() {
        let (lines, lost) = pending.withLock { pending in
            let taken = (pending.lines, pending.lostBatches)
            pending = Pending()
            return taken
        }
        let notice = "{\"level\":\"warning\",\"lost_log_batches\":\(lost)}\n"
        guard !write(lost > 0 ? Array(notice.utf8) + lines : lines) else { return }
        pending.withLock { $0.lostBatches += lost + (lines.isEmpty ? 0 : 1) }
    }

    /// False: not all of it could be written.
    private func write(_ text: [UInt8]) -> Bool {
        var offset = 0
        while offset < text.count {
            let count = unsafe text.withUnsafeBytes { bytes in
                unsafe Glibc.write(
                    descriptor, bytes.baseAddress.map { unsafe $0 + offset }, bytes.count - offset)
            }
            if count >= 0 {
                offset += count
            } else if errno == EAGAIN {
                usleep(1000)
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }
}
