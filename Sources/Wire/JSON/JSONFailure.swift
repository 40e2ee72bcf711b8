/// Why a text is not JSON (RFC 8259), and where.
public struct JSONFailure: Error, Sendable, Equatable {
    /// The offset of the first wrong byte.
    public let offset: Int
    /// Its line, from 1.
    public let line: Int
    /// Its column in bytes, from 1.
    public let column: Int
    /// What is wrong there.
    public let reason: String

    init(_ reason: String, at offset: Int, in bytes: Span<UInt8>) {
        self.reason = reason
        self.offset = offset
        var line = 1
        var lineStart = 0
        for index in 0..<min(offset, bytes.count) where bytes[index] == UInt8(ascii: "\n") {
            line += 1
            lineStart = index + 1
        }
        self.line = line
        column = offset - lineStart + 1
    }
}
