import Foundation
import TestSupport
import Testing
import Wire

@Suite struct TLSTests {
    private func pem(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: Fixtures.folder.appendingPathComponent("tls/\(name)")))
    }

    private func server() throws -> TLSContext {
        try TLSContext.server(
            certificateChainPEM: pem("localhost.crt"), privateKeyPEM: pem("localhost.key"))
    }

    private func client(trusting: Bool = true, isVerified: Bool = true) throws -> TLSContext {
        try TLSContext.client(
            certificateAuthorityPEM: trusting ? pem("localhost.crt") : nil, isVerified: isVerified)
    }

    private func connect(
        _ client: inout TLSSession, _ server: inout TLSSession, step: Int = .max
    ) throws -> (toServer: [UInt8], toClient: [UInt8]) {
        try TLSLink.connect(&client, &server, step: step)
    }

    @Test(arguments: ["localhost", "127.0.0.1"], [Int.max, 1, 100])
    func `what one side writes the other reads, however it is cut`(_ name: String, _ step: Int)
        throws
    {
        var client = try TLSSession(client: client(), serverName: name)
        var server = try TLSSession(server: server())
        let question = [UInt8](repeating: 0x61, count: step == 1 ? 2_000 : 40_000)
        try client.write(question.span)
        let first = try connect(&client, &server, step: step)
        #expect(first.toServer == question)
        let isEstablished = client.isEstablished && server.isEstablished
        #expect(isEstablished)
        try server.write([UInt8]("answer".utf8).span)
        let second = try connect(&client, &server, step: step)
        #expect(second.toClient == [UInt8]("answer".utf8))
    }

    @Test(arguments: [
        (
            [ApplicationProtocol.http2, .http11], [ApplicationProtocol.http2, .http11],
            ApplicationProtocol.http2
        ),
        ([.http2, .http11], [.http11], .http11), ([.http2, .http11], [.http11, .http2], .http2),
        ([.http11], [.http2, .http11], .http11), ([.http2], [.http11], nil),
    ])
    func `the server's first protocol that the client offers is spoken`(
        _ spoken: [ApplicationProtocol], _ offered: [ApplicationProtocol],
        _ agreed: ApplicationProtocol?
    ) throws {
        let listener = try TLSContext.server(
            certificateChainPEM: pem("localhost.crt"), privateKeyPEM: pem("localhost.key"),
            protocols: spoken)
        let dialler = try TLSContext.client(
            certificateAuthorityPEM: pem("localhost.crt"), isVerified: true, protocols: offered)
        var client = try TLSSession(client: dialler, serverName: "localhost")
        var server = try TLSSession(server: listener)
        _ = try connect(&client, &server)
        #expect(client.applicationProtocol == agreed)
        #expect(server.applicationProtocol == agreed)
    }

    @Test func `the end that a peer announces is seen`() throws {
        var client = try TLSSession(client: client(), serverName: "localhost")
        var server = try TLSSession(server: server())
        _ = try connect(&client, &server)
        client.close()
        var flight: [UInt8] = []
        client.takeCiphertext(into: &flight)
        try server.receive(flight.span)
        var plaintext: [UInt8] = []
        let end = try server.read(into: &plaintext)
        #expect(end == .closed)
    }

    @Test(arguments: [("other.example", true), ("localhost", false)])
    func `a certificate that does not prove the name is refused`(
        _ name: String, _ isTrusted: Bool
    ) throws {
        var client = try TLSSession(client: client(trusting: isTrusted), serverName: name)
        var server = try TLSSession(server: server())
        do {
            _ = try connect(&client, &server)
            Issue.record("the certificate was taken")
        } catch let failure as TLSFailure {
            #expect(failure.reason.contains("verify failed"))
        }
    }

    @Test func `without verification any certificate will do`() throws {
        var client = try TLSSession(
            client: client(trusting: false, isVerified: false), serverName: "other.example")
        var server = try TLSSession(server: server())
        _ = try connect(&client, &server)
        let isEstablished = client.isEstablished
        #expect(isEstablished)
    }

    @Test func `bytes that are no TLS are a failure, not a trap`() throws {
        for garbage in [
            [UInt8]("GET / HTTP/1.1\r\n\r\n".utf8), [UInt8](repeating: 0xff, count: 500),
        ] {
            var server = try TLSSession(server: server())
            do {
                try server.receive(garbage.span)
                Issue.record("garbage was taken")
            } catch {
                #expect(!error.reason.isEmpty)
            }
        }
    }

    @Test func `a key that does not belong to the certificate is refused`() throws {
        #expect(throws: TLSFailure.self) {
            try TLSContext.server(
                certificateChainPEM: pem("localhost.crt"), privateKeyPEM: [UInt8]("no key".utf8))
        }
        #expect(throws: TLSFailure.self) {
            try TLSContext.client(certificateAuthorityPEM: [1, 2, 3], isVerified: true)
        }
    }
}
