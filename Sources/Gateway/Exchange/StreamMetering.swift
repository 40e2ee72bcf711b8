import Primitives
import Translation
import Wire

/// When a stream's limits are told next what it has produced, and how that is counted.
struct StreamMeter {
    /// Output in bytes of text; `.max` where no limit counts it.
    private(set) var dueAtBytes: Int
    private let bytesPerToken: Double

    init(isMetered: Bool, bytesPerToken: Double) {
        self.bytesPerToken = bytesPerToken
        dueAtBytes = isMetered ? 1 : .max
    }

    /// What was produced: reported, and the text since the report by the learned ratio.
    func usage(_ output: StreamOutput, estimatedInput: Int) -> TokenUsage {
        var usage = output.usage ?? TokenUsage(input: estimatedInput, output: 0)
        let bytes = max(0, output.outputBytes - output.reportedOutputBytes)
        let tokens = Int((Double(bytes) / bytesPerToken).rounded(.up))
        let (sum, overflow) = usage.output.addingReportingOverflow(tokens)
        usage.output = overflow ? .max : sum
        return usage
    }

    /// Remembers how much is told now.
    mutating func wasTold(_ output: StreamOutput) {
        let step = Int((Double(Limits.meterStepTokens) * bytesPerToken).rounded(.up))
        dueAtBytes = output.outputBytes + step
    }
}

/// Limits hear of a stream while it runs: what it has produced is charged, and where a limit cuts,
/// the next step is set aside or the stream ends.
extension CallInProgress {
    func meterStream(
        _ attempt: UpstreamAttempt, context: ExchangeContext, orders: ExchangeOrders
    ) {
        // Once the only answer has said how it ends, nothing is left to cut.
        let isEnding = attempt.output.finishReason != nil && request.summary.candidates == 1
        guard isStreaming, !isEnding, attempt.output.outputBytes >= meter.dueAtBytes,
            var reservation = reservation.take()
        else { return }
        meter.wasTold(attempt.output)
        let used = usedSoFar(attempt)
        let limit = plan.quota.meter(
            &reservation, used: used.amounts, ahead: used.ahead, now: context.now,
            wall: context.wall)
        self.reservation = consume reservation
        if let limit { cut(attempt, limit, context: context, orders: orders) }
    }

    /// What is certain by now, and what will surely come: the prompt, while the backend has not
    /// counted it, and another step of output.
    private func usedSoFar(
        _ attempt: UpstreamAttempt
    ) -> (amounts: QuotaAmounts, ahead: QuotaAmounts) {
        var whole = meter.usage(attempt.output, estimatedInput: demand.inputTokens)
        var step = Limits.meterStepTokens
        if demand.certain == nil, demand.outputTokens > 0 {
            // The client gave a bound, and all of it is set aside: such a stream is not cut because
            // its text looks like more.
            whole.output = min(whole.output, demand.outputTokens)
            step = min(step, demand.outputTokens - whole.output)
        }
        var certain = whole
        let isPromptCounted = attempt.output.usage != nil
        if !isPromptCounted { certain.input = 0 }
        var next = whole
        next.output = min(next.output, Int.max - step) + step
        let price = price
        let tier = attempt.output.serviceTier
        let cost = price?.cost(of: certain, serviceTier: tier) ?? 0
        let nextCost = price?.cost(of: next, serviceTier: tier) ?? 0
        return (
            QuotaAmounts(certain, costNanodollars: cost, price: price, serviceTier: tier),
            QuotaAmounts(
                inputTokens: isPromptCounted ? 0 : demand.inputTokens,
                outputTokens: step, costNanodollars: max(0, nextCost - cost))
        )
    }

    /// A limit is used up: the backend is stopped, and the client's stream ends as if the model's
    /// own limit had been reached.
    private func cut(
        _ attempt: UpstreamAttempt, _ limit: String, context: ExchangeContext,
        orders: ExchangeOrders
    ) {
        plan.metrics.attempt(
            backend: plan.backends[attempt.backend].name, outcome: .cut, shard: context.shard)
        plan.metrics.limitCut(
            tenant: plan.tenants[labels.tenant].name, limit: limit, shard: context.shard)
        cancelLegs(orders: orders)
        let usage = producedUsage
        attempt.call.cut(usage, into: &attempt.output)
        responseBytes += attempt.output.bytes.count
        orders.body.append(contentsOf: attempt.output.bytes)
        orders.trailers.append("x-sluice-cut", Self.fieldValue(limit))
        orders.ending = .complete
        var ending = CallEnding(
            status: 200, error: nil, usage: .estimated(usage), finishReason: "length",
            serviceTier: attempt.output.serviceTier)
        ending.cutLimit = limit
        settle(ending, context: context, orders: orders)
    }

    /// Adds what is set aside for this call.
    func addReserved(to held: inout HeldReservations) {
        guard let reservation = reservation.take() else { return }
        held.add(reservation)
        self.reservation = consume reservation
    }

    /// A limit's name as a field's value: a model pattern may hold any character.
    private static func fieldValue(_ name: String) -> [UInt8] {
        name.utf8.map { (0x21...0x7e).contains($0) ? $0 : UInt8(ascii: "?") }
    }
}
