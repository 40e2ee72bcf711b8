import COpenSSL
import CSys
import CZlib
import Primitives

/// SHA-256 (FIPS 180-4).
public enum SHA256 {
    /// 32 bytes, which need no memory of their own.
    public struct Digest: Hashable, Sendable {
        /// The bytes themselves.
        public fileprivate(set) var bytes: [32 of UInt8]

        /// A digest that was computed before; nil unless these are 64 hexadecimal digits.
        public init?(hexadecimal text: String) {
            let digits = text.utf8.compactMap(\.hexadecimalValue)
            guard digits.count == 64, text.utf8.count == 64 else { return nil }
            self.init()
            for index in 0..<32 { bytes[index] = digits[2 * index] << 4 | digits[2 * index + 1] }
        }

        fileprivate init() { bytes = [32 of UInt8](repeating: 0) }

        /// 64 lower-case hexadecimal digits.
        public var hexadecimal: [UInt8] { [UInt8](atMost: 64) { write(hexadecimalTo: &$0) } }

        /// The hexadecimal digits of the first `count` bytes: a name for what was hashed.
        public func hexadecimal(prefix count: Int) -> String {
            String(decoding: hexadecimal.prefix(2 * count), as: UTF8.self)
        }

        /// Writes the 64 digits.
        func write(hexadecimalTo output: inout OutputSpan<UInt8>) {
            for index in 0..<4 {
                output.append(hexadecimal: UInt64(bigEndian: word(index)), width: 16)
            }
        }

        /// Whether all bytes are the same.
        public static func == (left: Digest, right: Digest) -> Bool {
            (0..<4).allSatisfy { left.word($0) == right.word($0) }
        }

        /// A digest is spread evenly already.
        public func hash(into hasher: inout Hasher) { hasher.combine(word(0)) }

        private func word(_ index: Int) -> UInt64 {
            unsafe bytes.span.bytes.unsafeLoadUnaligned(
                fromByteOffset: 8 * index, as: UInt64.self)
        }
    }

    /// The digest of `bytes`.
    public static func digest(_ bytes: Span<UInt8>) -> Digest { digest(bytes, after: Span()) }

    /// The digest of a prefix and the bytes that follow it.
    static func digest(_ bytes: Span<UInt8>, after prefix: Span<UInt8>) -> Digest {
        var digest = Digest()
        var output = digest.bytes.mutableSpan
        unsafe prefix.withUnsafeBufferPointer { prefix in
            unsafe bytes.withUnsafeBufferPointer { bytes in
                unsafe output.withUnsafeMutableBufferPointer { output in
                    unsafe openssl_sha256(
                        prefix.baseAddress, prefix.count, bytes.baseAddress, bytes.count,
                        output.baseAddress)
                }
            }
        }
        return digest
    }
}

/// HMAC with SHA-256 (RFC 2104).
public enum HMACSHA256 {
    /// The 32 bytes that authenticate `message` under `key`.
    public static func authenticate(
        key: Span<UInt8>, message: Span<UInt8>
    ) -> SHA256.Digest {
        guard key.count <= 64 else {
            let digest = SHA256.digest(key)
            return authenticate(key: digest.bytes.span, message: message)
        }
        let (innerPad, outerPad) = (pad(key, with: 0x36), pad(key, with: 0x5c))
        let inner = SHA256.digest(message, after: innerPad.span)
        return SHA256.digest(inner.bytes.span, after: outerPad.span)
    }

    /// The key, filled up to a block of the hash.
    private static func pad(_ key: Span<UInt8>, with mask: UInt8) -> [64 of UInt8] {
        var block = [64 of UInt8](repeating: mask)
        for index in key.indices { block[index] ^= key[index] }
        return block
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
