import Primitives
import TestSupport
import Testing
import Translation
import Wire

@testable import Gateway

@Suite struct ConfigurationTests {
    static let good = """
        listeners: [{address: 127.0.0.1:8080}]
        backends:
          b: {kind: vllm, url: "http://127.0.0.1:8000/v1", api_key: {value: x}}
        routes:
          - {model: "llama-*", targets: [{backend: b}]}
        tenants:
          - {name: t, keys: [{value: sk}], models: ["*"], limits: [{tokens: 1k, per: minute}]}
        """

    private func read(_ text: String) -> ConfigurationReader.Outcome {
        ConfigurationReader(
            folder: "/etc/sluice", providers: ProviderCatalogue.all, secrets: nil
        ).read(Array(text.utf8))
    }

    @Test func `a good file is read`() throws {
        let outcome = read(Self.good)
        #expect(outcome.problems.isEmpty)
        let configuration = try #require(outcome.configuration)
        #expect(configuration.backends.first?.url?.port == 8000)
        #expect(configuration.backends.first?.url?.basePath == "/v1")
        #expect(configuration.tenants.first?.limits.first?.amount == 1000)
        #expect(configuration.stateDirectory == "/etc/sluice/state")
        #expect(configuration.admin == SocketName(host: "127.0.0.1", port: 9090))
    }

    @Test func `what becomes of a long answer is read and shown`() throws {
        let text = Self.good.replacing("per: minute", with: "per: minute, on_exceed: cut")
        let configuration = try #require(read(text).configuration)
        #expect(configuration.tenants.first?.limits.first?.onExceed == .cut)
        let json = String(decoding: ConfigurationRenderer.json(configuration), as: UTF8.self)
        #expect(json.contains(#""on_exceed":"cut""#))
    }

