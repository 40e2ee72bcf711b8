import Foundation
import Primitives
import TestSupport
import Testing
import Translation

@testable import Gateway

@Suite struct CredentialTests {
    @Test(arguments: try Fixtures.vectors("credentials").map(\.name))
    func `a vector of the credential chain holds`(_ name: String) throws {
        let vector = try #require(
            try Fixtures.vectors("credentials").first { $0.name == name }?.object)
        let input = try #require(vector["input"] as? [String: Any])
        let expect = try #require(vector["expect"] as? [String: Any])
        switch input["kind"] as? String {
        case "chain": try checkChain(input, expect)
        case "sts": try checkSTS(input, expect)
        case "sts-error":
            let error = STSMessages.error(Array((input["response_xml"] as? String ?? "").utf8))
            #expect(error.code == expect["code"] as? String)
            #expect(error.message == expect["message"] as? String)
        default: Issue.record("an unknown kind of vector: \(name)")
        }
    }

    private func checkChain(_ input: [String: Any], _ expect: [String: Any]) throws {
        let chain = CredentialChain(
            environment: input["environment"] as? [String: String] ?? [:],
            profiles: SharedProfiles(
                credentials: input["credentials_file"] as? String ?? "",
                config: input["config_file"] as? String ?? ""))
        guard case .ready(let keys) = try chain.source() else {
            Issue.record("the chain found no keys")
            return
        }
        check(keys, expect)
        #expect(chain.region == expect["region"] as? String)
    }

    private func checkSTS(_ input: [String: Any], _ expect: [String: Any]) throws {
        let parameters = try #require(input["parameters"] as? [String: Any])
        let request = RoleRequest(
            arn: try #require(parameters["RoleArn"] as? String),
            sessionName: parameters["RoleSessionName"] as? String,
            externalID: parameters["ExternalId"] as? String,
            durationSeconds: parameters["DurationSeconds"] as? Int)
        let token = (parameters["WebIdentityToken"] as? String).map { Array($0.utf8) }
        let form =
            token.map { STSMessages.webIdentity(request, token: $0) }
            ?? STSMessages.assumeRole(request)
        #expect(
            String(decoding: form, as: UTF8.self) == expect["form_encoded_by_reference"] as? String)
        let keys = try STSMessages.read(
            status: 200, body: Array((input["response_xml"] as? String ?? "").utf8))
        check(keys, expect)
        #expect(keys.expiration?.seconds == (expect["expiration_unix"] as? Int).map { Int64($0) })
    }

    private func check(_ keys: AWSCredentials, _ expect: [String: Any]) {
        #expect(keys.accessKeyID == expect["access_key_id"] as? String)
        let secret = String(decoding: keys.secretAccessKey.exposed, as: UTF8.self)
        #expect(secret == expect["secret_access_key"] as? String)
        let token = keys.sessionToken.map { String(decoding: $0.exposed, as: UTF8.self) }
        #expect(token == expect["session_token"] as? String)
    }

    private func chain(_ config: String, _ environment: [String: String] = [:]) -> CredentialChain {
        CredentialChain(
            environment: environment, profiles: SharedProfiles(credentials: "", config: config))
    }

    @Test func `source profiles are followed, and a loop is an error`() throws {
        let good = """
            [profile a]
            role_arn = arn:a
            source_profile = b
            [profile b]
            aws_access_key_id = AK
            aws_secret_access_key = SK
            """
        guard
            case .assumeRole(let request, using: .ready(let keys)) = try chain(good).source(
                ofProfile: "a")
        else {
            Issue.record("the role was not found")
            return
        }
        #expect(request.arn == "arn:a")
        #expect(keys.accessKeyID == "AK")
        let loop = """
            [profile a]
            role_arn = arn:a
            source_profile = b
            [profile b]
            role_arn = arn:b
            source_profile = a
            """
        #expect(throws: CredentialFailure.self) { try chain(loop).source(ofProfile: "a") }
    }

    @Test func `a lone key id is an error, not a miss`() {
        #expect(throws: CredentialFailure.self) {
            try chain("", ["AWS_ACCESS_KEY_ID": "AK"]).source()
        }
    }

    @Test(arguments: [
        ("http://169.254.170.2/x", true), ("https://example.com/x", true),
        ("http://127.0.0.1:80/x", true), ("http://example.com/x", false),
    ])
    func `a container's endpoint must be near or https`(_ url: String, _ isAllowed: Bool) {
        let environment = ["AWS_CONTAINER_CREDENTIALS_FULL_URI": url]
        let endpoint = try? ContainerEndpoint(environment: environment)
        #expect((endpoint != nil) == isAllowed)
    }

    @Test func `without anything the instance is asked, unless that is switched off`() throws {
        guard case .instance = try chain("").source() else {
            Issue.record("the instance was not asked")
            return
        }
        #expect(throws: CredentialFailure.self) {
            try chain("", ["AWS_EC2_METADATA_DISABLED": "true"]).source()
        }
    }

    @Test func `an API key in the environment comes before other credentials`() throws {
        let environment = [
            "AWS_BEARER_TOKEN_BEDROCK": "key", "AWS_ACCESS_KEY_ID": "AK",
            "AWS_SECRET_ACCESS_KEY": "SK",
        ]
        guard case .bearer = try chain("", environment).source() else {
            Issue.record("the API key was passed over")
            return
        }
    }

    @Test(arguments: [("t", true), ("t\\r\\nx: y", false), ("t t", false), ("é", false)])
    func `credentials that no header field may hold are told apart`(
        _ token: String, _ fits: Bool
    ) throws {
        let json = #"{"AccessKeyId":"a","SecretAccessKey":"s","Token":"\#(token)"}"#
        let keys = try CredentialJSON.read(Array(json.utf8))
        #expect(BackendCredential.aws(keys).fitsHeaderFields == fits)
    }

    @Test(arguments: [
        ("eu-central-1", "bedrock-runtime.eu-central-1.amazonaws.com"),
        ("cn-north-1", "bedrock-runtime.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "bedrock-runtime.us-gov-west-1.amazonaws.com"),
    ])
    func `a region has its host`(_ region: String, _ host: String) {
        #expect(AWSEndpoints.bedrock(region: region, environment: [:]).host == host)
    }

    @Test(arguments: [#""tomorrow""#, "1767323045", #""2026-01-02 03:04:05""#])
    func `credentials that expire nobody knows when are refused`(_ expiration: String) {
        let json =
            #"{"AccessKeyId":"A","SecretAccessKey":"S","Expiration":\#(expiration)}"#
        #expect(throws: CredentialFailure.self) { try CredentialJSON.read(Array(json.utf8)) }
        let xml =
            "<AccessKeyId>A</AccessKeyId><SecretAccessKey>S</SecretAccessKey>"
            + "<SessionToken>T</SessionToken><Expiration>\(expiration)</Expiration>"
        #expect(throws: CredentialFailure.self) {
            try STSMessages.read(status: 200, body: Array(xml.utf8))
        }
    }

    @Test func `keys in the environment that expire nobody knows when are refused`() throws {
        var environment = [
            "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S",
            "AWS_CREDENTIAL_EXPIRATION": "2026-01-02T03:04:05Z",
        ]
        guard case .ready(let keys) = try chain("", environment).source() else {
            Issue.record("the chain found no keys")
            return
        }
        #expect(keys.expiration == RFC3339.time("2026-01-02T03:04:05Z"))
        environment["AWS_CREDENTIAL_EXPIRATION"] = "tomorrow"
        #expect(throws: CredentialFailure.self) { try chain("", environment).source() }
    }

    @Test(arguments: ["", #","Expiration":null"#])
    func `credentials that name no end have none`(_ expiration: String) throws {
        let json = #"{"AccessKeyId":"A","SecretAccessKey":"S"\#(expiration)}"#
        #expect(try CredentialJSON.read(Array(json.utf8)).expiration == nil)
    }

    // MARK: - When they are fetched again

    private static let start = Instant(nanoseconds: 1_000_000_000)
    private static let wall = WallTime(milliseconds: 1_767_323_045_000)

    private func schedule(expiresAfter seconds: Int64?, fetchedAt wall: WallTime) -> RefreshSchedule
    {
        var schedule = RefreshSchedule(now: Self.start, wall: wall)
        #expect(schedule.isDue(now: Self.start, wall: wall))
        let expiration = seconds.map { Self.wall.advanced(bySeconds: $0) }
        let keys = AWSCredentials(
            accessKeyID: "A", secretAccessKey: Secret("S"), sessionToken: nil,
            expiration: expiration)
        schedule.fetched(.aws(keys), now: Self.start, wall: wall)
        return schedule
    }

    private func isDue(_ schedule: RefreshSchedule, after seconds: Int) -> Bool {
        schedule.isDue(
            now: Self.start.advanced(byMilliseconds: seconds * 1000),
            wall: Self.wall.advanced(bySeconds: Int64(seconds)))
    }

    @Test func `credentials are fetched again before they expire`() {
        let hour = schedule(expiresAfter: 3_600, fetchedAt: Self.wall)
        #expect(!isDue(hour, after: 2_699) && isDue(hour, after: 2_700))
        let stale = schedule(expiresAfter: 10, fetchedAt: Self.wall)
        #expect(!isDue(stale, after: 59) && isDue(stale, after: 60))
        let fixed = schedule(expiresAfter: nil, fetchedAt: Self.wall)
        #expect(!isDue(fixed, after: 1 << 30))
    }

    @Test(arguments: [-31_536_000, 31_536_000])
    func `a clock that was wrong by a year keeps nobody from fetching`(_ error: Int64) {
        let wrong = Self.wall.advanced(bySeconds: error)
        #expect(isDue(schedule(expiresAfter: 3_600, fetchedAt: wrong), after: 2_700))
        var failing = RefreshSchedule(now: Self.start, wall: wrong)
        failing.failed(now: Self.start, wall: wrong)
        #expect(isDue(failing, after: 30))
    }
}
