import CNghttp2
public import Primitives

/// One HTTP/2 connection as a machine without I/O (RFC 9113), over nghttp2.
///
/// Bytes go in by `receive`, what they held comes out by `nextEvent`, and what is to be sent by
/// `takeOutput`, once a turn: frames of many streams leave in one write.
@safe public struct HTTP2Session: ~Copyable {
    private let session: OpaquePointer
    private let state: HTTP2Callbacks.State
    private var scanner: FrameScanner
    private var isDead = false
    private var isSayingGoodbye = false

    /// A server's session: SETTINGS is ready to be sent.
    public init(serverWith limits: HTTP2Limits, now: Instant) {
        self.init(isServer: true, limits, now)
        submitSettings([
            (NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, UInt32(limits.concurrentStreams)),
            (NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, UInt32(limits.streamWindowBytes)),
            (NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, UInt32(clamping: limits.headerListBytes)),
        ])
    }

    /// A client's session: the preface and SETTINGS are ready to be sent.
    public init(clientWith limits: HTTP2Limits, now: Instant) {
        self.init(isServer: false, limits, now)
        submitSettings([
            (NGHTTP2_SETTINGS_ENABLE_PUSH, 0),
            (NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, UInt32(limits.streamWindowBytes)),
            (NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, UInt32(clamping: limits.headerListBytes)),
        ])
    }

    private init(isServer: Bool, _ limits: HTTP2Limits, _ now: Instant) {
        scanner = FrameScanner(skipping: isServer ? HTTP2Preface.count : 0)
        unsafe state = .allocate(capacity: 1)
        unsafe state.initialize(to: HTTP2State(isServer: isServer, limits: limits, now: now))
        var made: OpaquePointer?
        let options = unsafe Self.options(limits)
        let table = unsafe Self.callbacks()
        let result =
            unsafe isServer
            ? nghttp2_session_server_new2(&made, table, state, options)
            : nghttp2_session_client_new2(&made, table, state, options)
        unsafe nghttp2_session_callbacks_del(table)
        unsafe nghttp2_option_del(options)
        guard result == 0, let made = unsafe made else {
            preconditionFailure("no memory for an HTTP/2 session")
        }
        unsafe session = made
    }

    /// The state, which callbacks reach by its address.
    private var core: HTTP2State {
        unsafeAddress { unsafe UnsafePointer(state) }
        nonmutating unsafeMutableAddress { unsafe state }
    }

    deinit {
        unsafe nghttp2_session_del(session)
        unsafe state.deinitialize(count: 1)
        unsafe state.deallocate()
    }

    // MARK: - Receiving

    /// Reads bytes from the peer; `nextEvent` then tells what they held. Nothing is thrown: when
    /// the peer breaks the protocol, the session says so to it and `isOver` becomes true.
    public mutating func receive(_ bytes: Span<UInt8>, now: Instant) {
        guard !isDead, bytes.count > 0 else { return }
        core.now = now
        core.received = unsafe bytes.withUnsafeBufferPointer { UInt(bitPattern: $0.baseAddress) }
        var readBytes = 0
        var position = 0
        // Where the next frame begins, unless it has begun before.
        var start = min(scanner.skipped, bytes.count)
        while let frame = scanner.next(bytes, position: &position) {
            guard core.frameBegan(frame) else { return die(HTTP2Callbacks.failed) }
            if frame.isData, core.isServer {
                // Whether its stream is open shows when everything before it has been read.
                read(bytes.extracting(readBytes..<start))
                readBytes = max(readBytes, start)
                guard !isDead else { return }
                guard
                    unsafe nghttp2_session_find_stream(session, frame.stream) != nil
                        || core.lateFrameBegan(frame.stream, isData: true)
                else { return die(HTTP2Callbacks.failed) }
            }
            start = min(position + frame.length, bytes.count)
        }
        read(bytes.extracting(readBytes..<bytes.count))
    }

    private mutating func read(_ bytes: Span<UInt8>) {
        guard !isDead, bytes.count > 0 else { return }
        let result = unsafe bytes.withUnsafeBufferPointer { buffer in
            unsafe nghttp2_session_mem_recv(session, buffer.baseAddress, buffer.count)
        }
        if result < 0 { die(Int32(clamping: result)) }
    }

    /// What the bytes held next; nil when everything has been told.
    public mutating func nextEvent() -> HTTP2Event? { core.takeEvent() }

