import COpenSSL
import TestSupport
import Testing

@testable import Wire

@Suite struct ClientCertificateTests {
    private let server: TestCertificate
    private let authority: TestCertificate
    private let teamA: TestCertificate

    init() throws {
        server = try TestCertificate("localhost")
        authority = try TestCertificate("Clients' CA")
        teamA = try TestCertificate([[("O", "Example")], [("CN", "team-a")]], issuer: authority)
    }

    @Test(arguments: [TLS1_2_VERSION, TLS1_3_VERSION])
    func `a certificate that verifies names its client`(_ version: Int32) throws {
        let listener = try server.server(clientsOf: authority)
        TLSLink.limit(listener, to: version)
        let meeting = try TLSLink.meet(teamA.client(of: server), listener)
        #expect(meeting.subject?.text == "CN=team-a,O=Example")
        #expect(meeting.subject?.commonName == "CN=team-a")
    }

    @Test func `where none is asked for a certificate names nobody`() throws {
        #expect(try TLSLink.meet(teamA.client(of: server), server.server()).subject == nil)
    }

    @Test(arguments: [TLS1_2_VERSION, TLS1_3_VERSION])
    func `a client without a certificate that verifies is refused`(_ version: Int32) throws {
        let listener = try server.server(clientsOf: authority)
        TLSLink.limit(listener, to: version)
        let none = try TLSContext.client(
            certificateAuthorityPEM: server.certificatePEM, isVerified: true)
        let stranger = try TestCertificate([[("O", "Example")], [("CN", "team-a")]])
        let expired = try TestCertificate("team-a", issuer: authority, until: -1)
        let clients = [
            (none, "peer did not return a certificate"),
            (try stranger.client(of: server), "self-signed certificate"),
            (try expired.client(of: server), "certificate has expired"),
        ]
        for (client, reason) in clients {
            do {
                _ = try TLSLink.meet(client, listener)
                Issue.record("taken, and not: \(reason)")
            } catch let failure as TLSFailure {
                #expect(failure.reason.contains(reason))
                #expect(failure.part == .connection)
            }
        }
    }

    /// Names, most general part first, and what is made of them.
    private static let names: [(parts: [[String]], text: String, commonName: String?)] = [
        ([["CN=a"]], "CN=a", "CN=a"),
        ([["C=DE"], ["O=E"], ["CN=a"]], "CN=a,O=E,C=DE", "CN=a"),
        ([["CN=a,O=E"]], #"CN=a\,O=E"#, #"CN=a\,O=E"#),
        ([["CN=a+OU=x"]], #"CN=a\+OU=x"#, #"CN=a\+OU=x"#),
        ([["OU=x", "CN=a"]], "CN=a+OU=x", "CN=a"),
        ([["CN= a "]], #"CN=\ a\ "#, #"CN=\ a\ "#),
        ([[#"CN=#a"b;<c>\"#]], ##"CN=\#a\"b\;\<c\>\\"##, ##"CN=\#a\"b\;\<c\>\\"##),
        ([["CN=Zoë"]], #"CN=Zo\C3\AB"#, #"CN=Zo\C3\AB"#),
        ([["CN=a\0b\nc"]], #"CN=a\00b\0Ac"#, #"CN=a\00b\0Ac"#),
        ([["CN=a"], ["CN=b"]], "CN=b,CN=a", nil),
        ([["O=E"]], "O=E", nil),
    ]

    @Test(arguments: 0..<names.count)
    func `a subject is text that only this name has`(_ index: Int) throws {
        let (parts, text, commonName) = Self.names[index]
        let name: [TestCertificate.Part] = parts.map { attributes in
            attributes.map { attribute in
                let equals = attribute.firstIndex(of: "=") ?? attribute.endIndex
                return (
                    String(attribute[..<equals]), String(attribute[equals...].dropFirst())
                )
            }
        }
        let subject = try TestCertificate(name).subject
        #expect(subject?.text == text)
        #expect(subject?.commonName == commonName)
    }

    @Test func `an empty subject names nobody`() throws {
        #expect(try TestCertificate([]).subject == nil)
    }

    @Test func `the short name is the digest of the text`() throws {
        // printf %s CN=team-a,O=Example | sha256sum
        #expect(teamA.subject?.shortName == "94a99eeb8b10")
    }

    @Test func `what is wrong says where to look`() throws {
        let other = try TestCertificate("localhost")
        var cut = authority.certificatePEM + other.certificatePEM
        cut.removeLast(40)
        let wrong: [(TLSFailure.Part, () throws -> TLSContext)] = [
            (
                .key,
                { [server] in
                    try .server(
                        certificateChainPEM: server.certificatePEM, privateKeyPEM: other.keyPEM)
                }
            ),
            (
                .key,
                { [server] in
                    try .server(
                        certificateChainPEM: server.certificatePEM,
                        privateKeyPEM: server.encryptedKeyPEM)
                }
            ),
            (
                .certificate,
                { [server] in
                    try .server(certificateChainPEM: server.keyPEM, privateKeyPEM: server.keyPEM)
                }
            ),
            (
                .authorities,
                { [server] in
                    try .server(
                        certificateChainPEM: server.certificatePEM, privateKeyPEM: server.keyPEM,
                        clientAuthorityPEM: cut)
                }
            ),
            (
                .authorities,
                { [server] in
                    try .server(
                        certificateChainPEM: server.certificatePEM, privateKeyPEM: server.keyPEM,
                        clientAuthorityPEM: [])
                }
            ),
            (
                .key,
                { [teamA] in
                    try .client(
                        certificateAuthorityPEM: nil, isVerified: true,
                        identity: TLSIdentity(
                            certificateChainPEM: teamA.certificatePEM, privateKeyPEM: other.keyPEM))
                }
            ),
        ]
        for (index, (part, make)) in wrong.enumerated() {
            do {
                _ = try make()
                Issue.record("case \(index) was taken")
            } catch let failure as TLSFailure {
                #expect(failure.part == part, "case \(index): \(failure.reason)")
            }
        }
    }
}
