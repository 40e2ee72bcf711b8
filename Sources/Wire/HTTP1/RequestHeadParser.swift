import Primitives

/// Reads the request line and fields of a complete request head (RFC 9112 sections 3 and 5).
struct RequestHeadParser {
    static let targetTooLong = HTTPFailure(status: 414, reason: "The request target is too long.")

    let limits: HTTP1Limits

    /// Parses `bytes[range]`: all lines with their CRLF, without the empty one.
    func parse(
        _ bytes: Span<UInt8>, _ range: Range<Int>, into head: inout RequestHead
    ) throws(HTTPFailure) {
        guard let lineEnd = bytes.firstIndex(of: 0x0d, from: range.lowerBound),
            lineEnd < range.upperBound, bytes[lineEnd + 1] == 0x0a
        else { throw Self.badLine }
        // As for a line that has not come whole: how it was cut must not matter.
        guard lineEnd - range.lowerBound <= limits.requestLineBytes else {
            throw Self.targetTooLong
        }
        let target = try parseLine(bytes, range.lowerBound..<lineEnd, into: &head)
        head.fields.removeAll()
        try head.fields.append(
            section: bytes.extracting(lineEnd + 2..<range.upperBound),
            maximumCount: limits.headFields)
        let framing = try MessageFraming(head.fields, version: head.version)
        head.framing =
            framing.isChunked ? .chunked : framing.length.map { .length($0) } ?? .none
        head.isKeepAlive = framing.isKeepAlive(head.version)
        head.expectsContinue = try expectsContinue(head)
        try resolve(bytes.extracting(target), into: &head)
    }

    private func parseLine(
        _ bytes: Span<UInt8>, _ line: Range<Int>, into head: inout RequestHead
    ) throws(HTTPFailure) -> Range<Int> {
        var at = line.lowerBound
        while at < line.upperBound, ByteClass.isToken(bytes[at]) { at += 1 }
        guard at > line.lowerBound, at < line.upperBound, bytes[at] == 0x20 else {
            throw Self.badLine
        }
        head.method = HTTPMethod(token: bytes.extracting(line.lowerBound..<at))
        let targetStart = at + 1
        at = targetStart
        while at < line.upperBound, ByteClass.isTarget(bytes[at]) { at += 1 }
        guard at > targetStart, at < line.upperBound, bytes[at] == 0x20 else {
            throw Self.badLine
        }
        guard at - targetStart <= limits.targetBytes else { throw Self.targetTooLong }
        head.version = try Self.version(bytes.extracting(at + 1..<line.upperBound))
        return targetStart..<at
    }

    static func version(_ text: Span<UInt8>) throws(HTTPFailure) -> HTTPVersion {
        if text.equals("HTTP/1.1") { return .http11 }
        if text.equals("HTTP/1.0") { return .http10 }
        let isVersion =
            text.count == 8 && text.starts(with: "HTTP/") && text[5].isASCIIDigit
            && text[6] == UInt8(ascii: ".") && text[7].isASCIIDigit
        guard isVersion else { throw badLine }
        // RFC 9110 section 2.5: a higher minor version is read as the one we know.
        if text[5] == UInt8(ascii: "1") { return .http11 }
        throw HTTPFailure(status: 505, reason: "This version of HTTP is not supported.")
    }

    private func expectsContinue(_ head: borrowing RequestHead) throws(HTTPFailure) -> Bool {
        guard let index = head.fields.index(of: "expect") else { return false }
        guard head.fields.value(at: index).equalsIgnoringCase("100-continue") else {
            throw HTTPFailure(status: 417, reason: "This expectation cannot be met.")
        }
        return head.version != .http10 && head.framing != .none && head.framing != .length(0)
    }

    /// Target and authority (RFC 9112 sections 3.2 and 3.3).
    private func resolve(
        _ target: Span<UInt8>, into head: inout RequestHead
    ) throws(HTTPFailure) {
        try checkHost(head)
        head.target.removeAll(keepingCapacity: true)
        if !head.authority.isEmpty { head.authority = [] }
        if head.method == .connect {
            try Self.checkAuthority(target)
            head.authority = target.array
        } else if target[0] == UInt8(ascii: "/") || head.method == .options && target.equals("*") {
            head.target.append(span: target)
        } else {
            try resolveAbsolute(target, into: &head)
        }
    }

    private func resolveAbsolute(
        _ target: Span<UInt8>, into head: inout RequestHead
    ) throws(HTTPFailure) {
        let schemeLength =
            if target.count > 7, target.extracting(0..<7).equalsIgnoringCase("http://") {
                7
            } else if target.count > 8, target.extracting(0..<8).equalsIgnoringCase("https://") {
                8
            } else { 0 }
        guard schemeLength > 0 else { throw Self.badLine }
        var end = schemeLength
        while end < target.count, target[end] != UInt8(ascii: "/"), target[end] != UInt8(ascii: "?")
        {
            end += 1
        }
        let authority = target.extracting(schemeLength..<end)
        try Self.checkAuthority(authority)
        head.authority = authority.array
        var path = target.extracting(end..<target.count).array
        if path.first != UInt8(ascii: "/") { path.insert(UInt8(ascii: "/"), at: 0) }
        head.target = path
    }

    /// RFC 9112 section 3.2: exactly one Host field in HTTP/1.1, and a proper one.
    private func checkHost(_ head: borrowing RequestHead) throws(HTTPFailure) {
        guard let index = head.fields.index(of: "host") else {
            guard head.version == .http10 else {
                throw HTTPFailure(status: 400, reason: "The Host field is missing.")
            }
            return
        }
        guard head.fields.index(of: "host", from: index + 1) == nil else {
            throw HTTPFailure(status: 400, reason: "The Host field is repeated.")
        }
        let value = head.fields.value(at: index)
        if value.count > 0 { try Self.checkAuthority(value) }
    }

    private static func checkAuthority(_ authority: Span<UInt8>) throws(HTTPFailure) {
        var isProper = authority.count > 0
        for index in authority.indices where !ByteClass.isAuthority(authority[index]) {
            isProper = false
        }
        guard isProper else {
            throw HTTPFailure(status: 400, reason: "The host is malformed.")
        }
    }

    private static let badLine = HTTPFailure(
        status: 400, reason: "The request line is malformed.")
}
