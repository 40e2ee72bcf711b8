import Primitives
import Translation
import Wire

/// A request that was turned away before it was admitted, with what its answer and log line need.
struct RefusedRequest: Error {
    let error: APIError
    let labels: CallLabels
    var standing: RateLimitStanding?
}

/// From a whole request to an admitted call: what does it ask, may it, and does it fit the limits?
struct RequestAdmission {
    let plan: Plan
    let endpoint: Endpoint
    let tenant: Int
    let keyID: String

    /// Reads, routes and reserves.
    /// - Throws: what to tell the client; nothing stays reserved then.
    func admit(
        _ body: [UInt8], from origin: RequestOrigin, context: inout ExchangeContext
    ) throws(RefusedRequest) -> CallInProgress {
        var labels = CallLabels(tenant: tenant, keyID: keyID, endpoint: endpoint)
        let summary: RequestSummary
        do throws(APIError) {
            summary = try RequestSummaryReader.read(
                body.span, tape: &context.tape, endpoint: endpoint)
        } catch {
            throw RefusedRequest(error: error, labels: labels)
        }
        labels.model = summary.model
        guard let route = plan.route(for: summary.model) else {
            throw RefusedRequest(error: ModelList.notFound(summary.model), labels: labels)
        }
        labels.route = route
        guard plan.isAllowed(summary.model, tenant: tenant) else {
            throw RefusedRequest(error: Self.notAllowed(summary.model), labels: labels)
        }
        guard context.admitsRequests else {
            throw RefusedRequest(error: Self.ledgerUnavailable, labels: labels)
        }
        guard plan.metrics.requestsInFlight.value < plan.limits.concurrentRequests else {
            throw RefusedRequest(error: Self.overloaded, labels: labels)
        }
        let estimate = plan.quota.estimator.estimate(
            promptBytes: max(0, body.count - summary.attachmentBytes), model: summary.model)
        let demand = demand(summary, estimate, route: route)
        switch plan.quota.reserve(
            demand, shard: context.shard, now: context.now, wall: context.wall)
        {
        case .admitted(let reservation):
            let meter = StreamMeter(
                isMetered: summary.isStreamed && reservation.isMetered,
                bytesPerToken: estimate.bytesPerOutputToken)
            let request = ClientRequest(
                endpoint: endpoint, body: body, tape: keptTape(context.tape, summary, route: route),
                summary: summary, uniqueID: origin.id, requestID: origin.requestID,
                createdSeconds: origin.startedAt.seconds, traceFields: origin.traceFields,
                mayBeCut: summary.isStreamed && reservation.mayBeCut)
            return CallInProgress(
                plan: plan, origin: origin, request: request, labels: labels, route: route,
                demand: demand, reservation: reservation, meter: meter, admittedAt: context.now)
        case .refused(let refusal):
            plan.metrics.limitRejection(
                tenant: plan.tenants[tenant].name, limit: refusal.name, shard: context.shard)
            throw RefusedRequest(
                error: refusal.error(), labels: labels,
                standing: plan.quota.standing(
                    tenant: tenant, model: summary.model, user: summary.user, now: context.now,
                    wall: context.wall))
        }
    }

    /// The body's nodes, where an attempt will look at them.
    private func keptTape(_ tape: JSONTape, _ summary: RequestSummary, route: Int) -> JSONTape? {
        guard summary.lacksUsage || plan.routes[route].readsBodies,
            tape.count <= Limits.jsonKeptNodes
        else { return nil }
        return tape.copy()
    }

    /// What the request will probably use (design D6): no tokenizer, but what this model's requests
    /// really took; the output is the client's own bound where it gave one.
    private func demand(
        _ summary: RequestSummary, _ estimate: Estimator.Estimate, route: Int
    ) -> Demand {
        let single =
            endpoint == .embeddings ? 0 : summary.maximumOutputTokens ?? estimate.outputTokens
        let (output, overflow) = single.multipliedReportingOverflow(by: summary.candidates)
        var usage = TokenUsage()
        usage.input = estimate.inputTokens + summary.attachmentTokens
        usage.output = overflow ? Int(Int32.max) : min(max(output, 0), Int(Int32.max))
        let target = plan.routes[route].targets.first
        let price = target.flatMap { target in
            target.price(
                for: target.upstreamModel(for: summary.model),
                kind: plan.backends[target.backend].provider.kind, in: plan.prices)
        }
        var demand = Demand(
            tenant: tenant, model: summary.model, user: summary.user, inputTokens: usage.input,
            outputTokens: usage.output,
            costNanodollars: price?.cost(of: usage, serviceTier: summary.serviceTier) ?? 0)
        if summary.maximumOutputTokens == nil {
            usage.output = 0
            let cost = price?.cost(of: usage, serviceTier: summary.serviceTier) ?? 0
            demand.certain = QuotaAmounts(
                inputTokens: usage.input, outputTokens: 0, costNanodollars: cost)
        }
        return demand
    }

    private static func notAllowed(_ model: String) -> APIError {
        APIError(
            status: 403, type: "permission_error", code: "model_not_allowed", param: "model",
            message: "This key may not use the model '\(model)'. GET /v1/models lists what it may "
                + "use.")
    }

    static let ledgerUnavailable = APIError.unavailable(
        "ledger_unavailable",
        "The gateway cannot record requests now, and serves none unrecorded; try again.")

    private static let overloaded = APIError.unavailable(
        "overloaded",
        "The gateway serves as many requests as it may (limits.concurrent_requests); try again.")
}

/// Who and what a request is counted under; indexes into the plan. -1 is "not known (yet)".
struct CallLabels: Sendable {
    var tenant = -1
    var keyID = ""
    var endpoint: Endpoint?
    var model = ""
    var route = -1
    var backend = -1
}
