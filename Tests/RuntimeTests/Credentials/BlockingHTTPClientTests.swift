import Gateway
import Glibc
import Primitives
import Testing
import Translation
import Wire

@testable import Runtime

@Suite struct BlockingHTTPClientTests {
    private static let url = BackendURL(isTLS: false, host: "name", port: 80, basePath: "")

    /// A socket that listens on this machine; with `isFull` its queue has no room any more, so that
    /// connecting to it takes forever.
    private struct Listener: ~Copyable {
        let descriptor: Int32
        let address: SocketAddress
        private var fillers: [Int32] = []

        init(isFull: Bool) throws {
            descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            let any = SocketAddress(ipv4: (127, 0, 0, 1), port: 0)
            try #require(any.bind(descriptor) && listen(descriptor, isFull ? 0 : 8) == 0)
            address = try Self.name(of: descriptor)
            guard isFull else { return }
            for _ in 0..<4 {
                let filler = socket(
                    AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
                _ = unsafe address.withUnsafeSockAddr { unsafe connect(filler, $0, $1) }
                fillers.append(filler)
            }
        }

        deinit { for descriptor in fillers + [descriptor] { close(descriptor) } }

        private static func name(of descriptor: Int32) throws -> SocketAddress {
            var storage = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let address = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                    unsafe getsockname(descriptor, name, &length) == 0
                        ? SocketAddress(name) : nil
                }
            }
            return try #require(address)
        }

        /// Answers one request, on a thread of its own.
        func answer(_ text: String) throws {
            let descriptor = descriptor
            let thread = try BackgroundThread {
                let connection = accept(descriptor, nil, nil)
                var request = [UInt8](repeating: 0, count: 4096)
                _ = unsafe recv(connection, &request, request.count, 0)
                _ = unsafe send(connection, Array(text.utf8), text.utf8.count, 0)
                close(connection)
            }
            thread.detach()
        }
    }

    private func client(
        _ milliseconds: Int, _ addresses: [SocketAddress]
    ) -> BlockingHTTPClient {
        var client = BlockingHTTPClient(timeoutMilliseconds: milliseconds)
        client.resolve = { _, _, _ in .found(addresses) }
        return client
    }

    @Test func `an address that is dead leaves the next one its time`() throws {
        let dead = try Listener(isFull: true)
        let live = try Listener(isFull: false)
        try live.answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        let answer = try client(600, [dead.address, live.address]).send(
            "GET", Self.url, path: "/", fields: HeaderFields())
        #expect(answer.status == 200 && answer.body == Array("hi".utf8))
    }

    @Test func `an answer that nobody wants any more is not waited for`() throws {
        let silent = try Listener(isFull: true)
        var client = client(3_600_000, [silent.address])
        client.isWanted = { false }
        #expect(throws: BlockingHTTPClient.Failure.self) {
            try client.send("GET", Self.url, path: "/", fields: HeaderFields())
        }
    }

    @Test func `a name that takes forever is given up`() {
        let found = Resolver.resolve(host: "name", port: 1, until: SystemClock.now()) { _, _ in
            .found([SocketAddress(ipv4: (127, 0, 0, 1), port: 1)])
        }
        #expect(found == .unavailable("the name 'name' was not resolved in time"))
    }
}
