import Glibc
import Primitives
import Runtime
import Synchronization
import Wire

/// One HTTP/2 connection to the simulator: many replies are played side by side.
struct SimulatorStreams: ~Copyable {
    /// A reply whose writes are under way.
    private struct Playing {
        let reply: SimulatedReply
        var next = 0
        var due: Instant
    }

    private let backend: SimulatedBackend
    private let descriptor: Int32
    private var session: HTTP2Session
    private var heads: [Handle: RequestHead] = [:]
    private var bodies: [Handle: [UInt8]] = [:]
    private var playing: [Handle: Playing] = [:]

    init(_ backend: SimulatedBackend, _ descriptor: Int32) {
        self.backend = backend
        self.descriptor = descriptor
        session = HTTP2Session(serverWith: HTTP2Limits(), now: SystemClock.now())
    }

    deinit { backend.running.wrappingSubtract(playing.count, ordering: .relaxed) }

    /// Serves until the peer has gone; `greeting` is what it has sent so far.
    mutating func serve(_ greeting: [UInt8]) {
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        receive(greeting)
        while sendOutput(), !session.isOver {
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let ready = unsafe poll(&entry, 1, pauseMilliseconds)
            if ready > 0 {
                let count = unsafe chunk.withUnsafeMutableBytes {
                    unsafe recv(descriptor, $0.baseAddress, $0.count, 0)
                }
                guard count > 0 else { return }
                receive(Array(chunk[0..<count]))
            }
            play()
        }
    }

    private mutating func receive(_ bytes: [UInt8]) {
        session.receive(bytes.span, now: SystemClock.now())
        tell(bytes)
    }

    private mutating func tell(_ bytes: [UInt8]) {
        while let event = session.nextEvent() {
            switch event {
            case .head(let stream): heads[stream] = try? session.requestHead(of: stream)
            case .body(let stream, let range):
                bodies[stream, default: []].append(contentsOf: bytes[range])
            case .end(let stream): begin(stream)
            case .closed(let stream, _):
                heads[stream] = nil
                bodies[stream] = nil
                forget(stream)
            case .refused(let stream, _): session.reset(stream, .protocolError)
            case .roomChanged: break
            }
        }
    }

    private mutating func begin(_ stream: Handle) {
        guard let head = heads[stream] else { return session.reset(stream, .protocolError) }
        let request = SimulatedRequest(head: head, body: bodies[stream] ?? [])
        let reply = backend.reply(to: request, now: SystemClock.wallTime())
        session.respond(
            stream, status: reply.status, fields: reply.fields,
            length: reply.isStreamed ? nil : reply.writes.reduce(0) { $0 + $1.bytes.count },
            isLast: false)
        let pause = reply.writes.first?.afterMilliseconds ?? 0
        playing[stream] = Playing(
            reply: reply, due: SystemClock.now().advanced(byMilliseconds: pause))
        backend.running.wrappingAdd(1, ordering: .relaxed)
        play()
    }

    /// Makes all writes that are due.
    private mutating func play() {
        let now = SystemClock.now()
        for stream in playing.keys {
            while let reply = playing[stream], now >= reply.due { write(reply, to: stream) }
        }
    }

    private mutating func write(_ playing: Playing, to stream: Handle) {
        let reply = playing.reply
        var playing = playing
        if playing.next < reply.writes.count {
            let bytes = reply.writes[playing.next].bytes
            session.append(bytes.span, to: stream, isLast: false)
            playing.next += 1
        }
        if playing.next < reply.writes.count {
            playing.due = playing.due.advanced(
                byMilliseconds: reply.writes[playing.next].afterMilliseconds)
            self.playing[stream] = playing
            return
        }
        if reply.ending == .complete {
            session.append([UInt8]().span, to: stream, isLast: true)
            backend.count(reply)
        } else {
            session.reset(stream, .internalError)
        }
        forget(stream)
    }

    private mutating func forget(_ stream: Handle) {
        guard playing.removeValue(forKey: stream) != nil else { return }
        backend.running.wrappingSubtract(1, ordering: .relaxed)
    }

    /// How long nothing is to be written.
    private var pauseMilliseconds: Int32 {
        guard let due = playing.values.map(\.due).min() else { return -1 }
        let now = SystemClock.now()
        return due <= now ? 0 : Int32(clamping: due.milliseconds(since: now) + 1)
    }

    /// Sends what is ready, waiting for the peer to take it. False: it has gone.
    private mutating func sendOutput() -> Bool {
        while true {
            var output: [UInt8] = []
            session.takeOutput(
                into: &output, limit: Limits.http2OutputBytes, now: SystemClock.now())
            tell([])
            guard !output.isEmpty else { return true }
            guard SimulatorServer.send(&output, descriptor) else { return false }
        }
    }
}
