import CNghttp2
import Primitives

/// What nghttp2 calls while it reads and writes. Plain functions: a closure would inherit an actor.
enum HTTP2Callbacks {
    typealias State = UnsafeMutablePointer<HTTP2State>

    /// nghttp2 gives a frame's length as `size_t` and its own results as `Int32`.
    static let failed = NGHTTP2_ERR_CALLBACK_FAILURE.rawValue
    static let streamFailed = NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue

    /// Adds all of them to a table.
    static func install(in table: OpaquePointer?) {
        unsafe nghttp2_session_callbacks_set_on_begin_frame_callback(table, frameBegan)
        unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(table, headersBegan)
        unsafe nghttp2_session_callbacks_set_on_header_callback(table, fieldArrived)
        unsafe nghttp2_session_callbacks_set_on_invalid_header_callback(table, badFieldArrived)
        unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table, dataArrived)
        unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(table, frameArrived)
        unsafe nghttp2_session_callbacks_set_on_frame_send_callback(table, frameSent)
        unsafe nghttp2_session_callbacks_set_on_frame_not_send_callback(table, frameNotSent)
        unsafe nghttp2_session_callbacks_set_send_data_callback(table, sendData)
        unsafe nghttp2_session_callbacks_set_on_stream_close_callback(table, streamClosed)
    }

    @unsafe static func state(_ context: UnsafeMutableRawPointer?) -> State? {
        unsafe context?.assumingMemoryBound(to: HTTP2State.self)
    }

    /// The stream that nghttp2 knows by the number; nil once it has ended, or was never ours.
    @unsafe static func stream(
        _ session: OpaquePointer?, _ number: Int32, _ state: State
    ) -> Handle? {
        let word = unsafe UInt(
            bitPattern: nghttp2_session_get_stream_user_data(session, number))
        return unsafe word == 0 ? nil : state.pointee.streams.handle(at: Int(word) - 1)
    }

    /// What nghttp2 is to remember of a stream.
    @unsafe static func mark(_ stream: Handle) -> UnsafeMutableRawPointer? {
        unsafe UnsafeMutableRawPointer(bitPattern: Int(stream.index) + 1)
    }
}

// MARK: - Receiving

private typealias Callbacks = HTTP2Callbacks

private func frameBegan(
    _ session: OpaquePointer?, _ header: UnsafePointer<nghttp2_frame_hd>?,
    _ context: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe Callbacks.state(context), let header = unsafe header?.pointee else {
        return Callbacks.failed
    }
    guard UInt32(header.type) == NGHTTP2_HEADERS.rawValue,
        unsafe nghttp2_session_find_stream(session, header.stream_id) == nil
    else { return 0 }
    return unsafe state.pointee.lateFrameBegan(header.stream_id, isData: false)
        ? 0 : Callbacks.failed
}

private func headersBegan(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?,
    _ context: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe Callbacks.state(context), let frame = unsafe frame?.pointee else {
        return Callbacks.failed
    }
    guard unsafe frame.headers.cat == NGHTTP2_HCAT_REQUEST else { return 0 }
    let number = unsafe frame.hd.stream_id
    unsafe state.pointee.newestStream = number
    let stream = unsafe state.pointee.streams.insert(
        HTTP2Stream(number: number, now: state.pointee.now))
    _ = unsafe nghttp2_session_set_stream_user_data(session, number, Callbacks.mark(stream))
    return 0
}

private func fieldArrived(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?,
    _ name: UnsafePointer<UInt8>?, _ nameCount: Int, _ value: UnsafePointer<UInt8>?,
    _ valueCount: Int, _ flags: UInt8, _ context: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe Callbacks.state(context),
        let number = unsafe frame?.pointee.hd.stream_id,
        let stream = unsafe Callbacks.stream(session, number, state)
    else { return 0 }
    let isTaken = unsafe state.pointee.streams[stream].take(
        name: UnsafeBufferPointer(start: name, count: nameCount).span,
        value: UnsafeBufferPointer(start: value, count: valueCount).span,
        limits: state.pointee.limits)
    guard !isTaken else { return 0 }
    _ = unsafe nghttp2_submit_rst_stream(
        session, 0, number, HTTP2ErrorCode.enhanceYourCalm.number)
    return Callbacks.streamFailed
}

