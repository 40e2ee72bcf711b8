public import Primitives
public import Translation
import Wire

/// A container's credential endpoint (bedrock-api.md section 5.4).
public struct ContainerEndpoint: Sendable {
    private static let allowedHosts = [
        "localhost", "169.254.170.2", "169.254.170.23", "fd00:ec2::23",
    ]

    /// Where to ask.
    public let url: BackendURL
    /// A file whose content is the Authorization; re-read each time.
    public let tokenFile: String?
    /// The Authorization itself.
    public let token: Secret?

    /// The endpoint that the environment names; nil when it names none.
    /// - Throws: when it is one that credentials must not be asked of.
    public init?(environment: [String: String]) throws(CredentialFailure) {
        if let path = environment["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"], !path.isEmpty {
            url = BackendURL(isTLS: false, host: "169.254.170.2", port: 80, basePath: path)
        } else if let text = environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"], !text.isEmpty {
            guard let parsed = BackendURL(text: text) else {
                throw CredentialFailure("AWS_CONTAINER_CREDENTIALS_FULL_URI is no URL")
            }
            let isLoopback = parsed.host.hasPrefix("127.") || parsed.host == "::1"
            guard parsed.isTLS || isLoopback || Self.allowedHosts.contains(parsed.host) else {
                throw CredentialFailure(
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or an address of this host")
            }
            url = parsed
        } else {
            return nil
        }
        tokenFile = environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]
        token = environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"].map { Secret($0) }
    }
}

/// The instance metadata service, version 2 (bedrock-api.md section 5.5).
public struct InstanceMetadata: Sendable {
    /// Where it is.
    public let url: BackendURL
    /// Whether version 1, without a token, may be used when version 2 is not there.
    public let allowsVersionOne: Bool

    init(environment: [String: String]) {
        let isIPv6 = environment["AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"]?.lowercased() == "ipv6"
        let standard = BackendURL(
            isTLS: false, host: isIPv6 ? "fd00:ec2::254" : "169.254.169.254", port: 80,
            basePath: "")
        url =
            environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"].flatMap { BackendURL(text: $0) }
            ?? standard
        allowsVersionOne =
            environment["AWS_EC2_METADATA_V1_DISABLED"]?.lowercased() != "true"
    }
}

/// The JSON that containers, instances and credential processes answer with.
public enum CredentialJSON {
    /// The credentials in it.
    /// - Throws: what is missing.
    public static func read(_ body: [UInt8]) throws(CredentialFailure) -> AWSCredentials {
        guard let root = (try? JSONDocument(body))?.root,
            let id = root.present("AccessKeyId")?.string,
            let secret = root.present("SecretAccessKey")?.string
        else { throw CredentialFailure("the answer holds no credentials") }
        if let code = root.present("Code")?.string, code != "Success" {
            throw CredentialFailure("the metadata service answered \(code)")
        }
        let token = root.present("Token")?.string ?? root.present("SessionToken")?.string
        let end = root.present("Expiration").map { $0.string ?? "" }
        return AWSCredentials(
            accessKeyID: id, secretAccessKey: Secret(secret),
            sessionToken: token.map { Secret($0) },
            expiration: try expiration(end))
    }

    /// The time of an `Expiration`; nil when there is none.
    /// - Throws: when it is no time: nobody would ask for others before these are refused.
    static func expiration(_ text: String?) throws(CredentialFailure) -> WallTime? {
        guard let text else { return nil }
        guard let time = RFC3339.time(text) else {
            throw CredentialFailure("the Expiration of the credentials is no time of RFC 3339")
        }
        return time
    }
}
