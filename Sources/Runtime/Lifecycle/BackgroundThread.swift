import Glibc
import Primitives

/// A POSIX thread that runs one closure.
@safe public final class BackgroundThread: @unchecked Sendable {
    private final class Start: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    private var thread = pthread_t()

    /// Starts a thread.
    /// - Throws: the `errno` value when the system has no thread to give.
    public init(_ body: @escaping @Sendable () -> Void) throws(KernelFailure) {
        let start = unsafe Unmanaged.passRetained(Start(body))
        let result = unsafe pthread_create(&thread, nil, threadEntry, start.toOpaque())
        guard result == 0 else {
            unsafe start.release()
            throw KernelFailure(number: result)
        }
    }

    /// Does `work` on a thread that gives way to all others of the process, and waits for it. Where
    /// the system has no thread to give, it is done on this one.
    static func givingWay<Result: Sendable>(_ work: @escaping @Sendable () -> Result) -> Result {
        let result = Locked<Result?>(nil)
        let thread = try? BackgroundThread {
            // On Linux of this thread alone, although POSIX says of the process.
            _ = nice(Self.courtesy)
            let done = work()
            result.withLock { $0 = done }
        }
        thread?.join()
        return result.withLock { $0 } ?? work()
    }

    /// With it a thread gets a tenth of a core that another one would have for itself.
    private static let courtesy: Int32 = 10

    /// Waits until the closure has returned. Call it once.
    public func join() { pthread_join(thread, nil) }

    /// Lets the thread end by itself; `join` must not be called then.
    public func detach() { pthread_detach(thread) }

    fileprivate static func run(_ context: UnsafeMutableRawPointer?) {
        guard let context = unsafe context else { return }
        let start = unsafe Unmanaged<Start>.fromOpaque(context).takeRetainedValue()
        start.body()
    }
}

/// A plain function: a closure written near `@main` would inherit the main actor and trap here.
private func threadEntry(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    unsafe BackgroundThread.run(context)
    return nil
}
