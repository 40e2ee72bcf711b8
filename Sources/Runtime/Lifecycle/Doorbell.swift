import CSys
import Glibc
import Synchronization

/// Lets a thread sleep until there is something to do.
///
/// Whoever has something for it rings. Only the first ring since the thread last answered is a
/// system call: a busy thread is not told of each thing that it will find anyway.
public final class Doorbell: Sendable {
    /// Readable while nobody has answered. Negative when the system has no descriptor to give: a
    /// wait ends by its time alone then.
    let descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
    private let hasRung = Atomic<Bool>(false)

    /// A bell that nobody has rung.
    public init() {}

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Wakes the thread. What it is to find must be there already.
    func ring() {
        // Either the thread has still to answer, and sees then what came before this, or it wakes.
        guard !hasRung.exchange(true, ordering: .acquiringAndReleasing) else { return }
        _ = eventfd_write(descriptor, 1)
    }

    /// Sleeps until somebody rings or has rung, or the time is over; `answer` must follow.
    func wait(atMostMilliseconds milliseconds: Int) {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        _ = unsafe poll(&entry, 1, Int32(clamping: milliseconds))
    }

    /// The next ring counts anew. To be called before the thread looks for what there is to do.
    func answer() {
        var count: eventfd_t = 0
        _ = unsafe eventfd_read(descriptor, &count)
        _ = hasRung.exchange(false, ordering: .acquiringAndReleasing)
    }
}
