public import Primitives
public import Translation

/// When credentials are fetched again (design D11, bedrock-api.md section 5.6).
///
/// They expire at a time of the calendar, which may jump: many a machine starts with a wrong clock.
/// So a fetch is due when either clock says so, the calendar's or the one that only goes on.
public struct RefreshSchedule: Sendable {
    /// Ahead of expiry: well before the five minutes that requests need at the least.
    private static let leadSeconds: Int64 = 900
    /// After a failure: soon, but not in a storm.
    private static let retrySeconds: Int64 = 30
    /// Metadata services may repeat credentials that are about to expire.
    private static let shortestSeconds: Int64 = 60

    private enum Due {
        case at(WallTime, Instant)
        case never
    }

    private var due: Due

    /// A schedule whose first fetch is due at once.
    public init(now: Instant, wall: WallTime) { due = .at(wall, now) }

    /// Whether to fetch now.
    public func isDue(now: Instant, wall: WallTime) -> Bool {
        switch due {
        case .at(let dueWall, let dueInstant): wall >= dueWall || now >= dueInstant
        case .never: false
        }
    }

    /// A fetch has succeeded; credentials that never expire are not fetched again.
    public mutating func fetched(_ credential: BackendCredential, now: Instant, wall: WallTime) {
        guard case .aws(let keys) = credential, let expiration = keys.expiration else {
            due = .never
            return
        }
        let left = expiration.seconds - wall.seconds - Self.leadSeconds
        wait(seconds: max(left, Self.shortestSeconds), now, wall)
    }

    /// A fetch has failed.
    public mutating func failed(now: Instant, wall: WallTime) {
        wait(seconds: Self.retrySeconds, now, wall)
    }

    private mutating func wait(seconds: Int64, _ now: Instant, _ wall: WallTime) {
        due = .at(
            wall.advanced(bySeconds: seconds),
            now.advanced(byMilliseconds: Int(clamping: seconds * 1000)))
    }
}
