import COpenSSL
import Primitives

/// Whom a verified certificate is about: its subject, as text that cannot be mistaken for another
/// one's.
///
/// The text is what RFC 4514 makes of a name and what `openssl x509 -nameopt RFC2253` shows: most
/// specific part first, `,` between parts, `+` within one; what separates, controls or is not ASCII
/// is escaped. Two texts are equal only if the names are.
///
/// An object, because every request of a connection carries it.
public final class CertificateSubject: Sendable {
    /// The whole name, such as `CN=team-a,O=Example`.
    public let text: String
    /// `CN=…` alone, escaped alike; nil unless the name has exactly one common name.
    public let commonName: String?
    /// A short stable name for records: the first 12 hexadecimal digits of the text's SHA-256.
    public let shortName: String

    /// The subject of an X509; nil when it is empty (RFC 5280 section 4.1.2.6).
    convenience init?(of certificate: OpaquePointer) {
        guard let name = unsafe X509_get_subject_name(certificate),
            let text = unsafe Self.text(of: name), !text.isEmpty
        else { return nil }
        unsafe self.init(text: text, commonName: Self.commonName(in: name))
    }

    init(text: String, commonName: String?) {
        self.text = text
        self.commonName = commonName
        shortName = SHA256.digest(Array(text.utf8).span).hexadecimal(prefix: 6)
    }

    private static func text(of name: OpaquePointer) -> String? {
        guard let bio = unsafe BIO_new(BIO_s_mem()) else { return nil }
        defer { unsafe BIO_free(bio) }
        guard unsafe X509_NAME_print_ex(bio, name, 0, openssl_name_format) >= 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(unsafe openssl_bio_pending(bio)))
        let count = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe BIO_read(bio, buffer.baseAddress, Int32(clamping: buffer.count))
        }
        return String(decoding: bytes.prefix(Int(max(0, count))), as: UTF8.self)
    }

    /// A name with the one common name of `name` and nothing else, as text.
    private static func commonName(in name: OpaquePointer) -> String? {
        let index = unsafe X509_NAME_get_index_by_NID(name, NID_commonName, -1)
        guard index >= 0, unsafe X509_NAME_get_index_by_NID(name, NID_commonName, index) < 0,
            let entry = unsafe X509_NAME_get_entry(name, index), let alone = unsafe X509_NAME_new()
        else { return nil }
        defer { unsafe X509_NAME_free(alone) }
        guard unsafe X509_NAME_add_entry(alone, entry, -1, 0) == 1 else { return nil }
        return unsafe text(of: alone)
    }
}
