import COpenSSL
import Primitives
import TestSupport

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

extension TestCertificate {
    /// The name in the certificate, as it is read.
    var subject: CertificateSubject? { withCertificate { CertificateSubject(of: $0) } }
}
