public import Gateway
import Primitives
public import Wire

/// What other threads tell a worker.
public enum Mail: Sendable {
    /// The answer to `Kernel.resolve`.
    case resolved(ticket: UInt64, ResolvedAddresses)
    /// The answer to `Kernel.fetchImages`.
    case images(ticket: UInt64, FetchedImages)
    /// The answer to `Kernel.answerAside`.
    case adminAnswer(AdminTicket, AdminAnswer)
    /// New requests are served by this plan from now on, and new connections of each listener, in
    /// order, get this TLS.
    case plan(Plan, listenerTLS: [TLSContext?])
    /// Finish what is under way, and return. A second one may be sooner than the first.
    case drain(DrainSchedule)
}

/// A worker's letter box: the only way other threads reach it (design D3).
public final class Mailbox: Sendable {
    private let letters = Locked<[Mail]>([])
    private let wake: @Sendable () -> Void

    /// A box; `wake` makes the worker's `wait` return, and is called for the first letter only.
    public init(wake: @escaping @Sendable () -> Void) { self.wake = wake }

    /// Posts a letter, from any thread.
    public func post(_ mail: Mail) {
        let isFirst = letters.withLock { letters in
            letters.append(mail)
            return letters.count == 1
        }
        if isFirst { wake() }
    }

    /// Takes all letters out, in the order of posting.
    public func take() -> [Mail] {
        letters.withLock { letters in
            guard !letters.isEmpty else { return [] }
            let taken = letters
            letters = []
            return taken
        }
    }
}
