import Primitives

/// Whether bytes are UTF-8 (RFC 3629): shortest forms, no surrogates, nothing beyond U+10FFFF.
enum UTF8Check {
    /// The offset of the first byte that is not part of a character; nil when all are.
    static func firstInvalidOffset(_ bytes: Span<UInt8>) -> Int? {
        var at = 0
        while at < bytes.count {
            if bytes[at] < 0x80 {
                at = skipASCII(bytes, from: at)
            } else {
                guard let length = characterLength(bytes, at: at) else { return at }
                at += length
            }
        }
        return nil
    }

    /// The offset of the first byte at or after `start` that is not ASCII.
    private static func skipASCII(_ bytes: Span<UInt8>, from start: Int) -> Int {
        unsafe bytes.withUnsafeBytes { buffer in
            func highBits(_ at: Int) -> UInt64 {
                unsafe buffer.loadUnaligned(fromByteOffset: at, as: UInt64.self)
                    & 0x8080_8080_8080_8080
            }
            var at = start
            while at + 32 <= buffer.count,
                highBits(at) | highBits(at + 8) | highBits(at + 16) | highBits(at + 24) == 0
            {
                at += 32
            }
            while at + 8 <= buffer.count, highBits(at) == 0 { at += 8 }
            while at < buffer.count, unsafe buffer[at] < 0x80 { at += 1 }
            return at
        }
    }

    private static func characterLength(_ bytes: Span<UInt8>, at index: Int) -> Int? {
        let first = bytes[index]
        let length: Int
        var lowest: UInt8 = 0x80
        var highest: UInt8 = 0xbf
        switch first {
        case 0xc2...0xdf: length = 2
        case 0xe0: (length, lowest) = (3, 0xa0)
        case 0xed: (length, highest) = (3, 0x9f)
        case 0xe1...0xef: length = 3
        case 0xf0: (length, lowest) = (4, 0x90)
        case 0xf1...0xf3: length = 4
        case 0xf4: (length, highest) = (4, 0x8f)
        default: return nil
        }
        guard index + length <= bytes.count, bytes[index + 1] >= lowest,
            bytes[index + 1] <= highest
        else { return nil }
        for offset in 2..<max(2, length) where bytes[index + offset] & 0xc0 != 0x80 { return nil }
        return length
    }
}
