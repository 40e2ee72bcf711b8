import CSys
import Glibc

/// An IPv4 or IPv6 address and a port.
public struct SocketAddress: Sendable, Hashable, CustomStringConvertible {
    /// 4 or 16 bytes in network order.
    public let bytes: [UInt8]
    /// The port.
    public let port: UInt16

    /// An IPv4 address.
    public init(ipv4: (UInt8, UInt8, UInt8, UInt8), port: UInt16) {
        bytes = [ipv4.0, ipv4.1, ipv4.2, ipv4.3]
        self.port = port
    }

    /// An address from its text, with or without brackets; nil for anything else, such as a name.
    public init?(literal: String, port: UInt16) {
        let text =
            literal.hasPrefix("[") && literal.hasSuffix("]")
            ? String(literal.dropFirst().dropLast()) : literal
        for (family, length) in [(AF_INET, 4), (AF_INET6, 16)] {
            var parsed = [UInt8](repeating: 0, count: length)
            let result = unsafe parsed.withUnsafeMutableBytes { buffer in
                unsafe inet_pton(family, text, buffer.baseAddress)
            }
            if result == 1 {
                bytes = parsed
                self.port = port
                return
            }
        }
        return nil
    }

    /// The address in one result of getaddrinfo(3); nil for other families.
    @safe init?(_ name: UnsafePointer<sockaddr>) {
        switch Int32(unsafe name.pointee.sa_family) {
        case AF_INET:
            self = unsafe name.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { address in
                SocketAddress(
                    bytes: Self.bytes(of: unsafe address.pointee.sin_addr),
                    port: UInt16(bigEndian: unsafe address.pointee.sin_port))
            }
        case AF_INET6:
            self = unsafe name.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { address in
                SocketAddress(
                    bytes: Self.bytes(of: unsafe address.pointee.sin6_addr),
                    port: UInt16(bigEndian: unsafe address.pointee.sin6_port))
            }
        default: return nil
        }
    }

    private init(bytes: [UInt8], port: UInt16) {
        self.bytes = bytes
        self.port = port
    }

    /// Whether it is an IPv6 address.
    public var isIPv6: Bool { bytes.count == 16 }

    /// Such as `127.0.0.1:80` or `[::1]:80`.
    public var description: String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        _ = unsafe bytes.withUnsafeBytes { buffer in
            unsafe inet_ntop(
                isIPv6 ? AF_INET6 : AF_INET, buffer.baseAddress, &text, socklen_t(INET6_ADDRSTRLEN))
        }
        let host = String(
            decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return isIPv6 ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// Binds a socket to the address; false leaves the reason in `errno`.
    public func bind(_ descriptor: Int32) -> Bool {
        unsafe withUnsafeSockAddr { name, length in unsafe Glibc.bind(descriptor, name, length) }
            == 0
    }

    /// Calls `body` with the address as system calls want it.
    func withUnsafeSockAddr<Result>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        if isIPv6 {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            Self.copy(bytes, to: &address.sin6_addr)
            return unsafe Self.call(body, with: &address)
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        Self.copy(bytes, to: &address.sin_addr)
        return unsafe Self.call(body, with: &address)
    }

    private static func call<Address, Result>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result, with address: inout Address
    ) -> Result {
        unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                unsafe body(name, socklen_t(MemoryLayout<Address>.size))
            }
        }
    }

    private static func bytes<Address>(of address: Address) -> [UInt8] {
        unsafe withUnsafeBytes(of: address) { unsafe Array($0) }
    }

    private static func copy<Address>(_ bytes: [UInt8], to address: inout Address) {
        unsafe withUnsafeMutableBytes(of: &address) { unsafe $0.copyBytes(from: bytes) }
    }
}
