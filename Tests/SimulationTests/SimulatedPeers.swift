import Primitives
import Wire

@testable import Runtime
@testable import Simulator

/// A backend's end of one connection: requests come out, replies go in.
protocol SimulatedPeer: AnyObject {
    /// Takes bytes from the gateway; the requests that are complete now.
    func receive(_ bytes: [UInt8], now: Instant) -> [SimulatedRequest]
    /// Answers the oldest request that has no reply. False: the connection breaks with it.
    func reply(_ reply: SimulatedReply) -> Bool
    /// Takes what is to be sent to the gateway.
    func takeOutput(now: Instant) -> [UInt8]
}

/// A backend that speaks HTTP/1.1.
final class HTTP1Peer: SimulatedPeer {
    private let requests = RequestAccumulator()
    private var output: [UInt8] = []

    func receive(_ bytes: [UInt8], now: Instant) -> [SimulatedRequest] { requests.receive(bytes) }

    func reply(_ reply: SimulatedReply) -> Bool {
        let length = reply.writes.reduce(0) { $0 + $1.bytes.count }
        HTTP1Writer.responseHead(
            status: reply.status, fields: reply.fields,
            framing: reply.isStreamed ? .chunked : .length(length), keepAlive: true,
            version: .http11, into: &output)
        for write in reply.writes {
            if reply.isStreamed {
                HTTP1Writer.chunk(write.bytes.span, into: &output)
            } else {
                output += write.bytes
            }
        }
        if reply.ending == .complete, reply.isStreamed { HTTP1Writer.lastChunk(into: &output) }
        return reply.ending == .complete
    }

    func takeOutput(now: Instant) -> [UInt8] {
        let taken = output
        output = []
        return taken
    }
}

/// A backend that speaks HTTP/2.
final class HTTP2Peer: SimulatedPeer {
    private var session: HTTP2Session
    private var heads: [Handle: RequestHead] = [:]
    private var bodies: [Handle: [UInt8]] = [:]
    private var waiting: [Handle] = []
    /// How many of the next requests are refused unseen.
    var refusals = 0
    /// How many streams the gateway has broken off.
    private(set) var cancellations = 0

    init(now: Instant, streams: Int = 100) {
        var limits = HTTP2Limits()
        limits.concurrentStreams = streams
        session = HTTP2Session(serverWith: limits, now: now)
    }

    /// Announces that the connection takes no more requests.
    func sayGoodbye() { session.shutDown() }

    func receive(_ bytes: [UInt8], now: Instant) -> [SimulatedRequest] {
        session.receive(bytes.span, now: now)
        var requests: [SimulatedRequest] = []
        while let event = session.nextEvent() {
            switch event {
            case .head(let stream): heads[stream] = try? session.requestHead(of: stream)
            case .body(let stream, let range): bodies[stream, default: []] += bytes[range]
            case .end(let stream):
                guard let head = heads[stream] else { continue }
                if refusals > 0 {
                    refusals -= 1
                    session.reset(stream, .refusedStream)
                    continue
                }
                waiting.append(stream)
                requests.append(SimulatedRequest(head: head, body: bodies[stream] ?? []))
            case .closed(let stream, let code):
                if code == .cancel { cancellations += 1 }
                waiting.removeAll { $0 == stream }
            case .refused, .roomChanged: break
            }
        }
        return requests
    }

    func reply(_ reply: SimulatedReply) -> Bool {
        guard !waiting.isEmpty else { return true }
        let stream = waiting.removeFirst()
        session.respond(
            stream, status: reply.status, fields: reply.fields, length: nil, isLast: false)
        let isComplete = reply.ending == .complete
        for write in reply.writes { session.append(write.bytes.span, to: stream, isLast: false) }
        if isComplete {
            session.append([UInt8]().span, to: stream, isLast: true)
        } else {
            session.reset(stream, .internalError)
        }
        return true
    }

    func takeOutput(now: Instant) -> [UInt8] {
        var output: [UInt8] = []
        session.takeOutput(into: &output, limit: 1 << 20, now: now)
        return output
    }
}
