import Glibc
import Primitives

/// Collects access-log lines of all workers; a thread of its own writes them to standard output,
/// so that a reader that stalls never stalls a worker.
public final class AccessLogSink: Sendable {
    private struct Pending {
        var lines: [UInt8] = []
        var lostLines = 0
    }

    private let pending = Locked(Pending())
    private let thread = LogThread()

    /// An empty sink.
    public init() {}

    /// Starts the thread that writes.
    /// - Throws: the `errno` value when the system has no thread to give.
    func start() throws(KernelFailure) { try thread.start { [self] in flush() } }

    /// Has everything written that waits, if somebody reads it.
    func stop() { _ = thread.stop() }

    /// Takes whole lines; when `Limits.pendingLogBytes` wait already, they are counted as lost.
    func append(_ lines: [UInt8]) {
        pending.withLock { pending in
            if pending.lines.count + lines.count > Limits.pendingLogBytes {
                pending.lostLines += 1
            } else {
                pending.lines.append(contentsOf: lines)
            }
        }
        thread.ring()
    }

    /// Writes everything that waits.
    private func flush() {
        let (lines, lost) = pending.withLock { pending in
            let taken = (pending.lines, pending.lostLines)
            pending = Pending()
            return taken
        }
        var rest = lines
        if lost > 0 { rest.append(utf8: "{\"level\":\"warning\",\"lost_log_batches\":\(lost)}\n") }
        var offset = 0
        while offset < rest.count {
            let count = unsafe rest.withUnsafeBytes { bytes in
                unsafe Glibc.write(
                    STDOUT_FILENO, bytes.baseAddress.map { unsafe $0 + offset },
                    bytes.count - offset)
            }
            if count < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN {
                    usleep(1000)
                    continue
                }
                return
            }
            offset += count
        }
    }
}
