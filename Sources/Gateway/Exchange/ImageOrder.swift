import Synchronization

/// Images that a request names by URL, while they are fetched and used: the thread that fetches
/// them sees here whether anybody still wants them, and takes their room in
/// `limits.buffered_bytes`. The room goes back with the order, and so with the images.
public final class ImageOrder: Sendable {
    /// Where they are.
    public let urls: [[UInt8]]
    private let gauge: Gauge
    private let limit: Int
    private let heldBytes = Atomic<Int>(0)
    private let isCancelled = Atomic<Bool>(false)

    init(_ urls: [[UInt8]], plan: Plan) {
        self.urls = urls
        gauge = plan.metrics.bufferedBytes
        limit = plan.limits.bufferedBytes
    }

    deinit { gauge.add(-heldBytes.load(ordering: .acquiring)) }

    /// Whether the request is still under way.
    public var isWanted: Bool { !isCancelled.load(ordering: .relaxed) }

    /// The request has ended.
    func cancel() { isCancelled.store(true, ordering: .relaxed) }

    /// Takes room for more bytes, before they are held. False: there is none, and none was taken.
    public func take(_ bytes: Int) -> Bool {
        // As for bodies, the bound may be passed by one piece for each thread.
        guard gauge.value + bytes <= limit else { return false }
        gauge.add(bytes)
        heldBytes.add(bytes, ordering: .acquiringAndReleasing)
        return true
    }
}
