import Primitives

/// What one request's body takes of `limits.buffered_bytes`.
///
/// Each body is within a bound of its own, but one client with many streams could fill the memory
/// with them. The share goes back with the exchange, and so with the body.
struct BufferedShare: ~Copyable {
    private let gauge: Gauge
    private let limit: Int
    private var count = 0

    init(of plan: Plan) {
        gauge = plan.metrics.bufferedBytes
        limit = plan.limits.bufferedBytes
    }

    deinit { if count > 0 { gauge.add(-count) } }

    /// Takes more, before it is held. False: there is no room, and nothing was taken.
    mutating func take(_ bytes: Int) -> Bool {
        // Another worker may take at the same moment: the bound may be passed by one read each.
        guard gauge.value + bytes <= limit else { return false }
        gauge.add(bytes)
        count += bytes
        return true
    }
}