/// RFC 9113 section 8.2.1: a message with such a field is malformed.
private func badFieldArrived(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?,
    _ name: UnsafePointer<UInt8>?, _ nameCount: Int, _ value: UnsafePointer<UInt8>?,
    _ valueCount: Int, _ flags: UInt8, _ context: UnsafeMutableRawPointer?
) -> Int32 {
    guard let number = unsafe frame?.pointee.hd.stream_id else { return Callbacks.failed }
    _ = unsafe nghttp2_submit_rst_stream(
        session, 0, number, HTTP2ErrorCode.protocolError.number)
    return Callbacks.streamFailed
}

private func dataArrived(
    _ session: OpaquePointer?, _ flags: UInt8, _ number: Int32, _ bytes: UnsafePointer<UInt8>?,
    _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe Callbacks.state(context) else { return Callbacks.failed }
    // The connection's window is for all streams: one that is held must not close it.
    _ = unsafe nghttp2_session_consume_connection(session, count)
    guard let stream = unsafe Callbacks.stream(session, number, state) else { return 0 }
    let start = Int(bitPattern: bytes) - Int(bitPattern: unsafe state.pointee.received)
    unsafe state.pointee.tell(.body(stream, start..<start + count))
    if unsafe state.pointee.streams[stream].isHeld {
        unsafe state.pointee.streams[stream].unconsumed += count
    } else {
        _ = unsafe nghttp2_session_consume_stream(session, number, count)
    }
    return 0
}

private func frameArrived(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?,
    _ context: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe Callbacks.state(context), let frame = unsafe frame?.pointee else {
        return Callbacks.failed
    }
    let header = unsafe frame.hd
    let isLast = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    switch UInt32(header.type) {
    case NGHTTP2_HEADERS.rawValue:
        guard let stream = unsafe Callbacks.stream(session, header.stream_id, state) else { break }
        if case .malformed = unsafe state.pointee.headEnded(stream, isLast: isLast) {
            _ = unsafe nghttp2_submit_rst_stream(
                session, 0, header.stream_id, HTTP2ErrorCode.protocolError.number)
        }
    case NGHTTP2_DATA.rawValue:
        // Padding around nothing is nothing, too (CVE-2019-9518).
        let isEmpty = unsafe frame.data.padlen > 0 && frame.data.padlen == header.length
        guard unsafe !isEmpty || isLast || state.pointee.idleFrameCame() else {
            return Callbacks.failed
        }
        guard isLast, let stream = unsafe Callbacks.stream(session, header.stream_id, state) else {
            break
        }
        unsafe state.pointee.messageEnded(stream)
    case NGHTTP2_RST_STREAM.rawValue:
        guard unsafe state.pointee.streamWasReset() else { return Callbacks.failed }
    case NGHTTP2_GOAWAY.rawValue: unsafe state.pointee.tell(.roomChanged)
    case NGHTTP2_SETTINGS.rawValue:
        if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0 {
            unsafe state.pointee.tell(.roomChanged)
        }
    case NGHTTP2_PING.rawValue:
        if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0 {
            unsafe state.pointee.hasPong = true
        }
    default: break
    }
    return 0
}

private func streamClosed(
    _ session: OpaquePointer?, _ number: Int32, _ code: UInt32,
    _ context: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe Callbacks.state(context),
        let stream = unsafe Callbacks.stream(session, number, state)
    else { return 0 }
    unsafe state.pointee.streamClosed(stream, HTTP2ErrorCode(number: code))
    return 0
}

// MARK: - Sending