    @Test(arguments: [
        ("bakends: {}", 1, 1, "did you mean \"backends\""),
        ("workers: many", 1, 10, "auto or a number"),
        ("listeners: [{adress: 127.0.0.1:1}]", 1, 14, "did you mean \"address\""),
        ("listeners: [{address: nonsense}]", 1, 23, "127.0.0.1:8080"),
        ("backends: {a: {kind: vlm}}", 1, 22, "did you mean \"vllm\""),
        ("backends: {a: {kind: vllm}}", 1, 15, "needs \"url\""),
        ("backends: {a: {kind: vllm, url: 'ftp://x'}}", 1, 33, "http://"),
        ("backends: {a: {kind: vllm, url: 'http://[::1/v1'}}", 1, 33, "http://"),
        ("backends: {a: {kind: vllm, url: 'http://a\tb'}}", 1, 33, "http://"),
        ("backends: {a: {kind: vllm, url: 'http://u:hush@x'}}", 1, 33, "not one with a user"),
        ("backends: {a: {kind: vllm, url: 'http://x', http: 3}}", 1, 51, "one of auto, 1, 2"),
        ("backends: {a: {kind: bedrock, headers: {Host: x}}}", 1, 41, "the gateway itself writes"),
        ("routes: [{model: m, targets: [{backend: x}]}]", 1, 41, "there is no backend \"x\""),
        ("prices: {ghost: {input: 1}}", 1, 10, "no route can reach"),
        (
            "backends: {a: {kind: vllm, url: 'http://x', region: r}}", 1, 53,
            "for backends of kind bedrock, not vllm"
        ),
        ("backends: {a: {kind: bedrock, legacy: true}}", 1, 39, "kind openai or vllm, not bedrock"),
        (
            "backends: {a: {kind: vllm, url: 'http://x'}}\n"
                + "routes: [{model: m, targets: [{backend: a, allow_s3: true}]}]", 2, 54,
            "\"allow_s3\" is for backends of kind bedrock"
        ),
        (
            "backends: {a: {kind: bedrock}}\n"
                + "routes: [{model: m, targets: [{backend: a, profile: {family: antropic}}]}]", 2,
            62, "did you mean \"anthropic\""
        ),
        ("prices: {m: {cache_read: 1}}", 1, 13, "needs \"input\""),
        ("limits: {request_body: lots}", 1, 24, "64MiB"),
        ("limits: {buffered_bytes: lots}", 1, 26, "1GiB"),
        ("limits: {connections: many}", 1, 23, "20k"),
        ("limits: {connections: 0}", 1, 23, "20k, not \"0\""),
        ("limits: {request_body: 0MiB}", 1, 24, "64MiB, not"),
        (
            "backends: {a: {kind: bedrock, timeouts: {total: 0s}}}", 1, 49,
            "300ms, 5s or 10m, not \"0s\""
        ),
        ("backends: {a: {kind: bedrock, connections: {max: 0}}}", 1, 50, "1000, not \"0\""),
        ("log: {level: loud}", 1, 14, "must be one of"),
        ("ledger: {fsync: 0s}", 1, 17, "1s, or never"),
        ("ledger: {on_full: refused}", 1, 19, "did you mean \"refuse\""),
        ("ledger: {retention: 1h}", 1, 21, "at least 1d"),
        ("ledger: {keep: 1d}", 1, 10, "keep"),
        ("drain: {delay: 2h}", 1, 16, "at most 1h"), ("drain: {wait: 1s}", 1, 9, "wait"),
        ("a: 1\na: 2", 2, 1, "stands twice"),
        ("backends: {a: {kind: vllm}, a: {kind: vlm}}", 1, 15, "needs \"url\""),
        ("listeners: [", 2, 1, "YAML"),
        ("listeners: [{address: 0.0.0.0:80}]", 1, 12, "without \"tenants\""),
        ("listeners: [{address: 0.0.0.0:80}]\ntenants: []", 2, 10, "without \"tenants\""),
        (
            "listeners: [{address: 127.0.0.1:80}, {address: localhost:80}]", 1, 48,
            "listened on twice"
        ),
        (
            "listeners: [{address: 127.0.0.1:80}]\nadmin: {address: 127.0.0.1:80}", 2, 18,
            "a port of its own"
        ),
        (
            "listeners: [{address: 127.0.0.1:80}]\nadmin: {address: 0.0.0.0:80}", 2, 18,
            "a port of its own"
        ),
        ("listeners: [{address: localhost:9090}]", 1, 12, "a port of its own"),
        ("limits: {header_bytes: 17MiB}", 1, 24, "at most 16MiB"),
        ("prices: {m: {input: 1000001}}", 1, 21, "US dollars per million"),
        ("tenants: [{name: a}, {name: a}]", 1, 29, "two tenants"),
        (
            "backends: {a: {kind: bedrock}}\nroutes: [{model: m, targets: ["
                + String(repeating: "{backend: a}, ", count: 257) + "]}]", 2, 3615,
            "at most 256 targets"
        ),
        ("tenants: [{name: ''}]", 1, 11, "needs \"name\""),
        ("tenants: [{name: a, keys: [{value: ''}]}]", 1, 28, "must not be empty"),
        ("routes: [{model: '', targets: []}]", 1, 10, "needs \"model\""),
        ("backends: {\"a\\r\\nb: c\": {kind: bedrock}}", 1, 12, "one line of text"),
        ("tenants: [{name: \"a\\nb\"}]", 1, 18, "one line of text"),
        ("backends: {a: {kind: bedrock, api_key: {value: \"x\\n\"}}}", 1, 48, "one line of text"),
        ("tenants: [{name: a, limits: [{tokens: 5, per: week}]}]", 1, 47, "must be one of"),
        ("tenants: [{name: a, limits: [{per: day}]}]", 1, 30, "exactly one of"),
        (
            "tenants: [{name: a, limits: [{tokens: 5, per: day, on_exceed: stop}]}]", 1, 63,
            "one of finish, cut"
        ),
        (
            "tenants: [{name: a, limits: [{requests: 5, per: day, on_exceed: cut}]}]", 1, 65,
            "adds nothing to requests"
        ),
        (
            "tenants: [{name: a, limits: [{usd: 5, per: day}, {usd: 6, per: day}]}]", 1, 50,
            "two limits \"usd/day\""
        ),
        ("tenants: [{name: a, keys: [{sha256: abc}]}]", 1, 28, "64 hexadecimal"),
        ("tenants: [{name: a, keys: [{sha265: abc}]}]", 1, 29, "did you mean \"sha256\"?"),
        ("tenants: [{name: a, keys: [{vaule: abc}]}]", 1, 28, "{value: TEXT}, {env: NAME}"),
        ("tenants: [{name: a, models: [ghost]}]", 1, 30, "no route can reach"),
        ("tenants: [{name: a, keys: [{client_certificate: CN=x}]}]", 1, 28, "\"client_ca\""),
        ("tenants: [{name: a, keys: [{client_certificate: x}]}]", 1, 49, "RFC2253"),
        ("tenants: [{name: a, keys: [{client_certificat: x}]}]", 1, 29, "client_certificat"),
        ("tenants: [{name: a, keys: [x]}]", 1, 28, "{value: TEXT}, {env: NAME}"),
        ("listeners: [{address: 127.0.0.1:1, tls: {certificate: c}}]", 1, 41, "needs \"key\""),
        (
            "listeners: [{address: 127.0.0.1:1, tls: {certificate: c, key: k, client_ca: }}]", 1,
            66, "must name a file"
        ),
        (
            "backends: {a: {kind: vllm, url: 'https://x', tls: {certificate: c}}}", 1, 65,
            "go together"
        ),
        ("backends: {a: {kind: vllm, url: 'https://x', tls: {key: k}}}", 1, 57, "go together"),
        ("routes:\n\t- {model: m}", 2, 1, "with spaces, not with tabs"),
        ("routes: [{model: *}]", 1, 19, "begins with * in quotes"),
        ("routes: [{model: *-mini}]", 1, 18, "begins with * in quotes"),
        ("tenants: [{name: @a}]", 1, 18, "begins with @ in quotes"),
        ("backends:\nroutes\n  - {model: m}", 2, 1, "could not find expected ':'"),
        ("limits: {a: 1\nlog: {}", 2, 4, "a flow mapping that begins at 1:9"),
    ])
    func `a mistake is told with its place`(
        _ text: String, line: Int, column: Int, message: String
    ) {
        let outcome = read(text)
        #expect(outcome.configuration == nil)
        let found = outcome.problems.contains {
            $0.line == line && $0.column == column && $0.message.contains(message)
        }
        #expect(found, "\(outcome.problems)")
    }

