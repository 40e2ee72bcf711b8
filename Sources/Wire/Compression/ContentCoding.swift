import Primitives

/// How a message's body is compressed (RFC 9110 section 8.4.1).
public enum ContentCoding: Sendable, Equatable {
    /// `gzip`, or `x-gzip`: RFC 1952.
    case gzip
    /// `deflate`: RFC 1950, and from some servers bare RFC 1951.
    case deflate

    /// What a `content-encoding` field says.
    public enum Reading: Sendable, Equatable {
        /// The body is as it is.
        case identity
        /// The body is compressed once, in a way that we understand.
        case coded(ContentCoding)
        /// We cannot read this body.
        case unknown
    }

    /// Reads a message's `content-encoding`.
    public static func read(_ fields: borrowing HeaderFields) -> Reading {
        guard let index = fields.index(of: "content-encoding") else { return .identity }
        guard fields.index(of: "content-encoding", from: index + 1) == nil else { return .unknown }
        let value = fields.value(at: index)
        if value.equalsIgnoringCase("gzip") || value.equalsIgnoringCase("x-gzip") {
            return .coded(.gzip)
        }
        if value.equalsIgnoringCase("deflate") { return .coded(.deflate) }
        return value.count == 0 || value.equalsIgnoringCase("identity") ? .identity : .unknown
    }

    /// Whether an `accept-encoding` takes gzip (RFC 9110 section 12.5.3): by its name or by `*`,
    /// unless with a weight of 0.
    public static func isGzipAccepted(_ fields: borrowing HeaderFields) -> Bool {
        var byName: Bool?
        var byStar: Bool?
        var next = fields.index(of: "accept-encoding")
        while let index = next {
            for item in fields.value(at: index).array.split(separator: UInt8(ascii: ",")) {
                let parts = item.split(separator: UInt8(ascii: ";")).map { trimmed($0) }
                let isWanted = !parts.dropFirst().contains(where: isZeroWeight)
                guard let name = parts.first else { continue }
                if name.span.equalsIgnoringCase("gzip") || name.span.equalsIgnoringCase("x-gzip") {
                    byName = isWanted
                } else if name.span.equals("*") {
                    byStar = isWanted
                }
            }
            next = fields.index(of: "accept-encoding", from: index + 1)
        }
        return byName ?? byStar ?? false
    }

    private static func trimmed(_ text: ArraySlice<UInt8>) -> [UInt8] {
        let isSpace = { (byte: UInt8) in byte == 0x20 || byte == 0x09 }
        return Array(text.drop(while: isSpace).reversed().drop(while: isSpace).reversed())
    }

    /// `q=0`, `q=0.`, `q=0.000`.
    private static func isZeroWeight(_ parameter: [UInt8]) -> Bool {
        guard parameter.count >= 3, parameter[0] | 0x20 == UInt8(ascii: "q"),
            parameter[1] == UInt8(ascii: "="), parameter[2] == UInt8(ascii: "0")
        else { return false }
        return parameter.dropFirst(3).allSatisfy {
            $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "0")
        }
    }
}

/// Why a compressed body cannot be read.
public struct CompressionFailure: Error, Sendable, Equatable {
    /// For people; never bytes of the body.
    public let reason: String

    init(_ reason: String) { self.reason = reason }
}
