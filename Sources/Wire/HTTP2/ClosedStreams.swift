import Primitives

/// How the streams that ended last have ended: frames may still come for those that we broke off,
/// for others they break the protocol (RFC 9113 section 5.1).
struct ClosedStreams {
    /// Why a stream is closed.
    enum Ending {
        /// The peer had ended its message, or had broken the stream off.
        case endedByPeer
        /// We broke it off: what the peer had sent by then still comes.
        case brokenOffByUs
    }

    /// A ring of stream numbers; those that we broke off are negative.
    private var numbers: [Int32] = []
    private var oldest = 0
    private var newest: Int32 = 0

    /// Remembers how a stream has ended. We break off first and close then: the first word counts.
    mutating func remember(_ number: Int32, _ ending: Ending) {
        guard number != newest else { return }
        newest = number
        let entry = ending == .endedByPeer ? number : -number
        guard numbers.count == Limits.http2RememberedStreams else { return numbers.append(entry) }
        numbers[oldest] = entry
        oldest = (oldest + 1) % numbers.count
    }

    /// How a stream has ended; nil: it never was, or long ago.
    func ending(of number: Int32) -> Ending? {
        for entry in numbers where entry.magnitude == number.magnitude {
            return entry > 0 ? .endedByPeer : .brokenOffByUs
        }
        return nil
    }
}
