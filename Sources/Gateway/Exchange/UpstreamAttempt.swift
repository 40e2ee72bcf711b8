import Primitives
import Translation
import Wire

/// One try of one request at one target: its call, and a leg for each HTTP request of the call.
final class UpstreamAttempt {
    /// One HTTP request of the call and what has become of it.
    struct Leg {
        enum Phase: Equatable {
            /// Its turn has not come.
            case waiting
            /// It waits for a connection.
            case connecting
            /// The request is on its way; no byte of the answer yet.
            case sent
            /// The answer is coming.
            case answering
            /// Done, one way or the other.
            case done
        }

        var phase: Phase = .waiting
        /// When the phase began, or the last byte came.
        var since: Instant
        var isReused = false
        /// How often the request was sent again because the backend had not seen it.
        var resends = 0
        var head = ResponseHead()
        var body: [UInt8] = []
        /// Decompresses the body; nil when it comes as it is.
        var decoder: BodyDecoder?

        /// Whether a failure shows that the backend has not seen the request: it said so, or closed
        /// a kept connection just as we used it (RFC 9112 section 9.3.1).
        func wasUnseen(_ failure: UpstreamFailure) -> Bool {
            switch failure {
            case .unprocessed: phase == .sent
            case .closed: phase == .sent && isReused
            case .connect, .tls, .poolExhausted, .noDescriptor, .reset, .unresponsive, .malformed:
                false
            }
        }
    }

    let target: Int
    let backend: Int
    let call: any BackendCall
    var legs: [Leg]
    var output = StreamOutput()
    /// Of whole answers, over all legs.
    var bodyBytes = 0
    /// Whether all of a whole answer has come, readable or not.
    var hasWholeAnswer = false

    init(target: Int, backend: Int, call: any BackendCall, now: Instant) {
        self.target = target
        self.backend = backend
        self.call = call
        legs = (0..<call.requestCount).map { _ in Leg(since: now) }
    }

    /// Moves a leg to a phase that begins now.
    func enter(_ phase: Leg.Phase, leg: Int, at now: Instant) {
        legs[leg].phase = phase
        legs[leg].since = now
    }

    /// Whether a leg is under way.
    func isActive(_ leg: Int) -> Bool {
        legs.indices.contains(leg) && legs[leg].phase != .done && legs[leg].phase != .waiting
    }

    /// The answers of all legs; of theirs only the status stays.
    func takeAnswers() -> [UpstreamAnswer] {
        legs.indices.map { leg in
            var answer = UpstreamAnswer(head: ResponseHead(), body: [])
            swap(&answer.head, &legs[leg].head)
            swap(&answer.body, &legs[leg].body)
            legs[leg].head.status = answer.head.status
            return answer
        }
    }

    /// Whether any request may have reached the backend.
    var hasSent: Bool { legs.contains { $0.phase != .waiting && $0.phase != .connecting } }

    /// Whether the backend has begun to answer with success.
    var hasSuccess: Bool { legs.contains { $0.head.status != 0 && $0.head.status < 300 } }

    /// When the first of the legs' clocks runs out, and what it measures.
    func deadline(_ timeouts: BackendTimeouts) -> (Instant, CallClock.Measure)? {
        var earliest: (Instant, CallClock.Measure)?
        for leg in legs {
            let candidate: (Instant, CallClock.Measure)
            switch leg.phase {
            case .waiting, .done: continue
            case .connecting:
                candidate = (
                    leg.since.advanced(byMilliseconds: timeouts.connectMilliseconds), .connect
                )
            case .sent:
                candidate = (
                    leg.since.advanced(byMilliseconds: timeouts.firstByteMilliseconds), .firstByte
                )
            case .answering:
                candidate = (leg.since.advanced(byMilliseconds: timeouts.idleMilliseconds), .idle)
            }
            if let known = earliest, known.0 <= candidate.0 { continue }
            earliest = candidate
        }
        return earliest
    }
}

/// Holds the decompressor of a leg's answer, which cannot be copied.
final class BodyDecoder {
    var inflater: Inflater
    /// What came out of the last step.
    var output: [UInt8] = []

    init(_ coding: ContentCoding) { inflater = Inflater(coding) }
}
