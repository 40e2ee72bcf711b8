import Gateway
import Primitives

/// An answer that is complete but for its record: it leaves at the end of the turn.
struct HeldAnswer {
    let client: Handle
    var bytes: [UInt8]
}

/// What may be done for a request once the journal knows of it.
struct Admission {
    enum Step {
        case connect(leg: Int, backend: Int, isFresh: Bool)
        case fetch(ImageOrder)
    }

    let flight: Handle
    let step: Step
}

/// What a worker has to write down, and how its journal does.
struct JournalKeeping {
    enum State {
        /// The last write succeeded, or there was none.
        case healthy
        /// Records are kept here until the journal takes them.
        case failing(unwritten: [UInt8], retryAt: Instant)
    }

    var state = State.healthy
    /// When the segment that is written now is old enough; nil when there is none.
    var renewAt: Instant?
    /// What has happened since the last write.
    fileprivate(set) var records: [UInt8] = []
    fileprivate(set) var rows = SettledRows()
    /// What those records admit.
    var admissions: [Admission] = []

    /// When something is to be done though nothing happens.
    var nextLook: Instant? {
        switch state {
        case .healthy: renewAt
        case .failing(_, let retryAt): retryAt
        }
    }

    /// Takes what an exchange has to record out of its orders.
    mutating func take(from orders: ExchangeOrders) {
        guard !orders.records.isEmpty else { return }
        if let start = orders.settledRecord {
            let records = orders.records
            rows.append(record: records.span.extracting(start...))
        }
        if records.isEmpty {
            swap(&records, &orders.records)
        } else {
            records.append(contentsOf: orders.records)
        }
    }
}

/// The end of a turn: first the journal, then the answers whose records it has (design D7).
extension Worker where K: ~Copyable {
    /// Writes the journal and sends what has waited for it. Sending may find clients gone, whose
    /// requests then settle: so until nothing is left.
    mutating func finishTurn() {
        repeat {
            writeJournal()
            releaseAnswers()
            flushSessions()
        } while !journal.records.isEmpty || !heldAnswers.isEmpty
        tendJournal()
    }

    /// Writes down what has happened since the last call, in one system call or none, and lets
    /// happen what had to wait for that.
    mutating func writeJournal() {
        // What is admitted may fail at once, and is then to be recorded before that is told.
        while !journal.records.isEmpty {
            let isWritten: Bool
            switch journal.state {
            case .healthy: isWritten = appendToJournal()
            case .failing:
                keepUnwritten()
                isWritten = false
            }
            ledger.append(&journal.rows, areJournalled: isWritten)
            journal.records.removeAll(keepingCapacity: true)
            admit(areRecorded: isWritten)
        }
    }

    /// Lets admitted requests go on to their backends. Those that are not recorded are refused,
    /// unless the operator wants to go on without.
    private mutating func admit(areRecorded: Bool) {
        guard !journal.admissions.isEmpty else { return }
        var admissions: [Admission] = []
        swap(&admissions, &journal.admissions)
        let isRefusing = !areRecorded && plan.ledger.whenFull == .refuse
        for admission in admissions where flights.contains(admission.flight) {
            guard isRefusing else {
                carryOut(admission)
                continue
            }
            flights[admission.flight].exchange.recordingFailed(
                context: &context, orders: orders)
            carryOut(admission.flight)
        }
        guard journal.admissions.isEmpty else { return }
        // The memory is kept.
        admissions.removeAll(keepingCapacity: true)
        swap(&admissions, &journal.admissions)
    }

    mutating func carryOut(_ admission: Admission) {
        switch admission.step {
        case .connect(let leg, let backend, let isFresh):
            let assignment = Assignment(flight: admission.flight, leg: leg)
            connect(assignment, backend: backend, isFresh: isFresh)
        case .fetch(let images): kernel.fetchImages(images, ticket: admission.flight.word)
        }
    }

    private mutating func appendToJournal() -> Bool {
        switch kernel.journal(journal.records) {
        case .written(let segmentBytes):
            if segmentBytes >= Limits.journalSegmentBytes {
                journal.renewAt = context.now
            } else if journal.renewAt == nil {
                journal.renewAt = nextRenewal
            }
            return true
        case .failed:
            journalFailed()
            keepUnwritten()
            return false
        }
    }

    /// Keeps records for a journal that does not take them. Those beyond the bound are not lost as
    /// long as the process lives: their rows are on the way to the ledger.
    private mutating func keepUnwritten() {
        guard case .failing(var unwritten, let retryAt) = journal.state,
            unwritten.count + journal.records.count <= Limits.journalUnwrittenBytes
        else { return }
        journal.state = .healthy
        unwritten.append(contentsOf: journal.records)
        journal.state = .failing(unwritten: unwritten, retryAt: retryAt)
    }

    /// Begins a segment when the old one is old or full, or the journal may work again.
    private mutating func tendJournal() {
        guard let look = journal.nextLook, context.now >= look else { return }
        var records: [UInt8] = []
        for handle in flights.handles { flights[handle].exchange.appendOpened(to: &records) }
        switch journal.state {
        case .healthy where records.isEmpty:
            kernel.endJournal()
            journal.renewAt = nil
            return
        case .healthy: break
        case .failing(let unwritten, _): records.append(contentsOf: unwritten)
        }
        switch kernel.renewJournal(with: records) {
        case .written:
            if case .failing = journal.state { plan.metrics.journalsFailing.add(-1) }
            journal.state = .healthy
            journal.renewAt = nextRenewal
        case .failed: journalFailed()
        }
    }

    private mutating func journalFailed() {
        plan.metrics.journalFailures.add(1)
        let retryAt = context.now.advanced(byMilliseconds: Limits.journalRetryMilliseconds)
        switch journal.state {
        case .healthy:
            plan.metrics.journalsFailing.add(1)
            journal.state = .failing(unwritten: [], retryAt: retryAt)
        case .failing(let unwritten, _):
            journal.state = .failing(unwritten: unwritten, retryAt: retryAt)
        }
    }

    private var nextRenewal: Instant {
        context.now.advanced(byMilliseconds: Limits.journalSegmentMilliseconds)
    }

    // MARK: - Answers

    /// Keeps the end of an answer back until the journal is written. `bytes` becomes an empty
    /// buffer.
    mutating func hold(_ bytes: inout [UInt8], for handle: Handle) {
        if let index = clients[handle].heldAnswer {
            heldAnswers[index].bytes.append(contentsOf: bytes)
            return
        }
        var held = spareBuffers.popLast() ?? []
        swap(&held, &bytes)
        clients[handle].heldAnswer = heldAnswers.count
        heldAnswers.append(HeldAnswer(client: handle, bytes: held))
    }

    /// Sends what was held. What that settles is written down before the next answer leaves.
    private mutating func releaseAnswers() {
        var index = 0
        while index < heldAnswers.count {
            writeJournal()
            release(index)
            index += 1
        }
        heldAnswers.removeAll(keepingCapacity: true)
    }

    private mutating func release(_ index: Int) {
        let handle = heldAnswers[index].client
        var bytes: [UInt8] = []
        swap(&bytes, &heldAnswers[index].bytes)
        if clients.contains(handle) {
            clients[handle].heldAnswer = nil
            if bytes.isEmpty || sendToClient(handle, bytes.span) { closeWhenSent(handle) }
        }
        guard bytes.capacity <= Limits.spareBufferBytes,
            spareBuffers.count < Limits.spareBuffers
        else { return }
        bytes.removeAll(keepingCapacity: true)
        spareBuffers.append(bytes)
    }
}
