import COpenSSL
import Primitives

@testable import Wire

/// What stands between two sessions in a test.
enum TLSLink {
    /// Carries bytes between two sessions, `step` at a time, until nothing is left to carry.
    static func connect(
        _ client: inout TLSSession, _ server: inout TLSSession, step: Int = .max
    ) throws -> (toServer: [UInt8], toClient: [UInt8]) {
        var (toServer, toClient): ([UInt8], [UInt8]) = ([], [])
        for _ in 0..<50 {
            var flight: [UInt8] = []
            client.takeCiphertext(into: &flight)
            for piece in pieces(flight, step) {
                try server.receive(piece.span)
                _ = try server.read(into: &toServer)
            }
            var answer: [UInt8] = []
            server.takeCiphertext(into: &answer)
            for piece in pieces(answer, step) {
                try client.receive(piece.span)
                _ = try client.read(into: &toClient)
            }
            if flight.isEmpty, answer.isEmpty { break }
        }
        return (toServer, toClient)
    }

    private static func pieces(_ bytes: [UInt8], _ step: Int) -> [[UInt8]] {
        stride(from: 0, to: bytes.count, by: min(step, max(bytes.count, 1))).map { start in
            Array(bytes[start..<min(start + min(step, bytes.count), bytes.count)])
        }
    }

    /// What a client and a server saw of one connection.
    struct Meeting {
        let isResumed: Bool
        let subject: CertificateSubject?
    }

    /// Connects once and has a word each way.
    static func meet(
        _ client: TLSContext, _ server: TLSContext, serverName: String = "localhost"
    ) throws -> Meeting {
        var client = try TLSSession(client: client, serverName: serverName)
        var server = try TLSSession(server: server)
        try client.write([UInt8]("question".utf8).span)
        guard try connect(&client, &server).toServer == Array("question".utf8) else {
            throw TLSFailure("the question did not arrive")
        }
        try server.write([UInt8]("answer".utf8).span)
        guard try connect(&client, &server).toClient == Array("answer".utf8),
            client.isResumed == server.isResumed
        else { throw TLSFailure("the answer did not arrive") }
        return Meeting(isResumed: server.isResumed, subject: server.clientSubject)
    }

    /// Makes a context speak one version only.
    static func limit(_ context: TLSContext, to version: Int32) {
        SSL_CTX_ctrl(context.pointer, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(version), nil)
        SSL_CTX_ctrl(context.pointer, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(version), nil)
    }
}

/// A certificate and its key, made for a test.
struct TestCertificate {
    /// A part of a name: attributes side by side.
    typealias Part = [(type: String, value: String)]

    let certificatePEM: [UInt8]
    let keyPEM: [UInt8]
    private let certificate: OpaquePointer
    private let key: OpaquePointer

    /// A certificate for `name`, signed by `issuer` or by itself; it lasts until `seconds` from
    /// now.
    init(_ name: [Part], issuer: TestCertificate? = nil, until seconds: Int = 86_400) throws {
        guard let certificate = X509_new(), let key = Self.makeKey(),
            let subject = X509_get_subject_name(certificate)
        else { throw TLSFailure("no certificate") }
        for part in name {
            for (index, attribute) in part.enumerated() {
                let value = Array(attribute.value.utf8)
                guard
                    X509_NAME_add_entry_by_txt(
                        subject, attribute.type, MBSTRING_FLAG, value, Int32(value.count), -1,
                        index == 0 ? 0 : -1) == 1
                else { throw TLSFailure.fromQueue("no name") }
            }
        }
        X509_set_version(certificate, 2)
        ASN1_INTEGER_set(X509_get_serialNumber(certificate), Int.random(in: 1...1_000_000_000))
        X509_set_issuer_name(
            certificate, issuer.map { X509_get_subject_name($0.certificate) } ?? subject)
        X509_gmtime_adj(X509_getm_notBefore(certificate), -172_800)
        X509_gmtime_adj(X509_getm_notAfter(certificate), seconds)
        X509_set_pubkey(certificate, key)
        let extensions = [
            (NID_basic_constraints, issuer == nil ? "critical,CA:TRUE" : "critical,CA:FALSE"),
            (NID_subject_alt_name, "DNS:localhost"),
        ]
        for (kind, value) in extensions {
            let made = X509V3_EXT_conf_nid(nil, nil, kind, value)
            X509_add_ext(certificate, made, -1)
            X509_EXTENSION_free(made)
        }
        guard X509_sign(certificate, issuer?.key ?? key, nil) > 0 else {
            throw TLSFailure.fromQueue("not signed")
        }
        self.certificate = certificate
        self.key = key
        certificatePEM = Self.text { PEM_write_bio_X509($0, certificate) }
        keyPEM = Self.text { PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) }
    }

    /// A certificate for a common name.
    init(_ commonName: String, issuer: TestCertificate? = nil, until seconds: Int = 86_400) throws {
        try self.init([[("CN", commonName)]], issuer: issuer, until: seconds)
    }

    /// The name in the certificate, as it is read.
    var subject: CertificateSubject? { CertificateSubject(of: certificate) }

    var identity: TLSIdentity {
        TLSIdentity(certificateChainPEM: certificatePEM, privateKeyPEM: keyPEM)
    }

    /// A client that trusts `server` and shows `self`.
    func client(of server: TestCertificate) throws -> TLSContext {
        try TLSContext.client(
            certificateAuthorityPEM: server.certificatePEM, isVerified: true, identity: identity)
    }

    /// A listener that shows `self`.
    func server(
        clientsOf authority: TestCertificate? = nil, tickets: TLSTicketSecret? = nil
    ) throws -> TLSContext {
        try TLSContext.server(
            certificateChainPEM: certificatePEM, privateKeyPEM: keyPEM,
            clientAuthorityPEM: authority?.certificatePEM, tickets: tickets)
    }

    /// The key under a passphrase.
    var encryptedKeyPEM: [UInt8] {
        Self.text { PEM_write_bio_PKCS8PrivateKey($0, key, EVP_aes_128_cbc(), "pass", 4, nil, nil) }
    }

    private static func makeKey() -> OpaquePointer? {
        let context = EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, nil)
        defer { EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        EVP_PKEY_keygen_init(context)
        EVP_PKEY_keygen(context, &key)
        return key
    }

    private static func text(_ write: (OpaquePointer?) -> Int32) -> [UInt8] {
        let bio = BIO_new(BIO_s_mem())
        defer { BIO_free(bio) }
        _ = write(bio)
        var bytes = [UInt8](repeating: 0, count: openssl_bio_pending(bio))
        BIO_read(bio, &bytes, Int32(bytes.count))
        return bytes
    }
}
