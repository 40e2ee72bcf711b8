import Primitives

/// Writes counters in Prometheus' text format 0.0.4, or in OpenMetrics 1.0.
struct MetricsPage {
    private var text: [UInt8] = []
    private let openMetrics: Bool

    init(openMetrics: Bool) { self.openMetrics = openMetrics }

    mutating func finish() -> [UInt8] {
        if openMetrics { text.append("# EOF\n") }
        return text
    }

    mutating func write(_ totals: MetricsTotals, reloads: [String: Int], metrics: Metrics) {
        writeRequests(totals)
        writeTokens(totals)
        writeGenAI(totals)
        writePairs(
            "sluice_limit_rejections", "Requests refused by a limit.", totals.rejections,
            ("tenant", "limit"))
        writePairs(
            "sluice_limit_cuts", "Streams ended by a limit.", totals.cuts, ("tenant", "limit"))
        writePairs(
            "sluice_attempts", "Tries at a backend by their end.", totals.attempts,
            ("backend", "outcome"))
        writePairs(
            "sluice_unknown_price", "Requests whose model has no known price.",
            totals.unknownPrices, ("backend", "route"))
        header("sluice_gateway_overhead_seconds", "histogram", "Time in the gateway itself.")
        histogram("sluice_gateway_overhead_seconds", [], totals.overhead)
        writeGauges(metrics)
        writeLedger(metrics)
        header("sluice_config_reloads", "counter", "Reloads of the configuration.")
        for (result, count) in reloads.sorted(by: { $0.key < $1.key }) {
            sample("sluice_config_reloads_total", [("result", result)], count.description)
        }
    }

