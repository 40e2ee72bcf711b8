import Gateway
import Primitives
import Translation

/// The current credential of one backend, for all workers: a snapshot behind a lock.
final class CredentialStore: Sendable {
    private let snapshot: Locked<BackendCredential?>

    /// A credential that never changes.
    init(fixed credential: BackendCredential?) { snapshot = Locked(credential) }

    /// The credential to use at `now`; nil when there is none that is valid.
    func current(now: WallTime) -> BackendCredential? {
        let credential = snapshot.withLock { $0 }
        if case .aws(let keys) = credential, let expiration = keys.expiration, expiration <= now {
            return nil
        }
        return credential
    }

    /// The backend refused the credential: get another one soon.
    func wasRefused() {}
}
