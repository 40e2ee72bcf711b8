import Glibc

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
