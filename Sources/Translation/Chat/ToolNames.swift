import Primitives
import Wire

/// Tool names that fit every provider, and the way back (rule A30).
struct ToolNames {
    /// Sent name to the client's, where they differ.
    private(set) var originals: [[UInt8]: [UInt8]] = [:]

    /// The name to send for the client's.
    mutating func sent(for name: [UInt8]) -> [UInt8] {
        let sent = NameAlphabet.toolName.fit(name)
        if sent != name { originals[sent] = name }
        return sent
    }

    /// The client's name for what was sent.
    func original(of sent: [UInt8]) -> [UInt8] { originals[sent] ?? sent }
}

/// Makes names and ids fit: other bytes become `_`, and a digest keeps changed ones apart.
struct NameAlphabet {
    private let isKept: @Sendable (UInt8) -> Bool
    private let keptLength: Int
    private let digestLength: Int

    /// Rule A30: `[a-zA-Z0-9_-]{1,64}`.
    static let toolName = NameAlphabet(keptLength: 55, digestLength: 8) { byte in
        byte.isASCIIAlphanumeric || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
    }
    /// Rule A26: `[a-zA-Z0-9_.:-]{1,64}`.
    static let toolCallID = NameAlphabet(keptLength: 47, digestLength: 16) { byte in
        byte.isASCIIAlphanumeric || [UInt8]("_.:-").contains(byte)
    }

    private init(
        keptLength: Int, digestLength: Int, isKept: @escaping @Sendable (UInt8) -> Bool
    ) {
        self.keptLength = keptLength
        self.digestLength = digestLength
        self.isKept = isKept
    }

    func fit(_ name: [UInt8]) -> [UInt8] {
        if !name.isEmpty, name.count <= 64, name.allSatisfy(isKept) { return name }
        // By character, not by byte: one letter of any script is one underscore.
        var fitted: [UInt8] = []
        for scalar in String(decoding: name, as: UTF8.self).unicodeScalars {
            let isASCII = scalar.isASCII && isKept(UInt8(scalar.value))
            fitted.append(isASCII ? UInt8(scalar.value) : UInt8(ascii: "_"))
        }
        let digest = SHA256.digest(name.span).hexadecimal
        return fitted.prefix(keptLength) + [UInt8(ascii: "_")] + digest.prefix(digestLength)
    }
}

extension UInt8 {
    fileprivate var isASCIIAlphanumeric: Bool {
        isASCIIDigit || (asciiLowercased >= 0x61 && asciiLowercased <= 0x7a)
    }
}
