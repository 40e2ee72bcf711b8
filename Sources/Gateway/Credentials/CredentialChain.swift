public import Primitives
public import Translation

/// Why there are no credentials, for an operator; never a secret.
public struct CredentialFailure: Error, Sendable, Equatable {
    /// What was tried and what to do.
    public let message: String

    /// A failure.
    public init(_ message: String) { self.message = message }
}

/// Where the next step of finding credentials leads. Pure: the runtime does what it says.
public indirect enum CredentialSource: Sendable {
    /// They are here.
    case ready(AWSCredentials)
    /// A Bedrock API key.
    case bearer(Secret)
    /// STS AssumeRole, with credentials from another source.
    case assumeRole(RoleRequest, using: CredentialSource)
    /// STS AssumeRoleWithWebIdentity, with the content of a file.
    case webIdentity(RoleRequest, tokenFile: String)
    /// A command that prints them.
    case process(String)
    /// A container's credential endpoint.
    case container(ContainerEndpoint)
    /// The instance metadata service.
    case instance(InstanceMetadata)
}

extension BackendCredential {
    /// Whether it can be sent: visible ASCII only (RFC 9110 section 5.5). Metadata services and
    /// commands answer with anything.
    public var fitsHeaderFields: Bool {
        switch self {
        case .none: true
        case .bearer(let key): Self.isVisible(key.exposed)
        case .aws(let keys):
            Self.isVisible(Array(keys.accessKeyID.utf8))
                && Self.isVisible(keys.secretAccessKey.exposed)
                && Self.isVisible(keys.sessionToken?.exposed ?? [])
        }
    }

    private static func isVisible(_ text: [UInt8]) -> Bool {
        text.allSatisfy { $0 > 0x20 && $0 < 0x7f }
    }
}

/// What is asked of STS.
public struct RoleRequest: Sendable, Equatable {
    /// The role.
    public var arn: String
    /// `[\w+=,.@-]{2,64}`.
    public var sessionName: String
    /// The external id, if the role asks for one.
    public var externalID: String?
    /// 900 to 43,200; nil leaves it to STS.
    public var durationSeconds: Int?

    /// A role.
    public init(
        arn: String, sessionName: String?, externalID: String? = nil, durationSeconds: Int? = nil
    ) {
        self.arn = arn
        self.sessionName = sessionName ?? "sluice"
        self.externalID = externalID
        self.durationSeconds = durationSeconds
    }
}

/// The AWS credential chain (bedrock-api.md section 5): the first hit wins.
public struct CredentialChain: Sendable {
    private static let profileDepth = 8

    private let environment: [String: String]
    private let profiles: SharedProfiles

    /// A chain over an environment and the shared files.
    public init(environment: [String: String], profiles: SharedProfiles) {
        self.environment = environment
        self.profiles = profiles
    }

    /// Where credentials come from when the configuration says nothing.
    /// - Throws: what is half there, such as a key without its secret.
    public func source() throws(CredentialFailure) -> CredentialSource {
        if let token = value("AWS_BEARER_TOKEN_BEDROCK") { return .bearer(Secret(token)) }
        let isProfileNamed = value("AWS_PROFILE") != nil
        if !isProfileNamed, let keys = try environmentKeys() { return .ready(keys) }
        if let profile = profiles.profile(profileName), profile["role_arn"] != nil {
            return try source(ofProfile: profileName)
        }
        if let file = value("AWS_WEB_IDENTITY_TOKEN_FILE"), let role = value("AWS_ROLE_ARN") {
            let request = RoleRequest(arn: role, sessionName: value("AWS_ROLE_SESSION_NAME"))
            return .webIdentity(request, tokenFile: file)
        }
        if profiles.profile(profileName) != nil, let found = try? source(ofProfile: profileName) {
            return found
        }
        if isProfileNamed {
            throw CredentialFailure("the profile \(profileName) has no usable credentials")
        }
        if let endpoint = try ContainerEndpoint(environment: environment) {
            return .container(endpoint)
        }
        return try instanceSource()
    }

    /// Where a named profile's credentials come from.
    /// - Throws: when there is no such profile, or it leads in a circle.
    public func source(ofProfile name: String) throws(CredentialFailure) -> CredentialSource {
        try source(ofProfile: name, visited: [])
    }