    /// The head of a request that was just told; it is moved out of the session.
    public mutating func requestHead(of stream: Handle) throws(HTTPFailure) -> RequestHead {
        var request = RequestHead()
        request.method = core.streams[stream].head.method
        request.version = .http2
        swap(&request.target, &core.streams[stream].head.target)
        swap(&request.authority, &core.streams[stream].head.authority)
        request.fields = core.streams[stream].takeFields()
        request.framing = try framing(of: request.fields, stream)
        if let index = request.fields.index(of: "expect") {
            guard request.fields.value(at: index).equalsIgnoringCase("100-continue") else {
                throw HTTPFailure(status: 417, reason: "This expectation cannot be met.")
            }
            request.expectsContinue = request.framing != .none
        }
        return request
    }

    /// The head of a response that was just told; it is moved out of the session.
    public mutating func responseHead(of stream: Handle) throws(HTTPFailure) -> ResponseHead {
        var response = ResponseHead()
        response.status = core.streams[stream].head.status
        response.version = .http2
        response.fields = core.streams[stream].takeFields()
        response.framing = try framing(of: response.fields, stream)
        return response
    }

    private func framing(
        of fields: borrowing HeaderFields, _ stream: Handle
    ) throws(HTTPFailure) -> BodyFraming {
        let framing = try MessageFraming(fields, version: .http2)
        if let length = framing.length { return length == 0 ? .none : .length(length) }
        return core.streams[stream].isBodiless ? .none : .chunked
    }

    /// Stops or goes on taking a stream's body: the peer may send on until its window is used up.
    public mutating func setReading(_ isReading: Bool, stream: Handle) {
        guard contains(stream) else { return }
        core.streams[stream].isHeld = !isReading
        let count = core.streams[stream].unconsumed
        guard isReading, count > 0 else { return }
        core.streams[stream].unconsumed = 0
        _ = unsafe nghttp2_session_consume_stream(session, number(of: stream), count)
    }

    // MARK: - Streams

    /// Whether a stream has not ended.
    public func contains(_ stream: Handle) -> Bool {
        core.streams.contains(stream)
    }

    /// How many streams have not ended.
    public var streamCount: Int { core.streams.count }

    /// Bytes of our message that the peer has not made room for.
    public func backlog(of stream: Handle) -> Int {
        core.streams[stream].backlog
    }

    /// Who is to be told about a stream.
    public func owner(of stream: Handle) -> HTTP2StreamOwner? {
        contains(stream) ? core.streams[stream].owner : nil
    }

    /// Says who is to be told about a stream; nil: nobody any more.
    public mutating func setOwner(_ owner: HTTP2StreamOwner?, of stream: Handle) {
        core.streams[stream].owner = owner
    }

    /// The owners of all streams.
    public var owners: [HTTP2StreamOwner] {
        core.streams.handles.compactMap { stream in
            core.streams[stream].owner
        }
    }

    /// Streams without an owner: nobody waits for their end.
    public var orphans: [Handle] {
        core.streams.handles.filter { stream in
            core.streams[stream].owner == nil
        }
    }

    /// Streams whose peer has taken nothing for that long of what waits for it.
    public func stalled(_ milliseconds: Int, now: Instant) -> [Handle] {
        core.streams.handles.filter { stream in
            core.streams[stream].backlog > 0
                && now.milliseconds(since: core.streams[stream].progressedAt) >= milliseconds
        }
    }

    /// Whether a head has been coming for that long: nothing else passes meanwhile.
    public func isHeadLate(_ milliseconds: Int, now: Instant) -> Bool {
        core.streams.handles.contains { stream in
            core.isServer && core.streams[stream].reception == .head
                && now.milliseconds(since: core.streams[stream].progressedAt) >= milliseconds
        }
    }

    // MARK: - Sending

    /// Sends the head of an answer, and with `isLast` its end. A HEAD request's answer ends here.
    /// `date` is the value of a `DateField`.
    public mutating func respond(
        _ stream: Handle, status: Int, date: Span<UInt8> = Span(),
        fields: borrowing HeaderFields, length: Int?, isLast: Bool
    ) {
        let endsHere = isLast || core.streams[stream].isHeadRequest
        if endsHere { core.streams[stream].hasEnded = true }
        var block = FieldBlock(copy fields)
        block.lead.append(":status", decimal: status)
        if !date.isEmpty {
            block.lead.append("date", capacity: date.count) { $0.append(span: date) }
        }
        if let length { block.lead.append("content-length", decimal: length) }
        let number = number(of: stream)
        unsafe block.withFields { fields, count in
            var provider = unsafe Self.provider
            _ =
                unsafe endsHere
                ? nghttp2_submit_response(session, number, fields, count, nil)
                : nghttp2_submit_response(session, number, fields, count, &provider)
            // The fields are not copied: they become a frame while they are there.
            sendHead(number)
        }
    }

    /// Sends an interim answer, such as 100.
    public mutating func respondInterim(_ stream: Handle, status: Int) {
        var block = FieldBlock(HeaderFields())
        block.lead.append(":status", decimal: status)
        let number = number(of: stream)
        unsafe block.withFields { fields, count in
            _ = unsafe nghttp2_submit_headers(session, 0, number, nil, fields, count, nil)
            sendHead(number)
        }
    }

