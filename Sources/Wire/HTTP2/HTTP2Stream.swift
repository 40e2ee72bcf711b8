import Primitives

/// What a session knows of one stream.
struct HTTP2Stream: ~Copyable {
    /// Where the message that we receive is.
    enum Reception {
        /// Its head is still to come, or is coming.
        case head
        /// Its head has been told; its body is coming.
        case body
        /// It is complete.
        case done
    }

    /// The head of the message that we receive.
    struct Head {
        var method = HTTPMethod.other
        var target: [UInt8] = []
        var authority: [UInt8] = []
        var status = 0
        var fields = HeaderFields()
        /// All crumbs of the cookie in one.
        var cookie: [UInt8] = []
        var listBytes = 0
        var failure: HTTPFailure?
        /// A field is not what RFC 9113 section 8.2.1 allows.
        var isMalformed = false
    }

    /// The number on the wire; 0 until a request has got one.
    var number: Int32
    var owner: HTTP2StreamOwner?
    var reception = Reception.head
    var head = Head()
    /// The message that we receive ended with its head.
    var isBodiless = false
    /// The request wants no body in its answer.
    var isHeadRequest = false
    /// The stream ended before our message did.
    var isBroken = false
    var wasTold = false

    // What we send.
    private var pending: [UInt8] = []
    private var pendingStart = 0
    /// All of our message is in `pending`.
    var hasEnded = false
    /// What goes out behind our message.
    var trailers = HeaderFields()
    /// The session waits for more of our message.
    var isDeferred = false
    /// When the peer last took something of what was waiting.
    var progressedAt: Instant

    // Flow control of what we receive.
    var isHeld = false
    var unconsumed = 0

    init(number: Int32, now: Instant) {
        self.number = number
        progressedAt = now
    }

    /// Bytes of our message that have not become frames.
    var backlog: Int { pending.count - pendingStart }

    mutating func append(_ body: Span<UInt8>, now: Instant) {
        if backlog == 0 {
            pending.removeAll(keepingCapacity: true)
            pendingStart = 0
            progressedAt = now
        }
        pending.append(span: body)
    }

    /// Moves `count` waiting bytes to the end of `output`.
    mutating func take(_ count: Int, into output: inout [UInt8], now: Instant) {
        output.append(span: pending.span.extracting(pendingStart..<pendingStart + count))
        pendingStart += count
        progressedAt = now
        // A long answer to a slow reader must not keep what has been read.
        if pendingStart == pending.count || pendingStart > Limits.http2StreamBacklogBytes {
            pending.removeFirst(pendingStart)
            pendingStart = 0
        }
    }

    /// Takes one field of the head, or of the trailers, which say nothing that we would pass on.
    /// False: the list is far too long to go on listening.
    mutating func take(
        name: Span<UInt8>, value: Span<UInt8>, limits: HTTP2Limits
    ) -> Bool {
        head.listBytes += name.count + value.count + 32
        guard case .head = reception else {
            return head.listBytes <= Self.bearableLists * limits.headerListBytes
        }
        guard head.listBytes <= limits.headerListBytes, head.fields.count < limits.headerFields
        else {
            head.failure = HTTPFailure(
                status: 431, reason: "The request's header is too long, or has too many fields.")
            return head.listBytes <= Self.bearableLists * limits.headerListBytes
        }
        // nghttp2 has checked that pseudo-header fields are known, first and single.
        guard name.count > 0, name[0] == UInt8(ascii: ":") else {
            takeField(name, value)
            return true
        }
        switch name.count {
        case 5: if name.equals(":path") { takeTarget(value, limits) }
        case 7:
            if name.equals(":method") {
                head.method = HTTPMethod(token: value)
            } else if name.equals(":status") {
                head.status = Self.status(value)
            }
        case 10: if name.equals(":authority") { head.authority = value.array }
        default: break
        }
        return true
    }

    /// A list that is too long is read up to this many times its limit: then it can be answered.
    private static let bearableLists = 4

    private mutating func takeField(_ name: Span<UInt8>, _ value: Span<UInt8>) {
        guard Self.isProper(name: name), Self.isProper(value: value) else {
            head.isMalformed = true
            return
        }
        guard name.equals("cookie") else {
            if head.fields.count == 0 {
                head.fields = HeaderFields(reservingFields: 16, bytes: 512)
            }
            return head.fields.append(lowercaseName: name, value: value)
        }
        if !head.cookie.isEmpty { head.cookie.append("; ") }
        head.cookie.append(span: value)
    }

    /// A token without upper-case letters (RFC 9113 section 8.2.1).
    private static func isProper(name: Span<UInt8>) -> Bool {
        for index in name.indices where !ByteClass.isLowercaseToken(name[index]) { return false }
        return name.count > 0
    }

    /// No control character, and no white space around (RFC 9113 section 8.2.1). nghttp2 looks for
    /// that too; what gets through here could become a line of HTTP/1.1 elsewhere.
    private static func isProper(value: Span<UInt8>) -> Bool {
        guard value.count > 0 else { return true }
        for index in value.indices where !ByteClass.isFieldValue(value[index]) { return false }
        return !ByteClass.isBlank(value[0]) && !ByteClass.isBlank(value[value.count - 1])
    }

    private mutating func takeTarget(_ value: Span<UInt8>, _ limits: HTTP2Limits) {
        guard value.count <= limits.targetBytes else {
            head.failure = RequestHeadParser.targetTooLong
            return
        }
        head.target = value.array
    }

    /// Three digits; nghttp2 has checked that.
    private static func status(_ value: Span<UInt8>) -> Int {
        var status = 0
        for index in value.indices.prefix(3) {
            status = status * 10 + Int(value[index] & 15)
        }
        return status
    }

    /// The head is complete: the cookie's crumbs become one field (RFC 9113 section 8.2.3).
    mutating func finishHead(isLast: Bool) {
        isBodiless = isLast
        guard !head.cookie.isEmpty else { return }
        head.fields.append("cookie", head.cookie)
        head.cookie = []
    }

    /// Moves the fields of a head that was told out; trailers are counted anew.
    mutating func takeFields() -> HeaderFields {
        var fields = HeaderFields()
        swap(&fields, &head.fields)
        head.listBytes = 0
        return fields
    }

    /// Whether a complete response head can be understood.
    var isProperResponse: Bool { head.failure == nil && !head.isMalformed }

    /// Whether a complete request head says one thing only (RFC 9113 section 8.3.1).
    var isProperRequest: Bool {
        guard !head.isMalformed else { return false }
        guard head.method != .connect else { return !head.authority.isEmpty }
        let isAsterisk = head.method == .options && head.target.span.equals("*")
        guard head.target.first == UInt8(ascii: "/") || isAsterisk,
            head.target.allSatisfy(ByteClass.isTarget),
            head.authority.allSatisfy(ByteClass.isAuthority)
        else { return false }
        guard let index = head.fields.index(of: "host") else { return true }
        let host = head.fields.value(at: index)
        for index in host.indices where !ByteClass.isAuthority(host[index]) { return false }
        return head.fields.index(of: "host", from: index + 1) == nil
            && (head.authority.isEmpty || Self.isSameHost(host, head.authority.span))
    }

    /// RFC 3986 section 6.2.2.1: hosts compare without case.
    private static func isSameHost(_ host: Span<UInt8>, _ other: Span<UInt8>) -> Bool {
        guard host.count == other.count else { return false }
        for index in host.indices
        where host[index].asciiLowercased != other[index].asciiLowercased {
            return false
        }
        return true
    }
}
