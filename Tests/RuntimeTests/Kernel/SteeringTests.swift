import Glibc
import Primitives
import Testing

@testable import Runtime

@Suite struct SteeringTests {
    private func kernel() throws -> LinuxKernel {
        try LinuxKernel(resolver: Resolver(), logSink: AccessLogSink(), journal: nil)
    }

    private func port(of descriptor: Int32) -> UInt16 {
        var name = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &length)
            }
        }
        return name.sin_port.bigEndian
    }

    /// How many connections wait at a listener.
    private func accepted(_ kernel: inout LinuxKernel, _ listener: Int32) -> Int {
        var count = 0
        while case .ready(let descriptor) = kernel.accept(from: listener) {
            kernel.close(descriptor)
            count += 1
        }
        return count
    }

    @Test func `who listens after us gets all new connections, and without anybody we do`() throws {
        var ours = try kernel()
        var theirs = try kernel()
        var client = try kernel()
        let any = try #require(SocketAddress(literal: "127.0.0.1", port: 0))
        let first = try ours.listen(on: any)
        let address = try #require(SocketAddress(literal: "127.0.0.1", port: port(of: first)))
        let second = try ours.listen(on: address)
        ours.steerAway(from: first, behind: 2)
        for _ in 0..<20 { _ = client.connect(to: address) }
        let alone = accepted(&ours, first) + accepted(&ours, second)
        #expect(alone == 20)
        let successor = try theirs.listen(on: address)
        for _ in 0..<50 { _ = client.connect(to: address) }
        let (mine, yours) = (
            accepted(&ours, first) + accepted(&ours, second), accepted(&theirs, successor)
        )
        #expect(mine == 0 && yours == 50)
        ours.close(first)
        ours.close(second)
        for _ in 0..<10 { _ = client.connect(to: address) }
        let later = accepted(&theirs, successor)
        #expect(later == 10)
    }
}
