import Primitives
import Testing
import Translation

@testable import Gateway
@testable import Wire

@Suite struct ClientIdentityTests {
    private static let tenants = """
        listeners:
          - {address: 127.0.0.1:1, tls: {certificate: c, key: k, client_ca: ca}}
        tenants:
          - {name: by-key, keys: [{value: sk}]}
          - {name: by-name, keys: [{client_certificate: "CN=a,O=E"}]}
          - {name: by-common-name, keys: [{client_certificate: CN=a}]}
        """

    private func plan(_ text: String = tenants) throws -> Plan {
        let outcome = ConfigurationReader(
            folder: ".", providers: ProviderCatalogue.all, secrets: nil
        ).read(Array(text.utf8))
        return Plan(
            configuration: try #require(outcome.configuration, "\(outcome.problems)"),
            backends: [], keyDigests: [[SHA256.digest([UInt8]("sk".utf8).span)], [], []],
            metrics: Metrics(shards: 1, version: "test"), createdSeconds: 0, previous: nil)
    }

    /// The tenant of a request for the list of models; nil when it is refused.
    private func tenant(
        _ field: String, _ subject: CertificateSubject?, _ plan: Plan
    ) -> String? {
        var reader = HTTP1RequestReader(limits: HTTP1Limits())
        var position = 0
        let request = Array("GET /v1/models HTTP/1.1\r\nhost: x\r\n\(field)\r\n\r\n".utf8)
        guard reader.next(request.span, position: &position) == .head else { return "no request" }
        switch RequestGate(plan: plan, subject: subject).decide(reader.head) {
        case .models(_, let tenant, _): return plan.tenants[tenant].name
        case .refuse(let error, _, _): return error.status == 401 ? nil : "\(error.status)"
        case .read: return "read"
        }
    }

    private func subject(_ text: String, _ commonName: String?) -> CertificateSubject {
        CertificateSubject(text: text, commonName: commonName)
    }

    @Test func `a key goes before the certificate, and a wrong one is refused`() throws {
        let plan = try plan()
        let known = subject("CN=a,O=E", "CN=a")
        for field in ["authorization: Bearer sk", "api-key: sk", "x-api-key: sk"] {
            #expect(tenant(field, known, plan) == "by-key")
            #expect(tenant(field, nil, plan) == "by-key")
            #expect(tenant(field + "x", known, plan) == nil)
        }
        #expect(tenant("authorization: Basic c2s=", known, plan) == nil)
        // What SDKs without a key send.
        for field in ["accept: */*", "authorization: Bearer ", "authorization: bearer"] {
            #expect(tenant(field, known, plan) == "by-name")
            #expect(tenant(field, nil, plan) == nil)
        }
    }

    @Test func `the whole name goes before the common name, and nothing is alike`() throws {
        let plan = try plan()
        let cases: [(CertificateSubject, String?)] = [
            (subject("CN=a,O=E", "CN=a"), "by-name"),
            (subject("CN=a", "CN=a"), "by-common-name"),
            (subject("CN=a,O=Other", "CN=a"), "by-common-name"),
            (subject("CN=a,O=E,C=DE", "CN=a"), "by-common-name"),
            (subject(#"CN=a\,O=E"#, #"CN=a\,O=E"#), nil),
            (subject("CN=A", "CN=A"), nil), (subject("CN=ab", "CN=ab"), nil),
            (subject("O=CN\\=a", nil), nil), (subject("CN=b,CN=a", nil), nil),
        ]
        for (subject, name) in cases {
            #expect(tenant("accept: */*", subject, plan) == name, "\(subject.text)")
        }
    }

    @Test func `the ledger has a short name of the subject`() throws {
        let known = subject("CN=a,O=E", "CN=a")
        let identity = try plan().authenticate(certificate: known)
        #expect(identity?.keyID == known.shortName)
        #expect(identity?.keyID.count == 12)
    }

    @Test func `without tenants any certificate that verifies will do`() throws {
        let open = Self.tenants.split(separator: "\n").prefix(2).joined(separator: "\n")
        #expect(tenant("accept: */*", subject("CN=z", "CN=z"), try plan(open)) == "anonymous")
    }
}
