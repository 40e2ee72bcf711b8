import Primitives
import Translation
import Wire

/// How a call ended, for its bill.
struct CallEnding {
    /// How well the tokens are known.
    enum Usage {
        /// The backend said so.
        case reported(TokenUsage)
        /// Work was done, but the backend did not say how much.
        case estimated(TokenUsage)
        /// No work was done.
        case none
    }

    /// What the client was told.
    let status: Int
    let error: APIError?
    let usage: Usage
    let finishReason: String?
    let serviceTier: String?
    /// The limit that ended the answer; the client was told, and it is no error.
    var cutLimit: String?

    /// The tokens, known or estimated; nil when no work was done.
    var tokens: TokenUsage? {
        switch usage {
        case .reported(let tokens), .estimated(let tokens): tokens
        case .none: nil
        }
    }
}

/// The one way out: the reservation is charged or given back, and one row is written.
extension CallInProgress {
    /// Settles the call. Must be called exactly once, before the answer's last byte is ordered.
    func settle(
        _ ending: CallEnding, responseBytes: Int = 0, context: ExchangeContext,
        orders: ExchangeOrders
    ) {
        precondition(!isSettled)
        stage = .settled
        self.responseBytes += responseBytes
        plan.metrics.requestsInFlight.add(-1)
        images?.cancel()
        let price = price
        let cost = cost(of: ending, at: price)
        if let reservation = reservation.take() {
            let used = QuotaAmounts(
                ending.tokens ?? TokenUsage(), costNanodollars: cost ?? 0, price: price,
                serviceTier: ending.serviceTier)
            plan.quota.settle(reservation, used: used, now: context.now, wall: context.wall)
        }
        if case .reported(let usage) = ending.usage { learn(usage) }
        if cost == nil {
            plan.metrics.unknownPrice(
                backend: backendName, route: plan.routes[route].name, shard: context.shard)
        }
        var row = LedgerRow()
        describe(ending, price: price, cost: cost, context: context, in: &row)
        record(ending, row, context: context, orders: orders)
    }

    /// Records what the ledger will say if the gateway dies now: the request was admitted, and
    /// nobody knows what became of it. It is billed as it was reserved.
    func recordAdmission(to records: inout [UInt8]) {
        var row = LedgerRow()
        describe(in: &row)
        row.status = 500
        row.errorCode = "gateway_interrupted"
        row.usage = TokenUsage(input: demand.inputTokens, output: demand.outputTokens)
        row.usageSource = .estimated
        if let index = triedTargets.last {
            let target = plan.routes[route].targets[index]
            row.upstreamModel = target.upstreamModel(for: request.summary.model)
            let price = target.price(
                for: row.upstreamModel, kind: plan.backends[target.backend].provider.kind,
                in: plan.prices)
            row.costNanodollars = price?.cost(
                of: row.usage, serviceTier: request.summary.serviceTier)
            row.priceID = price?.id
        }
        row.clipTexts()
        JournalRecord.append(opened: row, to: &records)
    }

    /// What the call costs in nano-dollars: 0 when no work was done, nil when the price is unknown.
    func cost(of ending: CallEnding) -> Int64? { cost(of: ending, at: price) }

    private func cost(of ending: CallEnding, at price: Price?) -> Int64? {
        guard let tokens = ending.tokens else { return 0 }
        return price?.cost(of: tokens, serviceTier: ending.serviceTier)
    }

    /// The best guess at what an answer has used: what was reported, the estimated prompt where
    /// nothing was, and the text since then.
    var producedUsage: TokenUsage {
        guard let attempt else { return TokenUsage(input: demand.inputTokens, output: 0) }
        return meter.usage(attempt.output, estimatedInput: demand.inputTokens)
    }

    /// The same for one that did not end well. Of a whole answer nothing is seen before its end:
    /// what this model's answers usually take, and no more than was set aside.
    private var brokenOffUsage: TokenUsage {
        var usage = producedUsage
        guard !request.summary.isStreamed else { return usage }
        if attempt?.hasWholeAnswer != true {
            let usual = plan.quota.estimator.estimate(promptBytes: 0, model: request.summary.model)
            let (sum, overflow) = usual.outputTokens.multipliedReportingOverflow(
                by: request.summary.candidates)
            usage.output = overflow ? .max : sum
        }
        usage.output = min(usage.output, demand.outputTokens)
        return usage
    }

    /// What a backend has counted makes the next estimate better.
    private func learn(_ usage: TokenUsage) {
        let isText = request.summary.attachmentTokens == 0
        let answerBytes = request.summary.isStreamed ? attempt?.output.outputBytes : nil
        plan.quota.estimator.learn(
            Estimator.Sample(
                promptBytes: isText ? request.body.count : nil, answerBytes: answerBytes,
                usage: usage),
            model: request.summary.model)
    }

    /// What to bill when the backend did not end well: nothing, unless it had begun to answer.
    var usageAfterFailure: CallEnding.Usage {
        guard let attempt else { return .none }
        if let usage = attempt.output.latestUsage { return .reported(usage) }
        let hasBegun =
            request.summary.isStreamed ? attempt.output.hasBegun : attempt.hasSuccess
        return hasBegun ? .estimated(brokenOffUsage) : .none
    }

    /// What to bill when the client leaves: the backend is at work as soon as it was asked. Must be
    /// looked at before the legs are cancelled.
    var usageAfterLeaving: CallEnding.Usage {
        guard let attempt, attempt.hasSent else { return .none }
        if let usage = attempt.output.latestUsage { return .reported(usage) }
        return .estimated(brokenOffUsage)
    }

