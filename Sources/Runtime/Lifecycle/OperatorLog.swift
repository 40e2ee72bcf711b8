import Primitives

/// What an operator is told, on its way to the logger: event loops and the thread that waits for
/// signals say something now and then, and must not wait for a terminal or a pipe.
public final class OperatorLog: Sendable {
    private struct Pending {
        var messages: [(level: String, message: String)] = []
        var lostMessages = 0
    }

    private let write: @Sendable (_ level: String, _ message: String) -> Void
    private let pending = Locked(Pending())
    private let thread = LogThread()

    /// A log that hands messages, at levels of swift-log, to `write` in their order.
    public init(write: @escaping @Sendable (_ level: String, _ message: String) -> Void) {
        self.write = write
    }

    /// Starts the thread that writes; before that, messages wait.
    /// - Throws: the `errno` value when the system has no thread to give.
    public func start() throws(KernelFailure) { try thread.start { [self] in flush() } }

    /// Has everything written that waits. False: nobody reads it.
    public func stop() -> Bool {
        switch thread.stop() {
        case .hadNoThread: flush()
        case .finished: break
        case .stalled: return false
        }
        return true
    }

    /// Takes a message; when too many wait, it is counted as lost.
    public func add(_ level: String, _ message: String) {
        pending.withLock { pending in
            if pending.messages.count < Limits.pendingMessages {
                pending.messages.append((level, message))
            } else {
                pending.lostMessages += 1
            }
        }
        thread.ring()
    }

    private func flush() {
        let taken = pending.withLock { pending in
            let taken = pending
            pending = Pending()
            return taken
        }
        for (level, message) in taken.messages { write(level, message) }
        if taken.lostMessages > 0 {
            write("warning", "messages that nobody took in time: \(taken.lostMessages)")
        }
    }
}
