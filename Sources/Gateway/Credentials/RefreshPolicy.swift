public import Primitives
public import Translation

/// When credentials are fetched again (design D11, bedrock-api.md section 5.6).
public enum RefreshPolicy {
    /// Ahead of expiry: well before the five minutes that requests need at the least.
    private static let leadSeconds: Int64 = 900
    /// After a failure: soon, but not in a storm.
    private static let retrySeconds: Int64 = 30
    /// Metadata services may repeat credentials that are about to expire.
    private static let shortestSeconds: Int64 = 60

    /// When to fetch again after a success; nil for credentials that never expire.
    public static func next(after credentials: AWSCredentials, now: WallTime) -> WallTime? {
        guard let expiration = credentials.expiration else { return nil }
        let wanted = expiration.advanced(bySeconds: -leadSeconds)
        return max(wanted, now.advanced(bySeconds: shortestSeconds))
    }

    /// When to try again after a failure.
    public static func retry(now: WallTime) -> WallTime { now.advanced(bySeconds: retrySeconds) }
}
