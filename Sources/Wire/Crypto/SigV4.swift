public import Primitives

/// AWS Signature Version 4 (bedrock-api.md section 4), for every service but S3.
public struct SigV4: Sendable {
    /// What is signed.
    public struct Request: Sendable {
        /// The method in upper case.
        public var method: [UInt8]
        /// Path and query as they go on the wire, percent-encoded once.
        public var target: [UInt8]
        /// The fields to sign, Host included; those that proxies change are left out.
        public var fields: [(name: [UInt8], value: [UInt8])]
        /// The hash of the body in hexadecimal.
        public var payloadHash: [UInt8]

        /// A request.
        public init(
            method: [UInt8], target: [UInt8], fields: [(name: [UInt8], value: [UInt8])],
            payloadHash: [UInt8]
        ) {
            self.method = method
            self.target = target
            self.fields = fields
            self.payloadHash = payloadHash
        }
    }

    /// A signature and the texts it was made of.
    public struct Signature: Sendable {
        /// Step 7.
        public let canonicalRequest: [UInt8]
        /// Step 8.
        public let stringToSign: [UInt8]
        /// Step 9, in hexadecimal.
        public let signature: [UInt8]
        /// Step 10: the value of Authorization.
        public let authorization: [UInt8]
    }

    private static let unsigned: [StaticString] = [
        "authorization", "user-agent", "connection", "expect", "keep-alive", "proxy-authenticate",
        "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "baggage",
        "traceparent", "tracestate", "x-amzn-trace-id",
    ]

    private let accessKeyID: [UInt8]
    private let secretAccessKey: Secret
    private let region: [UInt8]
    private let service: [UInt8]
    private let keys: SigningKeyCache

    /// A signer for a service in a region; `keys` is of this secret alone.
    public init(
        accessKeyID: String, secretAccessKey: Secret, region: String, service: String,
        keys: SigningKeyCache = SigningKeyCache()
    ) {
        self.keys = keys
        self.accessKeyID = Array(accessKeyID.utf8)
        self.secretAccessKey = secretAccessKey
        self.region = Array(region.utf8)
        self.service = Array(service.utf8)
    }

    /// `YYYYMMDDTHHMMSSZ`, for X-Amz-Date.
    public static func timestamp(_ time: WallTime) -> [UInt8] {
        let date = CivilDate(time)
        return [UInt8](atMost: 40) { output in
            output.append(decimal: UInt64(clamping: date.year), width: 4)
            output.append(decimal: UInt64(clamping: date.month), width: 2)
            output.append(decimal: UInt64(clamping: date.day), width: 2)
            output.append("T")
            output.append(decimal: UInt64(clamping: date.hour), width: 2)
            output.append(decimal: UInt64(clamping: date.minute), width: 2)
            output.append(decimal: UInt64(clamping: date.second), width: 2)
            output.append("Z")
        }
    }

    /// Signs a request whose X-Amz-Date is `timestamp`.
    public func sign(_ request: Request, timestamp: [UInt8]) -> Signature {
        let fields = Self.canonicalFields(request.fields)
        let names = Self.joined(fields.map(\.name), by: ";")
        let canonical = Self.canonicalRequest(request, fields, names)
        let day = Array(timestamp.prefix(8))
        let scope = Self.joined([day, region, service, [UInt8]("aws4_request")], by: "/")
        let toSign = Self.joined(
            [
                [UInt8]("AWS4-HMAC-SHA256"), timestamp, scope,
                SHA256.hexadecimalDigest(canonical.span),
            ], by: "\n")
        let code = HMACSHA256.authenticate(
            key: keys.key(for: scope) { signingKey(day) }, message: toSign.span)
        var signature: [UInt8] = []
        signature.append(hexadecimal: code)
        let known = accessKeyID.count + scope.count + names.count + signature.count
        let authorization = [UInt8](atMost: known + 80) { output in
            output.append("AWS4-HMAC-SHA256 Credential=")
            output.append(span: accessKeyID.span)
            output.append("/")
            output.append(span: scope.span)
            output.append(", SignedHeaders=")
            output.append(span: names.span)
            output.append(", Signature=")
            output.append(span: signature.span)
        }
        return Signature(
            canonicalRequest: canonical, stringToSign: toSign, signature: signature,
            authorization: authorization)
    }

    private static func joined(_ parts: [[UInt8]], by separator: StaticString) -> [UInt8] {
        [UInt8](atMost: parts.reduce(0) { $0 + $1.count + 1 }) { output in
            for (index, part) in parts.enumerated() {
                if index > 0 { output.append(separator) }
                output.append(span: part.span)
            }
        }
    }

    private func signingKey(_ day: [UInt8]) -> [UInt8] {
        var key = [UInt8]("AWS4") + secretAccessKey.exposed
        for part in [day, region, service, [UInt8]("aws4_request")] {
            key = HMACSHA256.authenticate(key: key, message: part.span)
        }
        return key
    }

    // MARK: - Canonical forms

