import Primitives

/// Whether bytes are UTF-8 (RFC 3629): shortest forms, no surrogates, nothing beyond U+10FFFF.
enum UTF8Check {
    /// The offset of the first byte that is not part of a character; nil when all are.
    static func firstInvalidOffset(_ bytes: Span<UInt8>) -> Int? {
        var at = 0
        while true {
            at = skipASCII(bytes, from: at)
            guard at < bytes.count else { return nil }
            guard let length = characterLength(bytes, at: at) else { return at }
            at += length
        }
    }

    /// The offset of the first byte at or after `start` that is not ASCII.
    private static func skipASCII(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var at = start
        unsafe bytes.withUnsafeBytes { buffer in
            while at + 32 <= buffer.count {
                let first = unsafe buffer.loadUnaligned(fromByteOffset: at, as: SIMD4<UInt64>.self)
                let bits = (first[0] | first[1] | first[2] | first[3]) & 0x8080_8080_8080_8080
                if bits != 0 { return }
                at += 32
            }
        }
        while at < bytes.count, bytes[at] < 0x80 { at += 1 }
        return at
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