private func frameSent(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?,
    _ context: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe Callbacks.state(context), let header = unsafe frame?.pointee.hd else {
        return Callbacks.failed
    }
    let isLast = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    switch UInt32(header.type) {
    case NGHTTP2_HEADERS.rawValue:
        unsafe state.pointee.sentHead = header.stream_id
        if isLast { unsafe answerEnded(session, header.stream_id, state) }
    case NGHTTP2_DATA.rawValue:
        unsafe state.pointee.dataWasSent(
            header.length, of: Callbacks.stream(session, header.stream_id, state))
        if isLast { unsafe answerEnded(session, header.stream_id, state) }
    case NGHTTP2_RST_STREAM.rawValue:
        let code = HTTP2ErrorCode(number: unsafe frame?.pointee.rst_stream.error_code ?? 0)
        guard unsafe state.pointee.streamWasBrokenOff(header.stream_id, code) else {
            return Callbacks.failed
        }
    default: break
    }
    return 0
}

/// RFC 9113 section 8.1: a request whose answer is complete need not be sent to its end.
@unsafe private func answerEnded(
    _ session: OpaquePointer?, _ number: Int32, _ state: Callbacks.State
) {
    guard unsafe state.pointee.isServer,
        unsafe nghttp2_session_get_stream_remote_close(session, number) == 0
    else { return }
    unsafe state.pointee.unwanted.append(number)
}

private func frameNotSent(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?, _ problem: Int32,
    _ context: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe Callbacks.state(context), let header = unsafe frame?.pointee.hd else {
        return Callbacks.failed
    }
    if UInt32(header.type) == NGHTTP2_HEADERS.rawValue {
        unsafe state.pointee.sentHead = header.stream_id
    }
    return 0
}

extension HTTP2Callbacks {
    /// Says how much of a stream's message the next frame takes; `sendData` then moves it.
    static let readData: nghttp2_data_source_read_callback = {
        session, number, _, length, flags, _, context in
        guard let state = unsafe state(context), let flags = unsafe flags,
            let stream = unsafe stream(session, number, state)
        else { return Int(streamFailed) }
        guard unsafe state.pointee.output.count < state.pointee.outputLimit else {
            unsafe state.pointee.waiting.append(number)
            return Int(NGHTTP2_ERR_DEFERRED.rawValue)
        }
        let backlog = unsafe state.pointee.streams[stream].backlog
        let isLast = unsafe state.pointee.streams[stream].hasEnded && backlog <= length
        guard backlog > 0 || isLast else {
            unsafe state.pointee.streams[stream].isDeferred = true
            return Int(NGHTTP2_ERR_DEFERRED.rawValue)
        }
        unsafe flags.pointee |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue
        if isLast {
            unsafe flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
            if unsafe submitTrailers(session, number, state.pointee.streams[stream].trailers) {
                unsafe flags.pointee |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
            }
        }
        return min(backlog, length)
    }
}

/// Has trailers follow the last frame of data, which then does not end the stream. False: none.
private func submitTrailers(
    _ session: OpaquePointer?, _ number: Int32, _ trailers: HeaderFields
) -> Bool {
    guard trailers.count > 0 else { return false }
    return unsafe FieldBlock(trailers, isCopied: true).withFields { fields, count in
        unsafe nghttp2_submit_trailer(session, number, fields, count) == 0
    }
}

/// Moves a frame of data straight from its stream behind what has been put together.
private func sendData(
    _ session: OpaquePointer?, _ frame: UnsafeMutablePointer<nghttp2_frame>?,
    _ header: UnsafePointer<UInt8>?, _ length: Int,
    _ source: UnsafeMutablePointer<nghttp2_data_source>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe Callbacks.state(context),
        let number = unsafe frame?.pointee.hd.stream_id
    else { return Callbacks.failed }
    guard let stream = unsafe Callbacks.stream(session, number, state) else {
        return Callbacks.streamFailed
    }
    unsafe state.pointee.output.append(
        span: UnsafeBufferPointer(start: header, count: 9).span)
    unsafe state.pointee.moveToOutput(length, of: stream)
    return 0
}