    static let mutual = good.replacing(
        "[{address: 127.0.0.1:8080}]",
        with: "[{address: 127.0.0.1:8443, tls: {certificate: c, key: k, client_ca: ca}}]"
    ).replacing(
        "{value: sk}", with: "{value: sk}, {client_certificate: 'CN=a,O=E'}"
    ).replacing("api_key: {value: x}", with: "tls: {certificate: bc, key: /bk}")

    @Test func `client certificates are read and shown`() throws {
        let configuration = try #require(read(Self.mutual).configuration)
        #expect(configuration.listeners.first?.tls?.clientAuthority == "/etc/sluice/ca")
        let files = CertificateFiles(certificate: "/etc/sluice/bc", key: "/bk")
        #expect(configuration.backends.first?.tls.identity == files)
        guard case .certificate("CN=a,O=E")? = configuration.tenants.first?.keys.last else {
            Issue.record("no subject")
            return
        }
        let json = String(decoding: ConfigurationRenderer.json(configuration), as: UTF8.self)
        for shown in [
            #""client_ca":"/etc/sluice/ca""#, #""client_certificate":"CN=a,O=E""#,
            #""certificate":"/etc/sluice/bc""#,
        ] {
            #expect(json.contains(shown), "\(json)")
        }
    }

    @Test(arguments: ["{value: sk}", "{env: sk}", "{file: /sk}", "{sha256: DIGEST}"])
    func `no two tenants have one key, however it is written`(_ key: String) {
        let digits = SHA256.digest(Array("sk".utf8).span).hexadecimal(prefix: 32)
        let text = key.replacing("DIGEST", with: digits)
        let resolver = SecretResolver(
            environment: { $0 }, readFile: { Array($0.utf8.dropFirst()) })
        let outcome = ConfigurationReader(
            folder: ".", providers: ProviderCatalogue.all, secrets: resolver
        ).read(Array("\(Self.good)\n  - {name: u, keys: [\(text)]}".utf8))
        #expect(outcome.problems.map(\.message) == ["this key stands twice"])
        #expect(outcome.problems.first?.line == 8)
    }

    @Test func `a secret is looked up once`() {
        let asked = Locked<[String]>([])
        let resolver = SecretResolver(
            environment: { name in
                asked.withLock { $0.append(name) }
                return name
            }, readFile: { _ in nil })
        let backend = "\n  c: {kind: vllm, url: 'http://c/v1', api_key: {env: B}}"
        let text =
            Self.good.replacing("\nroutes", with: backend + "\nroutes")
            + "\n  - {name: u, keys: [{env: U}]}"
        let outcome = ConfigurationReader(
            folder: ".", providers: ProviderCatalogue.all, secrets: resolver
        ).read(Array(text.utf8))
        #expect(outcome.problems.isEmpty)
        #expect(asked.withLock { $0 } == ["B", "U"])
    }

