import Gateway
import Glibc
import Primitives
import Synchronization
import Translation

/// The current credential of one backend, for all workers: a snapshot behind a lock, kept fresh by
/// a thread of its own off the data path (design D11).
final class CredentialStore: Sendable {
    private static let forcedPauseMilliseconds = 5_000

    private let snapshot: Locked<BackendCredential?>
    private let isRefused = Atomic<Bool>(false)
    private let fetchCount = Atomic<Int>(0)
    /// Wakes the thread; nil where there is none, for a credential that never changes.
    private let bell: Doorbell?

    /// A credential that never changes.
    init(fixed credential: BackendCredential?) {
        snapshot = Locked(credential)
        bell = nil
    }

    /// Credentials that are found and refreshed as `find` says, until nobody holds the store any
    /// more. `report` is told each time that refreshing begins to fail.
    init(
        find: @escaping @Sendable () throws(CredentialFailure) -> BackendCredential,
        report: @escaping @Sendable (String) -> Void
    ) {
        snapshot = Locked(nil)
        let bell = Doorbell()
        self.bell = bell
        do throws(KernelFailure) {
            let thread = try BackgroundThread { [weak self] in
                Self.keepFresh({ self }, bell, find, report)
            }
            thread.detach()
        } catch {
            report("no thread for credentials (errno \(error.number))")
        }
    }

    /// The credential to use at `now`; nil when there is none that is valid.
    func current(now: WallTime) -> BackendCredential? {
        let credential = snapshot.withLock { $0 }
        if case .aws(let keys) = credential, let expiration = keys.expiration, expiration <= now {
            return nil
        }
        return credential
    }

    /// How many credentials were fetched so far; nil for a fixed one.
    var generation: Int? { bell == nil ? nil : fetchCount.load(ordering: .acquiring) }

    /// The backend refused the credential: get another one soon.
    func wasRefused() {
        isRefused.store(true, ordering: .relaxed)
        bell?.ring()
    }

    /// The old credential serves until it expires, whatever happens here.
    private static func keepFresh(
        _ store: () -> CredentialStore?, _ bell: Doorbell,
        _ find: () throws(CredentialFailure) -> BackendCredential, _ report: (String) -> Void
    ) {
        var schedule = RefreshSchedule(now: SystemClock.now(), wall: SystemClock.wallTime())
        var lastForced: Instant?
        var isFailing = false
        while let current = store() {
            bell.answer()
            let (now, wall) = (SystemClock.now(), SystemClock.wallTime())
            let isRested =
                lastForced.map { now.milliseconds(since: $0) > forcedPauseMilliseconds } ?? true
            let isForced = current.isRefused.exchange(false, ordering: .relaxed) && isRested
            if isForced { lastForced = now }
            if isForced || schedule.isDue(now: now, wall: wall) {
                do throws(CredentialFailure) {
                    let found = try find()
                    current.snapshot.withLock { $0 = found }
                    current.fetchCount.wrappingAdd(1, ordering: .releasing)
                    isFailing = false
                    schedule.fetched(found, now: now, wall: wall)
                } catch {
                    if !isFailing { report(error.message) }
                    isFailing = true
                    schedule.failed(now: now, wall: wall)
                }
            }
            bell.wait(atMostMilliseconds: Limits.lookAroundMilliseconds)
        }
    }
}
