import Primitives
import Wire

/// Where a request came from and when: what every answer, log line and ledger row begins with.
struct RequestOrigin: Sendable {
    /// Our own unique id.
    let id: String
    /// The client's `x-request-id` if it was sane, else one of ours.
    let requestID: String
    /// When the head arrived.
    let receivedAt: Instant
    /// The same in civil time.
    let startedAt: WallTime
    /// The client takes answers compressed by gzip.
    let acceptsGzip: Bool
    /// The client's `traceparent` and `tracestate`, which go on to a backend.
    let traceFields: HeaderFields

    init(head: borrowing RequestHead, context: inout ExchangeContext) {
        id = context.makeID()
        receivedAt = context.now
        startedAt = context.wall
        acceptsGzip = ContentCoding.isGzipAccepted(head.fields)
        if let given = head.fields.value(of: "x-request-id"), Self.isSane(given) {
            requestID = String(decoding: given, as: UTF8.self)
        } else {
            requestID = "req_" + id
        }
        var trace = HeaderFields()
        // W3C Trace Context: both go on, or a trace ends here.
        if let parent = head.fields.value(of: "traceparent") {
            trace.append("traceparent", parent)
            if let state = head.fields.value(of: "tracestate") {
                trace.append("tracestate", state)
            }
        }
        traceFields = trace
    }

    /// The body of a whole answer, compressed where that is worth it and the client takes it; the
    /// fields then say so.
    func compressed(_ body: [UInt8], _ fields: inout HeaderFields) -> [UInt8] {
        guard (Limits.compressedAnswerBytes...Limits.compressedAnswerLimit).contains(body.count)
        else { return body }
        // RFC 9110 section 12.5.5: a cache must not give it to others.
        fields.append("vary", "accept-encoding")
        guard acceptsGzip, let packed = Gzip.compress(body) else { return body }
        fields.append("content-encoding", "gzip")
        return packed
    }

    /// At most 128 characters of an id's usual alphabet: it becomes a header and a log member.
    private static func isSane(_ id: [UInt8]) -> Bool {
        guard !id.isEmpty, id.count <= Limits.requestIDBytes else { return false }
        return id.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"),
                UInt8(ascii: "."), UInt8(ascii: ":"), UInt8(ascii: "/"), UInt8(ascii: "+"),
                UInt8(ascii: "="):
                true
            default: false
            }
        }
    }
}
