import Primitives

/// How long a message's body is (RFC 9112 section 6): the rules against request smuggling live
/// here.
struct MessageFraming {
    private(set) var length: Int?
    private(set) var isChunked = false
    private(set) var hasConnectionClose = false
    private(set) var hasConnectionKeepAlive = false

    /// Reads the fields that frame a message.
    /// - Throws: 400 for whatever two readers could understand differently; 501 for a coding that
    ///   we do not know.
    init(_ fields: borrowing HeaderFields, version: HTTPVersion) throws(HTTPFailure) {
        var transferEncodings = 0
        var lengths = 0
        for index in 0..<fields.count {
            let name = fields.name(at: index)
            switch name.count {
            case 10 where name.equals("connection"): readConnection(fields.value(at: index))
            case 14 where name.equals("content-length"):
                lengths += 1
                length = try Self.number(fields.value(at: index))
            case 17 where name.equals("transfer-encoding"):
                transferEncodings += 1
                try readTransferEncoding(fields.value(at: index))
            default: break
            }
        }
        guard lengths <= 1, transferEncodings <= 1 else {
            throw HTTPFailure(
                status: 400, reason: "Content-Length or Transfer-Encoding is repeated.")
        }
        guard lengths == 0 || transferEncodings == 0 else {
            throw HTTPFailure(
                status: 400, reason: "Content-Length and Transfer-Encoding exclude each other.")
        }
        guard transferEncodings == 0 || version != .http10 else {
            throw HTTPFailure(status: 400, reason: "HTTP/1.0 has no Transfer-Encoding.")
        }
    }

    /// Whether the connection can be used again, as far as the head says.
    func isKeepAlive(_ version: HTTPVersion) -> Bool {
        version == .http10 ? hasConnectionKeepAlive && !hasConnectionClose : !hasConnectionClose
    }

    /// 1*DIGIT and nothing else: no sign, no list, no white space within.
    private static func number(_ value: Span<UInt8>) throws(HTTPFailure) -> Int {
        var number = 0
        for index in value.indices {
            guard value[index].isASCIIDigit else {
                throw HTTPFailure(status: 400, reason: "Content-Length is not a number.")
            }
            let (tens, overflow) = number.multipliedReportingOverflow(by: 10)
            let (sum, tooLarge) = tens.addingReportingOverflow(
                Int(value[index] - UInt8(ascii: "0")))
            guard !overflow, !tooLarge else {
                throw HTTPFailure(status: 413, reason: "Content-Length is too large.")
            }
            number = sum
        }
        guard value.count > 0 else {
            throw HTTPFailure(status: 400, reason: "Content-Length is empty.")
        }
        return number
    }

    private mutating func readTransferEncoding(_ value: Span<UInt8>) throws(HTTPFailure) {
        if value.equalsIgnoringCase("chunked") {
            isChunked = true
            return
        }
        // In a list, or with parameters, "chunked" is what another reader may see otherwise.
        if value.firstIndex(of: UInt8(ascii: ",")) != nil || Self.holdsChunked(value) {
            throw HTTPFailure(
                status: 400, reason: "Transfer-Encoding must be exactly 'chunked'.")
        }
        throw HTTPFailure(status: 501, reason: "This Transfer-Encoding is not supported.")
    }

    private static func holdsChunked(_ value: Span<UInt8>) -> Bool {
        guard value.count >= 7 else { return false }
        for start in 0...value.count - 7
        where value.extracting(start..<start + 7).equalsIgnoringCase("chunked") {
            return true
        }
        return false
    }

    private mutating func readConnection(_ value: Span<UInt8>) {
        var start = 0
        while start < value.count {
            var end = value.firstIndex(of: UInt8(ascii: ","), from: start) ?? value.count
            let next = end + 1
            while start < end, ByteClass.isBlank(value[start]) { start += 1 }
            while end > start, ByteClass.isBlank(value[end - 1]) { end -= 1 }
            let option = value.extracting(start..<end)
            if option.equalsIgnoringCase("close") { hasConnectionClose = true }
            if option.equalsIgnoringCase("keep-alive") { hasConnectionKeepAlive = true }
            start = next
        }
    }
}
