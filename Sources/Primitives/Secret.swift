/// A credential. It has no description, so that no log line, error or metric can show it by
/// accident.
public struct Secret: Sendable, CustomStringConvertible, CustomDebugStringConvertible,
    CustomReflectable
{
    private let bytes: [UInt8]

    /// A secret with these bytes.
    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// A secret with this text as UTF-8.
    public init(_ text: String) { bytes = Array(text.utf8) }

    /// The bytes themselves, for the one place that puts them on the wire or into a digest.
    public var exposed: [UInt8] { bytes }

    /// Whether there is nothing in it.
    public var isEmpty: Bool { bytes.isEmpty }

    /// Always `***`.
    public var description: String { "***" }

    /// Always `***`.
    public var debugDescription: String { "***" }

    /// Shows no members.
    public var customMirror: Mirror { Mirror(self, children: []) }

    /// Whether two secrets are the same, in time that does not depend on where they differ.
    public func isSame(as other: Secret) -> Bool {
        guard bytes.count == other.bytes.count else { return false }
        var difference: UInt8 = 0
        for index in bytes.indices { difference |= bytes[index] ^ other.bytes[index] }
        return difference == 0
    }
}