    private mutating func writeRequests(_ totals: MetricsTotals) {
        header("sluice_requests", "counter", "Answered requests.")
        var sums: [[String]: Int] = [:]
        for (key, count) in totals.requests {
            let labels = key.labels
            let name = [labels.tenant, labels.route, labels.backend, String(key.status)]
            sums[name, default: 0] += count
        }
        for (name, count) in sums.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            let labels = Array(zip(["tenant", "route", "backend", "status"], name))
            sample("sluice_requests_total", labels, count.description)
        }
    }

    private mutating func writeTokens(_ totals: MetricsTotals) {
        struct Sum {
            var kinds: [String: Int] = [:]
            var cost: Int64 = 0
        }
        var sums: [[String]: Sum] = [:]
        for (labels, tokens) in totals.tokens {
            let name = [labels.tenant, labels.route, labels.backend]
            var sum = sums[name] ?? Sum()
            for (kind, count) in [
                ("input", tokens.input), ("output", tokens.output),
                ("cache_read", tokens.cacheRead), ("cache_write", tokens.cacheWrite),
                ("reasoning", tokens.reasoning),
            ] {
                sum.kinds[kind, default: 0] &+= count
            }
            sum.cost &+= tokens.costNanodollars
            sums[name] = sum
        }
        let sorted = sums.sorted { $0.key.lexicographicallyPrecedes($1.key) }
        let names = ["tenant", "route", "backend"]
        header("sluice_tokens", "counter", "Tokens by class; input includes cached ones.")
        for (name, sum) in sorted {
            for (kind, count) in sum.kinds.sorted(by: { $0.key < $1.key }) {
                sample(
                    "sluice_tokens_total", Array(zip(names, name)) + [("kind", kind)],
                    count.description)
            }
        }
        header("sluice_cost_usd", "counter", "Cost in US dollars.")
        for (name, sum) in sorted {
            let dollars = String(
                decoding: MoneyText.dollars(nanodollars: sum.cost), as: UTF8.self)
            sample("sluice_cost_usd_total", Array(zip(names, name)), dollars)
        }
    }

    private mutating func writeGenAI(_ totals: MetricsTotals) {
        header("gen_ai_client_token_usage", "histogram", "Tokens of a request.")
        for (labels, tokens) in sorted(totals.tokens) {
            let common = genAILabels(labels)
            histogram(
                "gen_ai_client_token_usage", common + [("gen_ai_token_type", "input")],
                tokens.inputSizes)
            histogram(
                "gen_ai_client_token_usage", common + [("gen_ai_token_type", "output")],
                tokens.outputSizes)
        }
        header("gen_ai_server_request_duration_seconds", "histogram", "Time of a request.")
        let durations = totals.durations.sorted {
            (order($0.key.labels) + [$0.key.errorType]).lexicographicallyPrecedes(
                order($1.key.labels) + [$1.key.errorType])
        }
        for (key, values) in durations {
            let error = key.errorType.isEmpty ? [] : [("error_type", key.errorType)]
            histogram(
                "gen_ai_server_request_duration_seconds", genAILabels(key.labels) + error, values)
        }
        header(
            "gen_ai_server_time_to_first_token_seconds", "histogram",
            "Time to a stream's first event.")
        for (labels, values) in sorted(totals.firstTokens) {
            histogram("gen_ai_server_time_to_first_token_seconds", genAILabels(labels), values)
        }
        header(
            "gen_ai_server_time_per_output_token_seconds", "histogram",
            "Time for each further token of a stream.")
        for (labels, values) in sorted(totals.outputTokens) {
            histogram("gen_ai_server_time_per_output_token_seconds", genAILabels(labels), values)
        }
    }

    private mutating func writeGauges(_ metrics: Metrics) {
        header("sluice_requests_in_flight", "gauge", "Admitted requests under way.")
        sample("sluice_requests_in_flight", [], metrics.requestsInFlight.value.description)
        header("sluice_buffered_bytes", "gauge", "Request bodies that are held.")
        sample("sluice_buffered_bytes", [], metrics.bufferedBytes.value.description)
        header("sluice_connections", "gauge", "Open connections.")
        sample(
            "sluice_connections", [("side", "client")],
            metrics.clientConnections.value.description)
        sample(
            "sluice_connections", [("side", "upstream")],
            metrics.upstreamConnections.value.description)
        header("sluice_build_info", "gauge", "The running version.")
        sample("sluice_build_info", [("version", metrics.version)], "1")
    }

    private mutating func writeLedger(_ metrics: Metrics) {
        let counters = [
            ("rows", "Rows written to the ledger.", metrics.ledgerRows),
            ("lost", "Rows that are recorded nowhere.", metrics.ledgerLost),
            ("journal_failures", "Writes to the journal that failed.", metrics.journalFailures),
            ("journal_damage", "Places in journals that could not be read.", metrics.journalDamage),
        ]
        for (name, help, gauge) in counters {
            header("sluice_ledger_\(name)", "counter", help)
            sample("sluice_ledger_\(name)_total", [], gauge.value.description)
        }
        header("sluice_ledger_waiting_rows", "gauge", "Rows not yet written.")
        sample("sluice_ledger_waiting_rows", [], metrics.ledgerWaiting.value.description)
        header("sluice_ledger_lag_seconds", "gauge", "Age of the oldest row not yet written.")
        sample(
            "sluice_ledger_lag_seconds", [],
            (Double(metrics.ledgerLagMicroseconds.value) / 1e6).description)
        header(
            "sluice_reservation_imbalance", "gauge",
            "What is set aside in limits minus what open requests hold; 0.")
        sample("sluice_reservation_imbalance", [], metrics.reservationImbalance.description)
    }

    /// Where limits stand, in what they count: requests, tokens or dollars.
    mutating func write(_ limits: [LimitReading]) {
        for (name, help, value) in [
            ("sluice_limit_used", "What a limit counts as used now.", \LimitReading.used),
            ("sluice_limit_reserved", "What open requests have set aside.", \.reserved),
        ] {
            header(name, "gauge", help)
            for reading in limits {
                let amount = reading[keyPath: value]
                let isMoney = reading.limit.measure == .usd
                sample(
                    name, [("tenant", reading.tenant), ("limit", reading.limit.name)],
                    isMoney
                        ? String(decoding: MoneyText.dollars(nanodollars: amount), as: UTF8.self)
                        : amount.description)
            }
        }
    }

    private mutating func writePairs(
        _ name: String, _ help: String, _ counts: [PairLabels: Int], _ labels: (String, String)
    ) {
        header(name, "counter", help)
        let sorted = counts.sorted {
            [$0.key.first, $0.key.second].lexicographicallyPrecedes([$1.key.first, $1.key.second])
        }
        for (pair, count) in sorted {
            sample(
                name + "_total", [(labels.0, pair.first), (labels.1, pair.second)],
                count.description)
        }
    }

    // MARK: - Syntax

    private func genAILabels(_ labels: RequestLabels) -> [(String, String)] {
        [
            ("gen_ai_operation_name", labels.operation),
            ("gen_ai_provider_name", labels.provider), ("gen_ai_request_model", labels.route),
            ("gen_ai_response_model", labels.upstreamModel),
        ]
    }

    private func order(_ labels: RequestLabels) -> [String] {
        [
            labels.operation, labels.provider, labels.route, labels.upstreamModel, labels.backend,
            labels.tenant,
        ]
    }

    private func sorted(_ entries: [RequestLabels: Histogram]) -> [(RequestLabels, Histogram)] {
        entries.sorted { order($0.key).lexicographicallyPrecedes(order($1.key)) }
            .map { ($0.key, $0.value) }
    }

    /// One entry for each set of GenAI labels, which leave tenant and backend out.
    private func sorted(
        _ entries: [RequestLabels: TokenCounts]
    ) -> [(RequestLabels, TokenCounts)] {
        var merged: [RequestLabels: TokenCounts] = [:]
        for (labels, tokens) in entries {
            merged[labels.withoutTenantAndBackend, default: TokenCounts()].add(tokens)
        }
        return merged.sorted { order($0.key).lexicographicallyPrecedes(order($1.key)) }
            .map { ($0.key, $0.value) }
    }

    private mutating func header(_ name: String, _ type: String, _ help: String) {
        let family = type == "counter" && !openMetrics ? name + "_total" : name
        text.append(utf8: "# HELP \(family) \(help)\n# TYPE \(family) \(type)\n")
    }

    private mutating func sample(_ name: String, _ labels: [(String, String)], _ value: String) {
        text.append(utf8: name)
        if !labels.isEmpty {
            text.append(UInt8(ascii: "{"))
            for (index, label) in labels.enumerated() {
                if index > 0 { text.append(UInt8(ascii: ",")) }
                text.append(utf8: label.0)
                text.append("=\"")
                for byte in label.1.utf8 { appendEscaped(byte) }
                text.append(UInt8(ascii: "\""))
            }
            text.append(UInt8(ascii: "}"))
        }
        text.append(utf8: " \(value)\n")
    }

    private mutating func appendEscaped(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\\"): text.append("\\\\")
        case UInt8(ascii: "\""): text.append("\\\"")
        case 0x0a: text.append("\\n")
        default: text.append(byte)
        }
    }

    private mutating func histogram(
        _ name: String, _ labels: [(String, String)], _ values: Histogram
    ) {
        var total = 0
        for (bound, count) in zip(values.bounds, values.counts) {
            total += count
            sample(name + "_bucket", labels + [("le", Self.text(bound))], total.description)
        }
        sample(name + "_bucket", labels + [("le", "+Inf")], values.count.description)
        sample(name + "_sum", labels, values.sum.description)
        sample(name + "_count", labels, values.count.description)
    }

    /// A plain decimal, with a point as OpenMetrics wants it.
    private static func text(_ bound: Double) -> String {
        bound == bound.rounded() && bound < 1e15 ? Int(bound).description + ".0" : bound.description
    }
}
