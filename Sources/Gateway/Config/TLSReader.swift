import Primitives
import Wire

/// Reads `tls` of listeners and backends, and tries what the files hold.
struct TLSReader {
    let reader: ConfigurationReader

    /// A listener's side; nil for cleartext.
    func readServer(_ scope: ConfigurationScope) -> ServerTLSConfiguration? {
        let keys = ["certificate", "key", "client_ca"]
        guard let tls = scope.scope("tls", allowing: keys) else { return nil }
        refuseEmpty("client_ca", tls)
        guard tls.required("certificate", in: "\"tls\"") != nil,
            tls.required("key", in: "\"tls\"") != nil,
            let certificate = tls.path("certificate", folder: reader.folder),
            let key = tls.path("key", folder: reader.folder)
        else { return nil }
        let server = ServerTLSConfiguration(
            certificate: certificate, key: key,
            clientAuthority: tls.path("client_ca", folder: reader.folder))
        check(server, tls)
        return server
    }

    /// A backend's side.
    func readClient(_ scope: ConfigurationScope) -> ClientTLSConfiguration {
        let keys = ["ca", "server_name", "verify", "certificate", "key"]
        var client = ClientTLSConfiguration()
        guard let tls = scope.scope("tls", allowing: keys) else { return client }
        client.certificateAuthority = tls.path("ca", folder: reader.folder)
        client.serverName = tls.text("server_name")
        client.isVerified = tls.bool("verify") ?? true
        let certificate = tls.path("certificate", folder: reader.folder)
        let key = tls.path("key", folder: reader.folder)
        if let certificate, let key {
            client.identity = CertificateFiles(certificate: certificate, key: key)
        } else if let alone = tls["certificate"] ?? tls["key"] {
            reader.problems.add(
                "\"certificate\" and \"key\" go together: the one proves nothing without the other",
                at: alone)
        }
        check(client, tls)
        return client
    }

    /// A key without a value would be taken for one that is not there, and nobody be asked for a
    /// certificate.
    private func refuseEmpty(_ name: String, _ scope: ConfigurationScope) {
        guard scope[name] == nil, let entry = scope.entries.first(where: { $0.name == name })
        else { return }
        reader.problems.add("\"\(name)\" must name a file", at: entry.key)
    }

    // MARK: - Trying

    private func check(_ server: ServerTLSConfiguration, _ scope: ConfigurationScope) {
        let chain = reader.contents(of: server.certificate, at: scope["certificate"])
        let key = reader.contents(of: server.key, at: scope["key"])
        let authorities = reader.contents(of: server.clientAuthority, at: scope["client_ca"])
        guard let chain, let key, (authorities == nil) == (server.clientAuthority == nil) else {
            return
        }
        do throws(TLSFailure) {
            _ = try TLSContext.server(
                certificateChainPEM: chain, privateKeyPEM: key, clientAuthorityPEM: authorities)
        } catch {
            report(error, scope, authorities: "client_ca")
        }
    }

    private func check(_ client: ClientTLSConfiguration, _ scope: ConfigurationScope) {
        let authorities = reader.contents(of: client.certificateAuthority, at: scope["ca"])
        let chain = reader.contents(of: client.identity?.certificate, at: scope["certificate"])
        let key = reader.contents(of: client.identity?.key, at: scope["key"])
        var identity: TLSIdentity?
        if let chain, let key {
            identity = TLSIdentity(certificateChainPEM: chain, privateKeyPEM: key)
        }
        guard authorities != nil || identity != nil else { return }
        do throws(TLSFailure) {
            _ = try TLSContext.client(
                certificateAuthorityPEM: authorities, isVerified: client.isVerified,
                identity: identity)
        } catch {
            report(error, scope, authorities: "ca")
        }
    }

    private func report(_ failure: TLSFailure, _ scope: ConfigurationScope, authorities: String) {
        let name =
            switch failure.part {
            case .certificate, .connection: "certificate"
            case .key: "key"
            case .authorities: authorities
            }
        reader.problems.add("\"\(name)\": \(failure.reason)", at: scope[name] ?? scope.node)
    }
}
