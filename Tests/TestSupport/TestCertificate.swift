import COpenSSL
import Wire

/// A certificate and its key, made for a test.
public struct TestCertificate {
    /// OpenSSL refused.
    public enum Failure: Error { case notMade }

    /// A part of a name: attributes side by side.
    public typealias Part = [(type: String, value: String)]

    /// The certificate.
    public let certificatePEM: [UInt8]
    /// The key, without a passphrase.
    public let keyPEM: [UInt8]
    private let made: Made

    /// OpenSSL's certificate and key.
    private final class Made {
        let certificate: OpaquePointer
        let key: OpaquePointer

        init() throws {
            guard let certificate = X509_new(), let key = TestCertificate.makeKey() else {
                throw Failure.notMade
            }
            self.certificate = certificate
            self.key = key
        }

        deinit {
            X509_free(certificate)
            EVP_PKEY_free(key)
        }
    }

    /// A certificate for `name`, signed by `issuer` or by itself; it lasts until `seconds` from
    /// now.
    public init(_ name: [Part], issuer: TestCertificate? = nil, until seconds: Int = 86_400) throws
    {
        made = try Made()
        let (certificate, key) = (made.certificate, made.key)
        guard let subject = X509_get_subject_name(certificate) else { throw Failure.notMade }
        for part in name {
            for (index, attribute) in part.enumerated() {
                let value = Array(attribute.value.utf8)
                guard
                    X509_NAME_add_entry_by_txt(
                        subject, attribute.type, MBSTRING_FLAG, value, Int32(value.count), -1,
                        index == 0 ? 0 : -1) == 1
                else { throw Failure.notMade }
            }
        }
        X509_set_version(certificate, 2)
        ASN1_INTEGER_set(X509_get_serialNumber(certificate), Int.random(in: 1...1_000_000_000))
        X509_set_issuer_name(
            certificate, issuer.map { X509_get_subject_name($0.made.certificate) } ?? subject)
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
        guard X509_sign(certificate, issuer?.made.key ?? key, nil) > 0 else {
            throw Failure.notMade
        }
        certificatePEM = Self.text { PEM_write_bio_X509($0, certificate) }
        keyPEM = Self.text { PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) }
    }

    /// A certificate for a common name.
    public init(_ commonName: String, issuer: TestCertificate? = nil, until seconds: Int = 86_400)
        throws
    {
        try self.init([[("CN", commonName)]], issuer: issuer, until: seconds)
    }

    /// Hands out the certificate as an X509.
    public func withCertificate<Result>(_ body: (OpaquePointer) -> Result) -> Result {
        withExtendedLifetime(made) { body(made.certificate) }
    }

    /// What a client shows.
    public var identity: TLSIdentity {
        TLSIdentity(certificateChainPEM: certificatePEM, privateKeyPEM: keyPEM)
    }

    /// A client that trusts `server` and shows `self`.
    public func client(of server: TestCertificate) throws -> TLSContext {
        try TLSContext.client(
            certificateAuthorityPEM: server.certificatePEM, isVerified: true, identity: identity)
    }

    /// A listener that shows `self`.
    public func server(
        clientsOf authority: TestCertificate? = nil, tickets: TLSTicketSecret? = nil
    ) throws -> TLSContext {
        try TLSContext.server(
            certificateChainPEM: certificatePEM, privateKeyPEM: keyPEM,
            clientAuthorityPEM: authority?.certificatePEM, tickets: tickets)
    }

    /// The key under a passphrase.
    public var encryptedKeyPEM: [UInt8] {
        Self.text {
            PEM_write_bio_PKCS8PrivateKey($0, made.key, EVP_aes_128_cbc(), "pass", 4, nil, nil)
        }
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
