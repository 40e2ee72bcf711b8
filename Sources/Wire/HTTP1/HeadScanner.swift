import Primitives

/// Finds the empty line that ends a head, and remembers how far it has looked: a head that comes
/// byte by byte costs no more than one that comes at once.
struct HeadScanner {
    enum Progress: Equatable {
        /// The empty line has not come.
        case needsMore
        /// The head ends before this offset, its empty line included.
        case complete(Int)
        /// A line does not end with CRLF (RFC 9112 section 2.2: we accept no bare LF). A bare CR is
        /// for whoever reads the line.
        case bareLineEnd
    }

    private var scanned = 0
    private var lineStart = 0

    /// Looks at a head that begins at `start`; earlier bytes of it must be there again.
    mutating func scan(_ bytes: Span<UInt8>, from start: Int) -> Progress {
        while let lineFeed = bytes.firstIndex(of: 0x0a, from: start + scanned) {
            scanned = lineFeed + 1 - start
            let length = lineFeed - (start + lineStart)
            guard length > 0, bytes[lineFeed - 1] == 0x0d else { return .bareLineEnd }
            if length == 1 { return .complete(lineFeed + 1) }
            lineStart = scanned
        }
        scanned = bytes.count - start
        return .needsMore
    }

    /// Ready for the next head.
    mutating func reset() { self = HeadScanner() }
}
