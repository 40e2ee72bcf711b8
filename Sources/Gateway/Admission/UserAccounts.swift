import Primitives
import Wire

/// The accounts of a limit that is counted by user: at most `Limits.userAccounts`, and the longest
/// unused one goes first. Everything takes the same time, however many there are.
///
/// A user whose account went starts afresh. One with a request under way is in no list, so that its
/// account stays until the request has settled.
struct UserAccounts: Sendable {
    private struct Node {
        var name: String
        var account: LimitAccount
        var openRequests = 0
        var older: Int?
        var newer: Int?
    }

    private var nodes: [Node] = []
    private var places: [String: Int] = [:]
    private var oldest: Int?
    private var newest: Int?
    private let capacity: Int

    init(capacity: Int = Limits.userAccounts) { self.capacity = capacity }

    /// How many users have an account.
    var count: Int { nodes.count }

    /// A user's name as it is kept: short, whatever the client sent.
    static func name(_ user: String?) -> String {
        guard let user, user.utf8.count > Limits.userNameBytes else { return user ?? "" }
        return "sha256:" + SHA256.digest(Array(user.utf8).span).hexadecimal(prefix: 32)
    }

    /// Where the account of a user is; it is made if there is none.
    mutating func place(of name: String, _ window: LimitConfiguration.Window) -> Int {
        if let known = places[name] {
            if nodes[known].openRequests == 0 {
                unlink(known)
                link(known)
            }
            return known
        }
        let place: Int
        if nodes.count >= capacity, let oldest {
            unlink(oldest)
            places[nodes[oldest].name] = nil
            nodes[oldest].name = name
            nodes[oldest].account = LimitAccount(window)
            place = oldest
        } else {
            place = nodes.count
            nodes.append(Node(name: name, account: LimitAccount(window)))
        }
        places[name] = place
        link(place)
        return place
    }

    subscript(place: Int) -> LimitAccount {
        get { nodes[place].account }
        _modify { yield &nodes[place].account }
    }

    /// A request of this user was admitted: the account must stay.
    mutating func requestBegan(_ place: Int) {
        if nodes[place].openRequests == 0 { unlink(place) }
        nodes[place].openRequests += 1
    }

    /// It has settled.
    mutating func requestEnded(_ place: Int) {
        precondition(nodes[place].openRequests > 0)
        nodes[place].openRequests -= 1
        if nodes[place].openRequests == 0 { link(place) }
    }

    /// The use of some users together, from one place on.
    func used(
        from start: Int, count: Int, _ limit: LimitConfiguration, now: Instant, wall: WallTime
    ) -> Int64 {
        var sum: Int64 = 0
        for place in start..<min(nodes.count, start + count) {
            var account = nodes[place].account
            account.advance(limit, now: now, wall: wall)
            sum = sum.addingClamped(account.used(limit))
        }
        return sum
    }

    private mutating func link(_ place: Int) {
        nodes[place].older = newest
        nodes[place].newer = nil
        if let newest { nodes[newest].newer = place } else { oldest = place }
        newest = place
    }

    private mutating func unlink(_ place: Int) {
        let (older, newer) = (nodes[place].older, nodes[place].newer)
        if let older { nodes[older].newer = newer } else { oldest = newer }
        if let newer { nodes[newer].older = older } else { newest = older }
        nodes[place].older = nil
        nodes[place].newer = nil
    }
}

extension Int64 {
    /// The sum, or the largest value when it does not fit.
    func addingClamped(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}
