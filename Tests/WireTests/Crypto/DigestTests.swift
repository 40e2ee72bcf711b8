import Primitives
import Testing
import Wire

@Suite struct DigestTests {
    /// RFC 4231, sections 4.2, 4.3 and 4.7.
    @Test(arguments: [
        (
            [UInt8](repeating: 0x0b, count: 20), "Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        ),
        (
            [UInt8]("Jefe"), "what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        ),
        (
            [UInt8](repeating: 0xaa, count: 131),
            "Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        ),
    ])
    func `a message is authenticated`(_ key: [UInt8], _ message: String, _ code: String) {
        let message = [UInt8](message.utf8)
        let computed = HMACSHA256.authenticate(key: key.span, message: message.span)
        #expect(computed.hexadecimal(prefix: 32) == code)
    }

    @Test func `a digest is read as it is written`() throws {
        let digest = SHA256.digest([UInt8]("abc").span)
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        #expect(digest.hexadecimal(prefix: 32) == text)
        #expect(digest.hexadecimal(prefix: 3) == "ba7816")
        #expect(SHA256.Digest(hexadecimal: text.uppercased()) == digest)
        #expect(SHA256.Digest(hexadecimal: text.replacing("a", with: "b")) != digest)
        #expect(SHA256.Digest(hexadecimal: String(text.dropLast())) == nil)
        #expect(SHA256.Digest(hexadecimal: text.replacing("f", with: "g")) == nil)
    }
}