    /// The region: environment, then the profile.
    public var region: String? {
        value("AWS_REGION") ?? value("AWS_DEFAULT_REGION")
            ?? profiles.profile(profileName)?["region"]
    }

    private var profileName: String { value("AWS_PROFILE") ?? "default" }

    private func source(
        ofProfile name: String, visited: [String]
    ) throws(CredentialFailure) -> CredentialSource {
        guard let profile = profiles.profile(name) else {
            throw CredentialFailure("there is no profile \(name) in the shared AWS files")
        }
        // A profile that names itself as source must hold keys.
        let isOwnSource = visited.last == name
        guard visited.count < Self.profileDepth, isOwnSource || !visited.contains(name) else {
            throw CredentialFailure("the profile \(name) leads back to itself by source_profile")
        }
        if let role = profile["role_arn"], !isOwnSource {
            return try roleSource(role, profile, name: name, visited: visited)
        }
        if let keys = try Self.keys(of: profile, name: name) { return .ready(keys) }
        if let command = profile["credential_process"] { return .process(command) }
        throw CredentialFailure("the profile \(name) has no credentials")
    }

    private func roleSource(
        _ role: String, _ profile: [String: String], name: String, visited: [String]
    ) throws(CredentialFailure) -> CredentialSource {
        guard profile["mfa_serial"] == nil else {
            throw CredentialFailure(
                "the profile \(name) asks for a one-time password, which nobody can type here")
        }
        let request = RoleRequest(
            arn: role, sessionName: profile["role_session_name"],
            externalID: profile["external_id"],
            durationSeconds: profile["duration_seconds"].flatMap { Int($0) })
        if let file = profile["web_identity_token_file"] {
            return .webIdentity(request, tokenFile: file)
        }
        if let source = profile["source_profile"] {
            return .assumeRole(
                request, using: try self.source(ofProfile: source, visited: visited + [name]))
        }
        switch profile["credential_source"] {
        case "Environment":
            guard let keys = try environmentKeys() else {
                throw CredentialFailure("the profile \(name) wants keys in the environment")
            }
            return .assumeRole(request, using: .ready(keys))
        case "Ec2InstanceMetadata": return .assumeRole(request, using: try instanceSource())
        case "EcsContainer":
            guard let endpoint = try ContainerEndpoint(environment: environment) else {
                throw CredentialFailure("the profile \(name) wants a container's credentials")
            }
            return .assumeRole(request, using: .container(endpoint))
        default:
            throw CredentialFailure(
                "the profile \(name) has a role but neither source_profile nor credential_source")
        }
    }

    private func environmentKeys() throws(CredentialFailure) -> AWSCredentials? {
        guard let id = value("AWS_ACCESS_KEY_ID") else { return nil }
        guard let secret = value("AWS_SECRET_ACCESS_KEY") else {
            throw CredentialFailure("AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not")
        }
        let token = value("AWS_SESSION_TOKEN") ?? value("AWS_SECURITY_TOKEN")
        return AWSCredentials(
            accessKeyID: id, secretAccessKey: Secret(secret),
            sessionToken: token.map { Secret($0) },
            expiration: try CredentialJSON.expiration(value("AWS_CREDENTIAL_EXPIRATION")))
    }

    private static func keys(
        of profile: [String: String], name: String
    ) throws(CredentialFailure) -> AWSCredentials? {
        guard let id = profile["aws_access_key_id"] else { return nil }
        guard let secret = profile["aws_secret_access_key"] else {
            throw CredentialFailure("the profile \(name) has a key id without its secret")
        }
        return AWSCredentials(
            accessKeyID: id, secretAccessKey: Secret(secret),
            sessionToken: profile["aws_session_token"].map { Secret($0) }, expiration: nil)
    }

    private func instanceSource() throws(CredentialFailure) -> CredentialSource {
        guard value("AWS_EC2_METADATA_DISABLED")?.lowercased() != "true" else {
            throw CredentialFailure(
                "no AWS credentials in environment, shared files or container, and the instance "
                    + "metadata service is switched off")
        }
        return .instance(InstanceMetadata(environment: environment))
    }

    private func value(_ name: String) -> String? {
        environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }
}
