import Primitives

/// How an HTTP/2 client without TLS begins (RFC 9113 section 3.4).
public enum HTTP2Preface {
    /// How much of the preface the first bytes of a connection are.
    public enum Match: Sendable, Equatable {
        /// They are something else.
        case none
        /// They are its beginning: more must come.
        case partial
        /// All of it is there.
        case whole
    }

    private static let text: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    /// Its length.
    static let count = 24

    /// Compares the first bytes of a connection.
    public static func match(_ bytes: Span<UInt8>) -> Match {
        let preface = [UInt8](text)
        for index in 0..<min(bytes.count, preface.count) where bytes[index] != preface[index] {
            return .none
        }
        return bytes.count < preface.count ? .partial : .whole
    }
}
