import Gateway
import Primitives
import Translation
import Wire

/// What the gateway reads from files: its configuration and its journal.
enum GatewayFuzzing {
    private static func read(configuration bytes: [UInt8]) -> ConfigurationReader.Outcome {
        ConfigurationReader(
            folder: "/nonexistent", providers: ProviderCatalogue.all, secrets: nil
        ).read(bytes)
    }

    /// gateway.yaml: it makes a configuration, or problems with their places.
    static func configuration(_ bytes: [UInt8]) {
        let outcome = read(configuration: bytes)
        precondition(
            outcome.configuration != nil || !outcome.problems.isEmpty, "refused without a word")
        let lines = bytes.count { $0 == 0x0a || $0 == 0x0d } + bytes.count + 1
        for problem in outcome.problems {
            precondition(problem.line >= 1 && problem.line <= lines, "a line that is none")
            precondition(
                problem.column >= 1 && problem.column <= bytes.count + 1, "a column that is none")
        }
        guard let configuration = outcome.configuration else { return }
        let shown = ConfigurationRenderer.json(configuration)
        precondition((try? JSONDocument(shown)) != nil, "a configuration that cannot be shown")
    }

    /// Texts within gateway.yaml, one a line: a URL, a certificate's subject, a model pattern, a
    /// duration, a header's value.
    static func configurationText(_ bytes: [UInt8]) {
        let lines = bytes.split(
            separator: UInt8(ascii: "\n"), maxSplits: 5, omittingEmptySubsequences: false)
        let text = (0..<5).map { index in
            index < lines.count ? quoted(Array(lines[index])) : "\"\""
        }
        let yaml = """
            listeners: [{address: "127.0.0.1:1"}]
            backends:
              a:
                kind: openai
                url: \(text[0])
                timeouts: {idle: \(text[3])}
                headers: {x-a: \(text[4])}
            routes: [{model: \(text[2]), targets: [{backend: a}]}]
            tenants: [{name: t, keys: [{client_certificate: \(text[1])}], models: ["*"]}]
            """
        let outcome = read(configuration: Array(yaml.utf8))
        guard let configuration = outcome.configuration else {
            return precondition(!outcome.problems.isEmpty, "refused without a word")
        }
        for backend in configuration.backends {
            if let url = backend.url { check(url) }
            for header in backend.headers {
                precondition(
                    header.value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 },
                    "a header's value is not clean")
            }
        }
        for route in configuration.routes {
            let pattern = ModelPattern(route.model)
            _ = pattern.matches(String(decoding: bytes, as: UTF8.self))
            precondition(pattern.isGlob || pattern.matches(route.model), "a name is not itself")
        }
        let shown = ConfigurationRenderer.json(configuration)
        precondition((try? JSONDocument(shown)) != nil, "a configuration that cannot be shown")
    }

    /// YAML's double-quoted style takes JSON's strings.
    private static func quoted(_ text: [UInt8]) -> String {
        var writer = JSONWriter()
        writer.string(text: String(decoding: text, as: UTF8.self))
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    private static func check(_ url: BackendURL) {
        for part in [url.hostField, url.basePath] {
            precondition(
                part.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }, "a URL that is not clean")
        }
        precondition(!url.host.isEmpty && url.port > 0, "a URL without a host")
        precondition(url.basePath.isEmpty || url.basePath.hasPrefix("/"), "a path without root")
    }

    // MARK: - Journal

    private struct Reading: Equatable {
        var rows: [JournalRecord] = []
        var damaged = 0
    }

    /// A segment of the journal: as it is, and as the payload of a record that checks.
    static func journal(_ bytes: [UInt8]) {
        let raw = read(bytes)
        precondition(raw.damaged <= bytes.count, "more damage than bytes")
        let settled = bytes.first == UInt8(ascii: "s")
        let wrapped = record(
            kind: settled ? UInt8(ascii: "s") : UInt8(ascii: "o"), Array(bytes.dropFirst()))
        var behind: [UInt8] = []
        var row = LedgerRow()
        row.id = "behind"
        JournalRecord.append(opened: row, to: &behind)
        // Whatever stands before it, a whole record is found.
        let found = read(bytes.prefix(2_000) + wrapped + behind)
        precondition(found.rows.contains(.opened(row)), "a whole record is not found")
        for case .opened(let row) in found.rows { checkRoundTrip(row) }
        for case .settled(let row) in found.rows { checkRoundTrip(row) }
    }

    private static func checkRoundTrip(_ row: LedgerRow) {
        var written: [UInt8] = []
        JournalRecord.append(settled: row, to: &written)
        guard case .settled(let again)? = read(written).rows.first else {
            preconditionFailure("our own record is not read")
        }
        var twice: [UInt8] = []
        JournalRecord.append(settled: again, to: &twice)
        precondition(twice == written, "our own record says something else")
    }

    private static func read(_ bytes: [UInt8]) -> Reading {
        var reader = JournalReader()
        var reading = Reading()
        while let event = reader.next(bytes.span) {
            switch event {
            case .record(let record): reading.rows.append(record)
            case .damage(let count), .torn(let count):
                precondition(count > 0, "damage of no bytes")
                reading.damaged += count
            }
        }
        return reading
    }

    /// A record with a right length and checksum around any payload (see `JournalRecord`).
    private static func record(kind: UInt8, _ payload: [UInt8]) -> [UInt8] {
        var body: [UInt8] = [kind, 1]
        let length = UInt32(payload.count)
        for shift in [24, 16, 8, 0] { body.append(UInt8(truncatingIfNeeded: length >> shift)) }
        body += payload
        let checksum = CRC32.checksum(body.span)
        for shift in [24, 16, 8, 0] { body.append(UInt8(truncatingIfNeeded: checksum >> shift)) }
        return [0xff, 0xf9, UInt8(ascii: "S"), UInt8(ascii: "J")] + body
    }
}
