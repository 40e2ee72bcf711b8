import Testing
import Wire

@Suite struct CRC32Tests {
    @Test func `a checksum is that of its definition, wherever and however long the bytes are`() {
        let bytes = (0..<320).map { UInt8(truncatingIfNeeded: $0 &* $0 &* 31 &+ 7) }
        for seed: UInt32 in [0, 0xffff_ffff, 0x1234_5678] {
            for start in 0..<17 {
                var expected = seed
                for end in start...start + 300 {
                    #expect(
                        CRC32.checksum(bytes.span.extracting(start..<end), seed: seed) == expected,
                        "\(start)..<\(end)")
                    expected = Self.adding(bytes[end], to: expected)
                }
            }
        }
        #expect(CRC32.checksum(Array("123456789".utf8).span) == 0xcbf4_3926)
    }

    /// Bit by bit, as the polynomial says.
    private static func adding(_ byte: UInt8, to checksum: UInt32) -> UInt32 {
        var rest = ~checksum ^ UInt32(byte)
        for _ in 0..<8 { rest = rest & 1 == 1 ? rest >> 1 ^ 0xedb8_8320 : rest >> 1 }
        return ~rest
    }
}
