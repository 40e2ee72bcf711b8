import Primitives

extension SigV4 {
    /// What is signed, ready to be written in its canonical form.
    public struct Request: Sendable {
        /// A header field to sign.
        public typealias Field = (name: String, value: [UInt8])

        /// Fields that proxies change are not signed.
        private static let unsigned: Set<String> = [
            "authorization", "user-agent", "connection", "expect", "keep-alive",
            "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
            "upgrade", "baggage", "traceparent", "tracestate", "x-amzn-trace-id",
        ]

        private let method: String
        private let target: [UInt8]
        private let fields: [Field]
        private let payloadHash: [UInt8]

        /// A request.
        /// - Parameters:
        ///   - method: in upper case.
        ///   - target: path and query as they go on the wire, percent-encoded once.
        ///   - fields: Host among them; those that proxies change are left out.
        ///   - payloadHash: the hash of the body in hexadecimal.
        public init(method: String, target: [UInt8], fields: [Field], payloadHash: [UInt8]) {
            self.init(
                method: method, target: target, canonicalFields: Self.canonical(fields),
                payloadHash: payloadHash)
        }

        /// A request whose fields are in order, in lower case and single-spaced already.
        init(method: String, target: [UInt8], canonicalFields: [Field], payloadHash: [UInt8]) {
            self.method = method
            self.target = target
            fields = canonicalFields
            self.payloadHash = payloadHash
        }

        /// The names of what is signed, at most: each with what separates it from the next.
        var signedNameBytes: Int { fields.reduce(0) { $0 + $1.name.utf8.count + 1 } }

        /// Writes the names of what is signed.
        func writeSignedNames(to output: inout OutputSpan<UInt8>) {
            for (index, field) in fields.enumerated() {
                if index > 0 { output.append(";") }
                output.append(utf8: field.name)
            }
        }

        /// Step 7: the canonical request.
        var canonicalText: [UInt8] {
            let query = target.firstIndex(of: UInt8(ascii: "?")) ?? target.count
            let values = fields.reduce(0) { $0 + $1.value.count + 2 }
            let capacity = method.utf8.count + 3 * target.count + 2 * signedNameBytes + values
            return [UInt8](atMost: capacity + payloadHash.count + 8) { output in
                output.append(utf8: method)
                output.append("\n")
                Self.writePath(target[..<query], to: &output)
                output.append("\n")
                if query < target.count { Self.writeQuery(target[(query + 1)...], to: &output) }
                output.append("\n")
                for field in fields {
                    output.append(utf8: field.name)
                    output.append(":")
                    output.append(span: field.value.span)
                    output.append("\n")
                }
                output.append("\n")
                writeSignedNames(to: &output)
                output.append("\n")
                output.append(span: payloadHash.span)
            }
        }

        // MARK: - Path and query

        /// Step 3: dot segments resolved, then encoded a second time.
        private static func writePath(
            _ path: ArraySlice<UInt8>, to output: inout OutputSpan<UInt8>
        ) {
            guard mayNeedNormalizing(path.span) else {
                return PercentEncoding.write(path.span, keeping: .unreservedAndSlash, to: &output)
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
            PercentEncoding.write(normal.span, keeping: .unreservedAndSlash, to: &output)
        }

        /// Whether there is an empty segment, or one that begins with a dot.
        private static func mayNeedNormalizing(_ path: Span<UInt8>) -> Bool {
            guard path.count > 0, path[0] == UInt8(ascii: "/") else { return true }
            for index in 1..<max(1, path.count) where path[index - 1] == UInt8(ascii: "/") {
                if path[index] == UInt8(ascii: "/") || path[index] == UInt8(ascii: ".") {
                    return true
                }
            }
            return false
        }

        /// Step 4: pairs sorted by name, then value; their encoding stays.
        private static func writeQuery(
            _ query: ArraySlice<UInt8>, to output: inout OutputSpan<UInt8>
        ) {
            let pairs = query.split(separator: UInt8(ascii: "&")).map { pair in
                let name = pair.prefix { $0 != UInt8(ascii: "=") }
                return (name: name, value: pair.dropFirst(name.count + 1))
            }
            let sorted = pairs.sorted { left, right in
                left.name == right.name
                    ? left.value.lexicographicallyPrecedes(right.value)
                    : left.name.lexicographicallyPrecedes(right.name)
            }
            for (index, pair) in sorted.enumerated() {
                if index > 0 { output.append("&") }
                output.append(span: pair.name.span)
                output.append("=")
                output.append(span: pair.value.span)
            }
        }

        // MARK: - Fields

        /// Step 5: lower-case names in order, values with single spaces, several of a name joined
        /// by commas.
        private static func canonical(_ fields: [Field]) -> [Field] {
            var canonical: [Field] = []
            for field in fields {
                let name = field.name.lowercased()
                if unsigned.contains(name) { continue }
                let value = singleSpaced(field.value)
                if let index = canonical.firstIndex(where: { $0.name == name }) {
                    canonical[index].value += [UInt8(ascii: ",")] + value
                } else {
                    canonical.append((name, value))
                }
            }
            return canonical.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
        }

        /// A value without white space around it, and with one space for each run of it.
        static func singleSpaced(_ value: [UInt8]) -> [UInt8] {
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
}
