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
                case .upstream, .listener: break
                }
            }
        }
    }
}