    @Test(arguments: [
        ("'[::]:9090'", "127.0.0.1:9090", false), ("0.0.0.0:9090", "'[::1]:9090'", false),
        ("'[::]:9090'", "'[::1]:9090'", true), ("0.0.0.0:9090", "127.0.0.1:9090", true),
        ("'[::]:9090'", "'[::]:9090'", true), ("0.0.0.0:9090", "localhost:9090", true),
        ("'[0:0::0]:9090'", "'[::1]:9090'", true),
        ("'[::1]:9090'", "'[0:0:0:0:0:0:0:1]:9090'", true),
        ("'[::ffff:127.0.0.1]:9090'", "'[::FFFF:7f00:1]:9090'", true),
        ("'[::1]:9090'", "'[::2]:9090'", false),
    ])
    func `listeners and the admin side meet within one version of IP only`(
        _ listener: String, _ admin: String, _ meet: Bool
    ) {
        let text = "listeners: [{address: \(listener)}]\nadmin: {address: \(admin)}"
        let isRefused = read(text).problems.contains { $0.message.contains("port of its own") }
        #expect(isRefused == meet)
    }

    @Test func `no two tenants have one client certificate`() {
        let twice = Self.mutual + "\n  - {name: u, keys: [{client_certificate: 'CN=a,O=E'}]}"
        let outcome = read(twice)
        #expect(outcome.problems.map(\.message) == ["this client certificate stands twice"])
        #expect(outcome.problems.first?.line == 8)
        #expect(read(twice.replacing("'CN=a,O=E'}]}", with: "CN=a}]}")).problems.isEmpty)
    }

    @Test func `files of TLS that hold something else are told where they are named`() {
        let resolver = SecretResolver(environment: { $0 }, readFile: { Array($0.utf8) })
        let outcome = ConfigurationReader(
            folder: "/etc/sluice", providers: ProviderCatalogue.all, secrets: resolver
        ).read(Array(Self.mutual.utf8))
        #expect(outcome.configuration == nil)
        #expect(outcome.problems.map(\.line) == [1, 3])
        #expect(outcome.problems.allSatisfy { $0.message.contains("\"certificate\": ") })
    }