    var price: Price? {
        guard let attempt else { return nil }
        let target = plan.routes[route].targets[attempt.target]
        return target.price(
            for: upstreamModel, kind: plan.backends[attempt.backend].provider.kind,
            in: plan.prices)
    }

    private var upstreamModel: String {
        guard let attempt else { return "" }
        return plan.routes[route].targets[attempt.target].upstreamModel(for: request.summary.model)
    }

    private var backendName: String {
        labels.backend >= 0 ? plan.backends[labels.backend].name : ""
    }

    private func describe(
        _ ending: CallEnding, price: Price?, cost: Int64?, context: ExchangeContext,
        in row: inout LedgerRow
    ) {
        describe(in: &row)
        row.status = ending.status
        row.errorCode =
            ending.cutLimit == nil ? ending.error?.code ?? ending.error?.type : "limit_cut"
        row.finishReason = ending.finishReason
        row.usage = ending.tokens ?? TokenUsage()
        switch ending.usage {
        case .reported: row.usageSource = .upstream
        case .estimated: row.usageSource = .estimated
        case .none: row.usageSource = .none
        }
        row.costNanodollars = cost
        row.priceID = price?.id
        row.timeToFirstTokenMilliseconds = firstByteAt.map {
            $0.milliseconds(since: origin.receivedAt)
        }
        row.durationMilliseconds = context.now.milliseconds(since: origin.receivedAt)
        row.overheadMicroseconds = Int(clamping: overheadNanoseconds(context) / 1000)
        row.responseBytes = responseBytes
        row.clipTexts()
    }

    /// The members that do not depend on how the call ends.
    private func describe(in row: inout LedgerRow) {
        row.id = origin.id
        row.requestID = origin.requestID
        row.startedAtMilliseconds = origin.startedAt.milliseconds
        row.tenant = plan.tenants[labels.tenant].name
        row.keyID = labels.keyID
        row.user = request.summary.user
        row.endpoint = request.endpoint.name
        row.route = plan.routes[route].name
        row.backend = backendName
        row.model = request.summary.model
        row.upstreamModel = upstreamModel
        row.isStreamed = request.summary.isStreamed
        row.attempts = attemptCount
        row.requestBytes = request.body.count
    }

    /// Time in us: everything but the time from a sent request to its answer's end.
    private func overheadNanoseconds(_ context: ExchangeContext) -> UInt64 {
        let total = context.now.nanoseconds(since: origin.receivedAt)
        let waiting = waitingSince.map { context.now.nanoseconds(since: $0) } ?? 0
        return total > waiting ? total - waiting : 0
    }

    /// Counts the request, and orders its log line and its record.
    private func record(
        _ ending: CallEnding, _ row: LedgerRow, context: ExchangeContext, orders: ExchangeOrders
    ) {
        count(ending, row, context: context)
        plan.appendLogLine(row, to: &orders.logLine)
        orders.settledRecord = orders.records.count
        JournalRecord.append(settled: row, to: &orders.records)
    }

    private func count(_ ending: CallEnding, _ row: LedgerRow, context: ExchangeContext) {
        let provider = labels.backend >= 0 ? plan.backends[labels.backend].provider : nil
        var outcome = RequestOutcome(
            labels: RequestLabels(
                tenant: row.tenant, route: row.route, backend: row.backend,
                provider: provider?.telemetryName ?? "", operation: request.endpoint.operation,
                upstreamModel: plan.routes[route].isGlob ? "" : row.upstreamModel),
            status: ending.status)
        if case .some = ending.error { outcome.errorType = row.errorCode }
        outcome.usage = ending.tokens
        outcome.costNanodollars = row.costNanodollars
        outcome.durationNanoseconds = context.now.nanoseconds(since: origin.receivedAt)
        outcome.timeToFirstTokenNanoseconds =
            request.summary.isStreamed
            ? firstByteAt.map { $0.nanoseconds(since: origin.receivedAt) } : nil
        outcome.overheadNanoseconds = overheadNanoseconds(context)
        plan.metrics.record(outcome, shard: context.shard)
    }
}

/// The record of a request that was answered without any backend: counted and logged, not billed.
struct LocalAnswerRecord {
    let plan: Plan
    let origin: RequestOrigin
    let labels: CallLabels
    let status: Int
    let error: APIError?
    let responseBytes: Int

    func record(context: ExchangeContext, orders: ExchangeOrders) {
        var row = LedgerRow()
        row.id = origin.id
        row.requestID = origin.requestID
        row.startedAtMilliseconds = origin.startedAt.milliseconds
        row.tenant = labels.tenant >= 0 ? plan.tenants[labels.tenant].name : ""
        row.keyID = labels.keyID
        row.endpoint = labels.endpoint?.name ?? ""
        row.route = labels.route >= 0 ? plan.routes[labels.route].name : ""
        row.model = labels.model
        row.status = status
        row.errorCode = error.map { $0.code ?? $0.type }
        row.durationMilliseconds = context.now.milliseconds(since: origin.receivedAt)
        row.responseBytes = responseBytes
        var outcome = RequestOutcome(
            labels: RequestLabels(
                tenant: row.tenant, route: row.route, backend: "", provider: "",
                operation: labels.endpoint?.operation ?? "", upstreamModel: ""),
            status: status)
        outcome.errorType = row.errorCode
        outcome.durationNanoseconds = context.now.nanoseconds(since: origin.receivedAt)
        outcome.overheadNanoseconds = outcome.durationNanoseconds
        plan.metrics.record(outcome, shard: context.shard)
        plan.appendLogLine(row, to: &orders.logLine)
    }
}
