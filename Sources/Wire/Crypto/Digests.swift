import COpenSSL
import CSys
import CZlib
import Primitives

/// SHA-256 (FIPS 180-4).
public enum SHA256 {
    /// The 32 bytes of the digest.
    public static func digest(_ bytes: Span<UInt8>) -> [UInt8] {
        [UInt8](atMost: 32) { output in
            unsafe bytes.withUnsafeBufferPointer { input in
                unsafe output.withUnsafeMutableBufferPointer { buffer, count in
                    unsafe openssl_sha256(input.baseAddress, input.count, buffer.baseAddress)
                    count = 32
                }
            }
        }
    }

    /// The digest as four numbers, the most significant byte of each first.
    public static func words(_ bytes: Span<UInt8>) -> [4 of UInt64] {
        var words: [4 of UInt64] = [0, 0, 0, 0]
        unsafe bytes.withUnsafeBufferPointer { input in
            unsafe withUnsafeMutableBytes(of: &words) { output in
                unsafe openssl_sha256(
                    input.baseAddress, input.count,
                    output.baseAddress?.assumingMemoryBound(to: UInt8.self))
            }
        }
        for index in words.indices { words[index] = UInt64(bigEndian: words[index]) }
        return words
    }

    /// The digest in lower-case hexadecimal.
    public static func hexadecimalDigest(_ bytes: Span<UInt8>) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(64)
        text.append(hexadecimal: digest(bytes))
        return text
    }
}

/// HMAC with SHA-256 (RFC 2104).
public enum HMACSHA256 {
    /// The 32 bytes that authenticate `message` under `key`.
    public static func authenticate(key: [UInt8], message: Span<UInt8>) -> [UInt8] {
        let block = key.count > 64 ? SHA256.digest(key.span) : key
        let inner = [UInt8](atMost: 64 + message.count) { output in
            pad(block, with: 0x36, to: &output)
            output.append(span: message)
        }
        let digest = SHA256.digest(inner.span)
        let outer = [UInt8](atMost: 64 + digest.count) { output in
            pad(block, with: 0x5c, to: &output)
            output.append(span: digest.span)
        }
        return SHA256.digest(outer.span)
    }

    /// The key, filled up to a block of the hash.
    private static func pad(
        _ key: [UInt8], with mask: UInt8, to output: inout OutputSpan<UInt8>
    ) {
        for byte in key { output.append(byte ^ mask) }
        output.append(repeating: mask, count: 64 - key.count)
    }
}

/// CRC-32 as Ethernet and zlib compute it.
public enum CRC32 {
    /// The checksum of `bytes`, going on from `seed` (0 at the start).
    public static func checksum(_ bytes: Span<UInt8>, seed: UInt32 = 0) -> UInt32 {
        unsafe bytes.withUnsafeBufferPointer { buffer in
            var checksum = seed
            let done = unsafe csys_crc32_begin(&checksum, buffer.baseAddress, buffer.count)
            guard let start = buffer.baseAddress else { return seed }
            return UInt32(
                truncatingIfNeeded: unsafe crc32_z(
                    uLong(checksum), start + done, buffer.count - done))
        }
    }
}

/// Random bytes that nobody can guess.
public enum SecureRandom {
    /// `count` bytes from the system's generator.
    public static func bytes(count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }
}
