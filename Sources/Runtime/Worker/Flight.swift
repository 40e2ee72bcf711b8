import Gateway
import Primitives

/// An exchange and the connections it uses.
struct Flight: ~Copyable {
    /// One leg's connection, and the stream of it when it carries many.
    struct Leg {
        let number: Int
        let connection: Handle
        let stream: Handle?
    }

    var exchange: Exchange
    /// The client's connection.
    let client: Handle
    /// The client's stream; nil on HTTP/1, where the connection serves one request at a time.
    let stream: Handle?
    /// The pools of the plan that the exchange began with.
    let pools: [Handle]
    /// The number of that plan.
    let epoch: Int
    var armedFor: Instant?
    /// On HTTP/2: when the next piece of the request must have come.
    var bodyDeadline: Instant?
    /// Reading is paused on the backend's side because the client is slow.
    var isSlow = false
    private(set) var legs: [Leg] = []

    init(
        exchange: consuming Exchange, client: Handle, stream: Handle?, pools: [Handle], epoch: Int
    ) {
        self.exchange = exchange
        self.client = client
        self.stream = stream
        self.pools = pools
        self.epoch = epoch
    }

    mutating func remember(_ number: Int, _ connection: Handle, stream: Handle? = nil) {
        if !legs.isEmpty { forget(number) }
        legs.append(Leg(number: number, connection: connection, stream: stream))
    }

    mutating func forget(_ number: Int) { legs.removeAll { $0.number == number } }
}
