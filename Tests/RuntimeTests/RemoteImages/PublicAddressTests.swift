import Testing

@testable import Runtime

@Suite struct PublicAddressTests {
    @Test(arguments: [
        ("93.184.216.34", true), ("2606:2800:220:1::1", true), ("127.0.0.1", false),
        ("10.1.2.3", false), ("172.16.0.1", false), ("172.32.0.1", true), ("192.168.1.1", false),
        ("169.254.169.254", false), ("100.64.0.1", false), ("0.0.0.0", false),
        ("224.0.0.1", false), ("255.255.255.255", false), ("::1", false), ("fe80::1", false),
        ("fd00:ec2::254", false), ("::ffff:127.0.0.1", false), ("2001:db8::1", false),
        ("2002:7f00:1::", false),
    ])
    func `only the public internet is public`(_ literal: String, _ isPublic: Bool) throws {
        let address = try #require(SocketAddress(literal: literal, port: 443))
        #expect(PublicAddress.isPublic(address) == isPublic)
    }
}