    /// Adds to a stream's message; with `isLast` it is complete.
    public mutating func append(_ body: Span<UInt8>, to stream: Handle, isLast: Bool) {
        guard !core.streams[stream].hasEnded else { return }
        core.streams[stream].append(body, now: core.now)
        core.streams[stream].hasEnded = isLast
        guard core.streams[stream].isDeferred else { return }
        core.streams[stream].isDeferred = false
        _ = unsafe nghttp2_session_resume_data(session, number(of: stream))
    }

    /// Fields to be sent behind our message, which has not ended yet (RFC 9113 section 8.1).
    public mutating func setTrailers(_ trailers: HeaderFields, of stream: Handle) {
        guard !core.streams[stream].hasEnded else { return }
        core.streams[stream].trailers = trailers
    }

    /// Breaks a stream off.
    public mutating func reset(_ stream: Handle, _ code: HTTP2ErrorCode) {
        guard contains(stream) else { return }
        _ = unsafe nghttp2_submit_rst_stream(session, 0, number(of: stream), code.number)
    }

    /// Sends a whole request. nil: the connection takes no more (`room` is used up).
    public mutating func request(
        path: [UInt8], authority: [UInt8], isTLS: Bool, fields: borrowing HeaderFields,
        body: [UInt8], owner: HTTP2StreamOwner
    ) -> Handle? {
        guard room > 0 else { return nil }
        let stream = core.streams.insert(
            HTTP2Stream(number: 0, now: core.now))
        core.streams[stream].owner = owner
        core.streams[stream].append(body.span, now: core.now)
        core.streams[stream].hasEnded = true
        var block = FieldBlock(copy fields)
        block.lead.append(":method", "POST")
        block.lead.append(":scheme", isTLS ? "https" : "http")
        block.lead.append(":authority", authority)
        block.lead.append(":path", path)
        block.lead.append("content-length", decimal: body.count)
        let number = unsafe block.withFields { fields, count in
            var provider = unsafe Self.provider
            let number = unsafe nghttp2_submit_request(
                session, nil, fields, count, &provider, HTTP2Callbacks.mark(stream))
            if number > 0 { sendHead(number) }
            return number
        }
        guard number > 0 else {
            _ = core.streams.remove(stream)
            return nil
        }
        core.streams[stream].number = number
        return stream
    }

    /// Whether the peer takes requests on this connection at all: it has not said goodbye.
    public var takesRequests: Bool {
        unsafe !isOver && nghttp2_session_check_request_allowed(session) != 0
    }