    private static func canonicalRequest(
        _ request: Request, _ fields: [(name: [UInt8], value: [UInt8])], _ names: [UInt8]
    ) -> [UInt8] {
        let pathEnd = request.target.span.firstIndex(of: UInt8(ascii: "?")) ?? request.target.count
        let path = request.target[..<pathEnd]
        let query = request.target.dropFirst(pathEnd + 1)
        let canonicalPath = canonicalPath(Array(path))
        let canonicalQuery = canonicalQuery(Array(query))
        var capacity = request.method.count + canonicalPath.count + canonicalQuery.count
        capacity += names.count + request.payloadHash.count + 8
        for field in fields { capacity += field.name.count + field.value.count + 2 }
        return [UInt8](atMost: capacity) { output in
            output.append(span: request.method.span)
            output.append("\n")
            output.append(span: canonicalPath.span)
            output.append("\n")
            output.append(span: canonicalQuery.span)
            output.append("\n")
            for field in fields {
                output.append(span: field.name.span)
                output.append(":")
                output.append(span: field.value.span)
                output.append("\n")
            }
            output.append("\n")
            output.append(span: names.span)
            output.append("\n")
            output.append(span: request.payloadHash.span)
        }
    }

    /// Step 3: dot segments resolved, then encoded a second time.
    private static func canonicalPath(_ path: [UInt8]) -> [UInt8] {
        guard mayNeedNormalizing(path.span) else {
            return PercentEncoding.encode(path, keeping: .unreservedAndSlash)
        }
        var segments: [ArraySlice<UInt8>] = []
        for segment in path.split(separator: UInt8(ascii: "/")) {
            if segment.elementsEqual([UInt8(ascii: ".")]) { continue }
            if segment.elementsEqual([UInt8]("..")) {
                _ = segments.popLast()
            } else {
                segments.append(segment)
            }
        }
        var normal: [UInt8] = []
        for segment in segments {
            normal.append("/")
            normal.append(contentsOf: segment)
        }
        if normal.isEmpty || path.last == UInt8(ascii: "/") { normal.append("/") }
        return PercentEncoding.encode(normal, keeping: .unreservedAndSlash)
    }

    /// Whether there is an empty segment, or one that begins with a dot.
    private static func mayNeedNormalizing(_ path: Span<UInt8>) -> Bool {
        guard path.count > 0, path[0] == UInt8(ascii: "/") else { return true }
        for index in 1..<max(1, path.count) where path[index - 1] == UInt8(ascii: "/") {
            if path[index] == UInt8(ascii: "/") || path[index] == UInt8(ascii: ".") { return true }
        }
        return false
    }

    /// Step 4: pairs sorted by name, then value; their encoding stays.
    private static func canonicalQuery(_ query: [UInt8]) -> [UInt8] {
        guard !query.isEmpty else { return [] }
        let pairs = query.split(separator: UInt8(ascii: "&")).map { pair in
            let name = pair.prefix { $0 != UInt8(ascii: "=") }
            return (name: Array(name), value: Array(pair.dropFirst(name.count + 1)))
        }
        let sorted = pairs.sorted { left, right in
            left.name == right.name
                ? left.value.lexicographicallyPrecedes(right.value)
                : left.name.lexicographicallyPrecedes(right.name)
        }
        var text: [UInt8] = []
        for (index, pair) in sorted.enumerated() {
            if index > 0 { text.append("&") }
            text.append(contentsOf: pair.name)
            text.append("=")
            text.append(contentsOf: pair.value)
        }
        return text
    }

    /// Step 5: lower-case names in order, values with single spaces, several of a name joined by
    /// commas.
    private static func canonicalFields(
        _ fields: [(name: [UInt8], value: [UInt8])]
    ) -> [(name: [UInt8], value: [UInt8])] {
        guard !areCanonical(fields) else { return fields }
        var canonical: [(name: [UInt8], value: [UInt8])] = []
        for field in fields {
            let name = [UInt8](atMost: field.name.count) { output in
                for byte in field.name { output.append(byte.asciiLowercased) }
            }
            if unsigned.contains(where: { name.span.equals($0) }) { continue }
            let value = singleSpaced(field.value)
            if let index = canonical.firstIndex(where: { $0.name == name }) {
                canonical[index].value += [UInt8(ascii: ",")] + value
            } else {
                canonical.append((name, value))
            }
        }
        return canonical.sorted { $0.name.lexicographicallyPrecedes($1.name) }
    }

    /// Whether all are signed as they are; ours usually are.
    private static func areCanonical(_ fields: [(name: [UInt8], value: [UInt8])]) -> Bool {
        for index in fields.indices {
            let (name, value) = fields[index]
            if index > 0, !fields[index - 1].name.lexicographicallyPrecedes(name) { return false }
            if name.contains(where: { $0.asciiLowercased != $0 }) { return false }
            if unsigned.contains(where: { name.span.equals($0) }) { return false }
            if value.contains(where: { $0 == 0x20 || $0 == 0x09 }) { return false }
        }
        return true
    }

    /// A value without white space around it, and with one space for each run of it.
    private static func singleSpaced(_ value: [UInt8]) -> [UInt8] {
        [UInt8](atMost: value.count) { output in
            var hasGap = false
            for byte in value {
                if byte == 0x20 || byte == 0x09 {
                    hasGap = !output.isEmpty
                    continue
                }
                if hasGap { output.append(0x20) }
                hasGap = false
                output.append(byte)
            }
        }
    }
}

/// Keeps the key that was derived from a secret last: it is the same for a day, a region and a
/// service (AWS, "Create a signed AWS API request", step 3).
///
/// One for each secret; it goes with it.
public final class SigningKeyCache: Sendable {
    private let last = Locked<(scope: [UInt8], key: [UInt8])>(([], []))

    /// An empty cache.
    public init() {}

    func key(for scope: [UInt8], derive: () -> [UInt8]) -> [UInt8] {
        last.withLock { last in
            if last.scope != scope { last = (scope, derive()) }
            return last.key
        }
    }
}
