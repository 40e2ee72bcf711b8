import Primitives

/// Takes the chunked coding off a body (RFC 9112 section 7.1), cut anywhere.
struct ChunkedDecoder {
    private enum State {
        case size(Int, digits: Int)
        case blankBehindSize(Int)
        case chunkExtension(Int)
        case sizeLineFeed(Int)
        case data(Int)
        case dataReturn, dataLineFeed
        case trailer([UInt8])
        case done
    }

    /// What came of the bytes.
    enum Progress: Equatable {
        /// All bytes are used; more must come.
        case needsMore
        /// These bytes are body.
        case body(Range<Int>)
        /// The last chunk and the trailers are complete.
        case finished
    }

    private var state = State.size(0, digits: 0)
    private var extensionBytes = 0

    /// Reads on from `position`, which moves behind what was used.
    /// - Throws: 400 for anything that is not chunked coding.
    mutating func next(
        _ bytes: Span<UInt8>, position: inout Int, limits: HTTP1Limits,
        trailers: inout HeaderFields
    ) throws(HTTPFailure) -> Progress {
        while position < bytes.count {
            if case .data(let remaining) = state {
                let end = position + min(remaining, bytes.count - position)
                let range = position..<end
                position = end
                state = remaining == range.count ? .dataReturn : .data(remaining - range.count)
                return .body(range)
            }
            if skipPlainLine(bytes, &position) { continue }
            try step(bytes[position], limits: limits, trailers: &trailers)
            position += 1
            if case .done = state { return .finished }
        }
        return .needsMore
    }

    /// Passes what nearly always stands between the data of two chunks, when it is whole: an end of
    /// line, and a size with nothing behind it. A stream has a chunk for each token.
    private mutating func skipPlainLine(_ bytes: Span<UInt8>, _ position: inout Int) -> Bool {
        var at = position
        switch state {
        case .dataReturn:
            guard Self.isLineEnd(bytes, at) else { return false }
            state = .size(0, digits: 0)
        case .size(0, digits: 0):
            var size = 0
            // As many digits as cannot overflow.
            let limit = min(at + 15, bytes.count)
            while at < limit, let digit = bytes[at].hexadecimalValue {
                size = size << 4 | Int(digit)
                at += 1
            }
            guard size > 0, Self.isLineEnd(bytes, at) else { return false }
            state = .data(size)
        default: return false
        }
        position = at + 2
        return true
    }

    private static func isLineEnd(_ bytes: Span<UInt8>, _ at: Int) -> Bool {
        at + 1 < bytes.count && bytes[at] == 0x0d && bytes[at + 1] == 0x0a
    }

    private mutating func step(
        _ byte: UInt8, limits: HTTP1Limits, trailers: inout HeaderFields
    ) throws(HTTPFailure) {
        switch state {
        case .size(let size, let digits): try readSize(byte, size, digits)
        case .blankBehindSize(let size):
            // RFC 9112 section 7.1.1 lets blanks stand before the semicolon only.
            guard byte == UInt8(ascii: ";") || ByteClass.isBlank(byte) else {
                throw Self.badSize
            }
            if byte == UInt8(ascii: ";") { state = .chunkExtension(size) }
        case .chunkExtension(let size):
            extensionBytes += 1
            guard extensionBytes <= limits.chunkExtensionBytes else {
                throw HTTPFailure(status: 400, reason: "The chunk extensions are too long.")
            }
            if byte == 0x0d {
                state = .sizeLineFeed(size)
            } else if !ByteClass.isFieldValue(byte) {
                throw Self.badSize
            }
        case .sizeLineFeed(let size):
            guard byte == 0x0a else { throw Self.badSize }
            state = size == 0 ? .trailer([]) : .data(size)
        case .dataReturn:
            guard byte == 0x0d else { throw Self.badEnd }
            state = .dataLineFeed
        case .dataLineFeed:
            guard byte == 0x0a else { throw Self.badEnd }
            state = .size(0, digits: 0)
        case .trailer(var section):
            state = .done
            section.append(byte)
            try readTrailer(section, limits: limits, trailers: &trailers)
        case .data, .done: break
        }
    }

    private mutating func readSize(
        _ byte: UInt8, _ size: Int, _ digits: Int
    ) throws(HTTPFailure) {
        if let digit = byte.hexadecimalValue {
            // 15 digits cannot overflow; leading zeros beyond that serve nobody.
            guard digits < 15 else { throw Self.badSize }
            state = .size(size << 4 | Int(digit), digits: digits + 1)
            return
        }
        guard digits > 0 else { throw Self.badSize }
        switch byte {
        case 0x0d: state = .sizeLineFeed(size)
        case UInt8(ascii: ";"): state = .chunkExtension(size)
        case 0x20, 0x09: state = .blankBehindSize(size)
        default: throw Self.badSize
        }
    }

    /// A trailer section ends with an empty line; lines end with CRLF.
    private mutating func readTrailer(
        _ section: [UInt8], limits: HTTP1Limits, trailers: inout HeaderFields
    ) throws(HTTPFailure) {
        guard section.count <= limits.trailerBytes else {
            throw HTTPFailure(status: 431, reason: "The trailer section is too long.")
        }
        let count = section.count
        guard section[count - 1] == 0x0a else {
            state = .trailer(section)
            return
        }
        guard count >= 2, section[count - 2] == 0x0d else { throw Self.badEnd }
        let isEmptyLine = count == 2 || section[count - 3] == 0x0a
        guard isEmptyLine else {
            state = .trailer(section)
            return
        }
        try trailers.append(
            section: section.span.extracting(0..<count - 2), maximumCount: limits.headFields)
        state = .done
    }

    private static let badSize = HTTPFailure(status: 400, reason: "A chunk size is malformed.")
    private static let badEnd = HTTPFailure(
        status: 400, reason: "A chunk does not end where it should.")
}