    /// How many more requests the peer takes now.
    public var room: Int {
        guard takesRequests else { return 0 }
        let most = unsafe nghttp2_session_get_remote_settings(
            session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
        // RFC 9113 section 6.5.2: without a word of the peer there is no limit; we keep one.
        let known = most == UInt32.max ? Limits.http2AssumedStreams : Int(most)
        return max(0, known - streamCount)
    }

    /// Moves what is to be sent into `bytes`: about `limit` bytes at most.
    public mutating func takeOutput(into bytes: inout [UInt8], limit: Int, now: Instant) {
        core.now = now
        core.outputLimit = limit
        // Frames are put together in the caller's memory: a thousand sessions keep none.
        swap(&bytes, &core.output)
        core.output.append(contentsOf: bytes)
        for number in takeWaiting() {
            _ = unsafe nghttp2_session_resume_data(session, number)
        }
        repeat {
            for number in takeUnwanted() {
                _ = unsafe nghttp2_submit_rst_stream(
                    session, 0, number, HTTP2ErrorCode.none.number)
            }
            while !isDead, core.output.count < limit, sendFrame() {}
        } while !core.unwanted.isEmpty
        core.outputLimit = 0
        bytes = []
        swap(&bytes, &core.output)
    }

    /// Whether so much waits to be sent that the peer should not be read before it has taken it:
    /// a peer that asks on and never reads would make us keep all answers (CVE-2019-9517).
    public var isCongested: Bool {
        let frames = unsafe nghttp2_session_get_outbound_queue_size(session)
        return core.output.count > Limits.http2UnsentHeadBytes || frames > Limits.http2UnsentFrames
    }

    /// Asks for a sign of life.
    public mutating func ping() {
        core.hasPong = false
        _ = unsafe nghttp2_submit_ping(session, 0, nil)
    }

    /// Whether no sign of life is owed.
    public var hasPong: Bool { core.hasPong }

    // MARK: - Ending

    /// Announces that the connection will end: streams that are on their way are still taken
    /// (RFC 9113 section 6.8).
    public mutating func announceShutdown() {
        guard !isSayingGoodbye else { return }
        isSayingGoodbye = true
        _ = unsafe nghttp2_submit_shutdown_notice(session)
    }

    /// Takes no more streams; those that are open go on.
    public mutating func shutDown() {
        isSayingGoodbye = true
        let last = unsafe nghttp2_session_get_last_proc_stream_id(session)
        _ = unsafe nghttp2_submit_goaway(
            session, 0, last, HTTP2ErrorCode.none.number, nil, 0)
    }

    /// Whether the connection is to be closed once its output is sent.
    public var isOver: Bool {
        guard !isDead else { return true }
        return unsafe nghttp2_session_want_read(session) == 0
            && nghttp2_session_want_write(session) == 0
    }

    // MARK: - nghttp2

    private mutating func sendHead(_ number: Int32) {
        core.sentHead = 0
        while !isDead, core.sentHead != number, sendFrame() {}
    }

    /// Puts the next frame behind the output. False: there is none.
    private mutating func sendFrame() -> Bool {
        var bytes: UnsafePointer<UInt8>?
        let before = core.output.count
        let count = unsafe nghttp2_session_mem_send(session, &bytes)
        guard count >= 0 else {
            die(Int32(clamping: count))
            return false
        }
        unsafe core.output.append(
            contentsOf: UnsafeBufferPointer(start: bytes, count: count))
        return core.output.count > before
    }

    /// nghttp2 has given up: the peer is told why, and nothing else happens any more.
    private mutating func die(_ problem: Int32) {
        isDead = true
        if core.isServer { core.forgetEvents() }
        let reported: HTTP2ErrorCode =
            switch nghttp2_error(problem) {
            case NGHTTP2_ERR_FLOODED, NGHTTP2_ERR_TOO_MANY_CONTINUATIONS,
                NGHTTP2_ERR_TOO_MANY_SETTINGS:
                .enhanceYourCalm
            case NGHTTP2_ERR_NOMEM: .internalError
            default: .protocolError
            }
        let code = core.failure ?? reported
        let last = UInt32(bitPattern: unsafe nghttp2_session_get_last_proc_stream_id(session))
        var frame: [UInt8] = [0, 0, 8, 0x7, 0, 0, 0, 0, 0]
        for number in [last, code.number] {
            for shift in stride(from: 24, through: 0, by: -8) {
                frame.append(UInt8(truncatingIfNeeded: number >> UInt32(shift)))
            }
        }
        core.output.append(contentsOf: frame)
    }

    private func takeWaiting() -> [Int32] {
        var taken: [Int32] = []
        swap(&taken, &core.waiting)
        return taken
    }

    private func takeUnwanted() -> [Int32] {
        var taken: [Int32] = []
        swap(&taken, &core.unwanted)
        return taken
    }

    private func number(of stream: Handle) -> Int32 {
        core.streams[stream].number
    }

    private func submitSettings(_ entries: [(nghttp2_settings_id, UInt32)]) {
        let settings = entries.map { id, value in
            nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: value)
        }
        _ = unsafe nghttp2_submit_settings(session, 0, settings, settings.count)
        let limits = core.limits
        _ = unsafe nghttp2_session_set_local_window_size(
            session, 0, 0, Int32(limits.connectionWindowBytes))
    }

    private static var provider: nghttp2_data_provider {
        unsafe nghttp2_data_provider(
            source: nghttp2_data_source(), read_callback: HTTP2Callbacks.readData)
    }

    private static func callbacks() -> OpaquePointer? {
        var table: OpaquePointer?
        _ = unsafe nghttp2_session_callbacks_new(&table)
        unsafe HTTP2Callbacks.install(in: table)
        return unsafe table
    }

    private static func options(_ limits: HTTP2Limits) -> OpaquePointer? {
        var options: OpaquePointer?
        _ = unsafe nghttp2_option_new(&options)
        // Windows open as bodies are taken, see `setReading`.
        unsafe nghttp2_option_set_no_auto_window_update(options, 1)
        unsafe nghttp2_option_set_no_closed_streams(options, 1)
        unsafe nghttp2_option_set_max_settings(options, Limits.http2SettingsEntries)
        unsafe nghttp2_option_set_max_outbound_ack(
            options, Limits.http2OutboundAcknowledgements)
        // It counts the pieces that a frame's nine bytes come in, too; we count frames.
        unsafe nghttp2_option_set_max_continuations(options, 9 * (limits.continuations + 1))
        // Ours comes first and has the better word for it; this is the second line.
        unsafe nghttp2_option_set_stream_reset_rate_limit(
            options, UInt64(2 * Limits.http2Resets), UInt64(2 * Limits.http2ResetsPerSecond))
        return unsafe options
    }
}
