import COpenSSL
import Primitives
import TestSupport
import Testing

@testable import Wire

@Suite struct TLSResumptionTests {
    private let server: TestCertificate
    private let authority: TestCertificate
    private let teamA: TestCertificate
    private let secret = TLSTicketSecret(random: SecureRandom.bytes(count: 32))

    init() throws {
        server = try TestCertificate("localhost")
        authority = try TestCertificate("Clients' CA")
        teamA = try TestCertificate("team-a", issuer: authority)
    }

    @Test(arguments: [TLS1_2_VERSION, TLS1_3_VERSION], [true, false])
    func `a second connection resumes, and its client is still known`(
        _ version: Int32, _ asksForCertificate: Bool
    ) throws {
        let listener = try server.server(clientsOf: asksForCertificate ? authority : nil)
        TLSLink.limit(listener, to: version)
        let client = try teamA.client(of: server)
        #expect(try !TLSLink.meet(client, listener).isResumed)
        for _ in 0..<5 {
            let meeting = try TLSLink.meet(client, listener)
            #expect(meeting.isResumed)
            #expect(meeting.subject?.text == (asksForCertificate ? "CN=team-a" : nil))
        }
    }

    @Test(arguments: [TLS1_2_VERSION, TLS1_3_VERSION])
    func `tickets outlive a certificate, but no change of the authorities`(
        _ version: Int32
    ) throws {
        let scoped = secret.scoped(to: "127.0.0.1:8443")
        let renewed = try TestCertificate("localhost")
        let otherCA = try TestCertificate("Other CA")
        let client = try TLSContext.client(
            certificateAuthorityPEM: server.certificatePEM + renewed.certificatePEM,
            isVerified: true, identity: teamA.identity)
        TLSLink.limit(client, to: version)
        let before = try server.server(clientsOf: authority, tickets: scoped)
        #expect(try !TLSLink.meet(client, before).isResumed)
        let after = try renewed.server(clientsOf: authority, tickets: scoped)
        #expect(try TLSLink.meet(client, after).isResumed)
        #expect(throws: TLSFailure.self) {
            try TLSLink.meet(client, renewed.server(clientsOf: otherCA, tickets: scoped))
        }
    }

    @Test func `a ticket is worth nothing elsewhere`() throws {
        let client = try teamA.client(of: server)
        let listener = try server.server(tickets: secret.scoped(to: "one"))
        #expect(try !TLSLink.meet(client, listener).isResumed)
        let another = try server.server(tickets: secret.scoped(to: "another"))
        #expect(try !TLSLink.meet(client, another).isResumed)
        let strict = try server.server(clientsOf: authority, tickets: secret.scoped(to: "one"))
        #expect(try !TLSLink.meet(client, strict).isResumed)
        let restarted = TLSTicketSecret(random: SecureRandom.bytes(count: 32)).scoped(to: "one")
        #expect(try !TLSLink.meet(client, server.server(tickets: restarted)).isResumed)
        #expect(try TLSLink.meet(client, server.server(tickets: restarted)).isResumed)
    }

    @Test(arguments: [TLS1_2_VERSION, TLS1_3_VERSION])
    func `no session outlives its client's certificate`(_ version: Int32) throws {
        let scoped = secret.scoped(to: "listener")
        let yesterday = try server.server(clientsOf: authority, tickets: scoped)
        X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(yesterday.pointer), time(nil) - 86_400)
        let expired = try TestCertificate("team-a", issuer: authority, until: -60)
        let client = try expired.client(of: server)
        TLSLink.limit(client, to: version)
        #expect(try !TLSLink.meet(client, yesterday).isResumed)
        #expect(throws: TLSFailure.self) {
            try TLSLink.meet(client, server.server(clientsOf: authority, tickets: scoped))
        }
    }

    @Test func `a session is for the server name that was verified`() throws {
        let listener = try server.server()
        let client = try teamA.client(of: server)
        #expect(try !TLSLink.meet(client, listener).isResumed)
        #expect(throws: TLSFailure.self) {
            try TLSLink.meet(client, listener, serverName: "other.example")
        }
        #expect(client.sessions.take(for: "localhost") != nil)
    }

    @Test func `the newest session is taken, once, and few are kept`() {
        let store = TLSSessionStore()
        for number in 0...UInt8(Limits.tlsSessions) { store.add(Secret([number]), for: "a") }
        for number in (1...UInt8(Limits.tlsSessions)).reversed() {
            #expect(store.take(for: "b") == nil)
            #expect(store.take(for: "a")?.exposed == [number])
        }
        #expect(store.take(for: "a") == nil)
        store.add(Secret([1]), for: "a")
        store.add(Secret([2]), for: "b")
        #expect(store.take(for: "a") == nil)
        #expect(store.take(for: "b")?.exposed == [2])
    }

    @Test func `a client's side is like another one when all it was made from is`() throws {
        let same = try teamA.client(of: server)
        #expect(try same.isMade(like: teamA.client(of: server)))
        let others = [
            try server.client(of: server), try teamA.client(of: authority),
            try TLSContext.client(
                certificateAuthorityPEM: server.certificatePEM, isVerified: true),
            try TLSContext.client(
                certificateAuthorityPEM: server.certificatePEM, isVerified: false,
                identity: teamA.identity),
            try TLSContext.client(
                certificateAuthorityPEM: server.certificatePEM, isVerified: true,
                identity: teamA.identity, protocols: [.http2, .http11]),
        ]
        for other in others { #expect(!same.isMade(like: other)) }
    }

    // MARK: - What is refused

    @Test(arguments: [TLS1_VERSION, TLS1_1_VERSION])
    func `versions before TLS 1.2 are refused`(_ version: Int32) throws {
        let old = try teamA.client(of: server)
        SSL_CTX_set_security_level(old.pointer, 0)
        SSL_CTX_set_cipher_list(old.pointer, "ALL:@SECLEVEL=0")
        TLSLink.limit(old, to: version)
        do {
            _ = try TLSLink.meet(old, server.server())
            Issue.record("an old version was spoken")
        } catch let failure as TLSFailure {
            #expect(failure.reason.contains("unsupported protocol"))
        }
    }

    @Test func `suites without authenticated encryption are refused`() throws {
        let weak = try teamA.client(of: server)
        TLSLink.limit(weak, to: TLS1_2_VERSION)
        SSL_CTX_set_cipher_list(weak.pointer, "ECDHE-ECDSA-AES128-SHA")
        do {
            _ = try TLSLink.meet(weak, server.server())
            Issue.record("a weak suite was spoken")
        } catch let failure as TLSFailure {
            #expect(failure.reason.contains("no shared cipher"))
        }
    }

    @Test func `early data is neither offered nor taken`() throws {
        let listener = try server.server()
        let client = try teamA.client(of: server)
        #expect(try !TLSLink.meet(client, listener).isResumed)
        let bytes = try #require(client.sessions.take(for: "localhost")).exposed
        let session = try #require(
            bytes.withUnsafeBufferPointer { buffer in
                var start = buffer.baseAddress
                return d2i_SSL_SESSION(nil, &start, buffer.count)
            })
        defer { SSL_SESSION_free(session) }
        #expect(SSL_SESSION_get_max_early_data(session) == 0)

        // A client that claims to have been offered some, and sends it.
        SSL_SESSION_set_max_early_data(session, 1 << 14)
        let ssl = SSL_new(client.pointer)
        defer { SSL_free(ssl) }
        SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()))
        SSL_set_connect_state(ssl)
        SSL_set_session(ssl, session)
        // Early data goes to the server and in the protocol of its session only.
        openssl_set_server_name(ssl, "localhost")
        SSL_set_alpn_protos(ssl, [8] + Array("http/1.1".utf8), 9)
        var written = 0
        #expect(SSL_write_early_data(ssl, "early", 5, &written) == 1)
        var receiver = try TLSSession(server: listener)
        var seen: [UInt8] = []
        for _ in 0..<3 {
            var flight = [UInt8](repeating: 0, count: openssl_bio_pending(SSL_get_wbio(ssl)))
            BIO_read(SSL_get_wbio(ssl), &flight, Int32(flight.count))
            try receiver.receive(flight.span)
            _ = try receiver.read(into: &seen)
            var answer: [UInt8] = []
            receiver.takeCiphertext(into: &answer)
            BIO_write(SSL_get_rbio(ssl), answer, Int32(answer.count))
            _ = SSL_do_handshake(ssl)
        }
        let isEstablished = receiver.isEstablished
        #expect(isEstablished)
        #expect(SSL_get_early_data_status(ssl) == SSL_EARLY_DATA_REJECTED)
        #expect(seen.isEmpty)
    }
}