    @Test(arguments: [
        ("CN=a", true), ("CN=a,O=E", true), ("CN=a+OU=x,C=DE", true), ("CN=", true),
        ("1.2.3.4=#0C0161", true), (#"CN=a\,b\C3\AB\ "#, true), ("CN=a b", true), ("a", false),
        ("", false), ("CN=a, O=E", false), ("CN=a,", false), ("CN=a ", false), ("=a", false),
        ("subject=CN=a", false), ("CN=Zoë", false), (#"CN=a\"#, false), (#"CN=a\C"#, false),
        (#"CN=a\xy"#, false), ("CN=\"a\"", false), ("CN=a;O=E", false), ("CN=a\n", false),
        ("O = E", false),
    ])
    func `a subject is written as certificates' subjects are`(_ text: String, _ isFine: Bool) {
        #expect(SubjectText.isWellFormed(text) == isFine)
    }

    @Test func `the drain's keys are read, shown, and have defaults`() throws {
        let plain = try #require(read(Self.good).configuration)
        #expect(plain.drain == DrainConfiguration())
        let configuration = try #require(
            read(Self.good + "\ndrain: {delay: 5s, timeout: 0s}\n").configuration)
        #expect(configuration.drain.delayMilliseconds == 5_000)
        #expect(configuration.drain.timeoutMilliseconds == 0)
        let json = String(decoding: ConfigurationRenderer.json(configuration), as: UTF8.self)
        #expect(json.contains(#""drain":{"delay":"5000ms","timeout":"0ms"}"#))
    }

    @Test func `keys that need a restart are named`() throws {
        let plain = try #require(read(Self.good).configuration)
        #expect(plain.keysForRestart(plain).isEmpty)
        var other = plain
        other.admin = nil
        other.workers = 7
        other.stateDirectory = "elsewhere"
        other.log.level = "debug"
        other.log.isJSON.toggle()
        #expect(plain.keysForRestart(other) == ["admin", "workers", "state", "log.level"])
        other.listeners.append(
            ListenerConfiguration(address: SocketName(host: "127.0.0.1", port: 1), tls: nil))
        #expect(plain.keysForRestart(other).first == "listeners")
    }

    @Test func `the ledger's keys are read, shown, and have defaults`() throws {
        let plain = try #require(read(Self.good).configuration)
        #expect(plain.ledger == LedgerConfiguration())
        let section = "\nledger: {fsync: never, on_full: continue, retention: 400d}\n"
        let configuration = try #require(read(Self.good + section).configuration)
        #expect(configuration.ledger.syncMilliseconds == nil)
        #expect(configuration.ledger.whenFull == .continue)
        #expect(configuration.ledger.retentionMilliseconds == 400 * 86_400_000)
        let json = String(decoding: ConfigurationRenderer.json(configuration), as: UTF8.self)
        #expect(json.contains(#""ledger":{"fsync":"never","on_full":"continue","retention":"#))
        let timed = read(Self.good + "\nledger: {fsync: 250ms}\n").configuration
        #expect(timed?.ledger.syncMilliseconds == 250)
    }

    @Test func `any free port is nobody else's`() {
        let text = "listeners: [{address: '127.0.0.1:0'}]\nadmin: {address: '127.0.0.1:0'}"
        #expect(read(text).problems.isEmpty)
    }

    @Test func `all mistakes are told at once, in order`() {
        let outcome = read("workers: x\nlog: {level: y}\nnonsense: 1\n")
        #expect(outcome.problems.map(\.line) == [1, 2, 3])
    }

    @Test func `a key in the file is warned about when a listener is open to others`() {
        let text = Self.good.replacing("127.0.0.1:8080", with: "0.0.0.0:8080")
        let outcome = read(text)
        #expect(outcome.configuration != nil)
        #expect(outcome.problems.map(\.severity) == [.warning])
    }

    @Test func `a secret that cannot be had is told where it is asked for`() {
        let resolver = SecretResolver(environment: { _ in nil }, readFile: { _ in nil })
        let text = Self.good.replacing("{value: x}", with: "{env: NOWHERE}")
        let outcome = ConfigurationReader(
            folder: ".", providers: ProviderCatalogue.all, secrets: resolver
        ).read(Array(text.utf8))
        #expect(outcome.problems.first?.line == 3)
        #expect(outcome.problems.first?.message.contains("NOWHERE") == true)
    }

    @Test(arguments: [
        ("tokns", ["tokens", "usd"], " (did you mean \"tokens\"?)"),
        ("bb", ["b"], " (did you mean \"b\"?)"), ("3", ["1", "2"], ""), ("ab", ["cd"], ""),
        ("x", [], ""),
    ])
    func `a word is suggested for one that is like it`(
        _ word: String, _ known: [String], _ hint: String
    ) {
        #expect(DidYouMean.hint(word, among: known) == hint)
    }

    @Test(arguments: [nil, "eu-central-1"])
    func `a region that nobody names is told where it is needed`(_ region: String?) {
        let resolver = SecretResolver(environment: { _ in nil }, readFile: { _ in nil })
        let outcome = ConfigurationReader(
            folder: ".", providers: ProviderCatalogue.all, secrets: resolver, region: region
        ).read(
            Array(
                """
                backends:
                  a: {kind: bedrock}
                  b: {kind: bedrock, region: us-east-1}
                  c: {kind: bedrock, url: 'http://127.0.0.1:9100'}
                """.utf8))
        #expect(outcome.problems.map(\.line) == (region == nil ? [2] : []))
        #expect(outcome.problems.allSatisfy { $0.message.contains("\"a\" needs \"region\"") })
    }

    @Test func `a secret of two lines is told where it is asked for`() {
        let resolver = SecretResolver(
            environment: { _ in nil }, readFile: { _ in Array("x\r\nx-evil: y\n".utf8) })
        let text = Self.good.replacing("{value: x}", with: "{file: key}")
        let outcome = ConfigurationReader(
            folder: ".", providers: ProviderCatalogue.all, secrets: resolver
        ).read(Array(text.utf8))
        #expect(outcome.problems.map(\.line) == [3])
        #expect(outcome.problems.first?.message == "the file key must hold one line of text")
    }

    @Test func `no beginning of a file and no changed byte makes us trap`() {
        let text = Array(Self.good.utf8)
        for count in 0..<text.count {
            _ = read(String(decoding: text[..<count], as: UTF8.self))
        }
        var random = SeededGenerator(seed: 3)
        for _ in 0..<500 {
            var changed = text
            changed[Int.random(in: 0..<text.count, using: &random)] = UInt8.random(
                in: 0...255, using: &random)
            _ = ConfigurationReader(
                folder: ".", providers: ProviderCatalogue.all, secrets: nil
            ).read(changed)
        }
    }

    @Test func `aliases cannot expand without end`() {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1..<12 {
            let items = Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
            text += "a\(level): &a\(level) [\(items)]\n"
        }
        #expect(read(text).configuration == nil)
    }

    @Test func `a long file is no expansion`() {
        var text = Self.good + "\n"
        for number in 0..<8_000 {
            text += "  - {name: t\(number), keys: [{value: sk-\(number)}], models: ['*'], limits: "
            text += "[{tokens: 1M, per: day}, {usd: 5, per: month}, {requests: 9, per: minute}]}\n"
        }
        #expect(read(text).configuration?.tenants.count == 8_001)
    }

    @Test func `the running configuration shows no secret`() throws {
        let text = Self.good.replacing("{value: x}", with: "{value: hush-hush}")
            .replacing("{value: sk}", with: "{value: sk-quiet}")
        let configuration = try #require(read(text).configuration)
        let json = String(decoding: ConfigurationRenderer.json(configuration), as: UTF8.self)
        #expect(JSONSupport.parse(Array(json.utf8)) != nil)
        #expect(!json.contains("hush"))
        #expect(!json.contains("quiet"))
        #expect(json.contains("***"))
    }
}

@Suite struct RoutingTests {
    @Test(arguments: [
        ("a", "a", true), ("a", "b", false), ("*", "", true), ("a*", "abc", true),
        ("*b*", "abc", true), ("a?c", "abc", true), ("a?c", "ac", false), ("*a*b*", "xaxxb", true),
        ("*a*b*", "xbxa", false), ("a**b", "ab", true),
    ])
    func `a glob fits`(_ pattern: String, _ name: String, _ fits: Bool) {
        #expect(ModelPattern(pattern).matches(name) == fits)
    }

    @Test func `many stars cost no exponential time`() {
        let pattern = ModelPattern(String(repeating: "*a", count: 40) + "b")
        #expect(!pattern.matches(String(repeating: "a", count: 5000)))
    }

    @Test func `many stars on both sides cost no exponential time`() {
        let stars = String(repeating: "*a", count: 40)
        #expect(!ModelPattern(stars + "b").overlaps(ModelPattern(stars + "c")))
        #expect(ModelPattern(stars + "b").overlaps(ModelPattern(stars + "?")))
    }

    @Test(arguments: [
        ("a*", "*b", true), ("a*", "b*", false), ("a?", "ab", true), ("*", "x", true),
        ("ab*", "a*c", true), ("a", "b", false),
    ])
    func `patterns overlap`(_ left: String, _ right: String, _ overlaps: Bool) {
        #expect(ModelPattern(left).overlaps(ModelPattern(right)) == overlaps)
        #expect(ModelPattern(right).overlaps(ModelPattern(left)) == overlaps)
    }

    @Test func `an exact name wins, then the longest glob, then the first`() {
        let table = RouteTable(
            patterns: ["*", "llama-*", "llama-3", "llama-3*", "*-lama"].map { ModelPattern($0) })
        #expect(table.route(for: "llama-3") == 2)
        #expect(table.route(for: "llama-3.1") == 3)
        #expect(table.route(for: "llama-2") == 1)
        #expect(table.route(for: "gpt") == 0)
    }

    @Test func `targets are chosen by weight, and tried ones are left out`() {
        var random = SeededGenerator(seed: 1)
        var counts = [0, 0]
        for _ in 0..<10_000 {
            let index = TargetPicker.pick(weights: [90, 10], random: &random) { _ in false }
            counts[index ?? 0] += 1
        }
        #expect((8700...9300).contains(counts[0]))
        let second = TargetPicker.pick(weights: [90, 10], random: &random) { $0 == 0 }
        #expect(second == 1)
        let none = TargetPicker.pick(weights: [90, 10], random: &random) { _ in true }
        #expect(none == nil)
    }
}
