import Gateway
import Primitives
import Wire

/// HTTP/2 sessions of both sides: what they have to say leaves once a turn.
extension Worker where K: ~Copyable {
    /// A session may have something to send: it is asked at the end of the turn.
    mutating func markDirty(_ session: Handle) {
        guard !sessions[session].isDirty else { return }
        sessions[session].isDirty = true
        dirtySessions.append(session)
    }

    /// Sends what all sessions have ready. One session's flush may give another something to send,
    /// and the journal something to write first.
    mutating func flushSessions() {
        while !dirtySessions.isEmpty {
            var batch: [Handle] = []
            swap(&batch, &dirtySessions)
            for session in batch where sessions.contains(session) {
                sessions[session].isDirty = false
                writeJournal()
                switch sessions[session].connection {
                case .client(let handle): flushClientSession(handle, session)
                case .upstream(let handle): flushBackendSession(handle, session)
                case .listener: break
                }
            }
        }
    }

    /// Sends what a session has ready, as far as its peer takes it. False: the peer has gone.
    mutating func sendOutput(_ session: Handle) -> Bool {
        while backlog(of: sessions[session].connection) == 0 {
            var bytes: [UInt8] = []
            swap(&bytes, &writeBuffer)
            bytes.removeAll(keepingCapacity: true)
            sessions[session].http2.takeOutput(
                into: &bytes, limit: Limits.http2OutputBytes, now: context.now)
            let isAlive = bytes.isEmpty || send(bytes.span, to: sessions[session].connection)
            let isDone = bytes.isEmpty
            swap(&bytes, &writeBuffer)
            if !isAlive || isDone { return isAlive }
        }
        return true
    }

    private func backlog(of connection: Token) -> Int {
        switch connection {
        case .client(let handle): clients[handle].transport.backlog
        case .upstream(let handle): upstreams[handle].transport.backlog
        case .listener: 0
        }
    }

    private mutating func send(_ bytes: Span<UInt8>, to connection: Token) -> Bool {
        switch connection {
        case .client(let handle): clients[handle].transport.send(bytes, &kernel)
        case .upstream(let handle): upstreams[handle].transport.send(bytes, &kernel)
        case .listener: false
        }
    }
}
