import Primitives
import Translation
import Wire

/// What the client is told, and how a call ends.
extension CallInProgress {
    /// All legs of a whole call are in.
    func finishWhole(context: inout ExchangeContext, orders: ExchangeOrders) {
        guard let attempt else { return }
        noteFirstByte(context)
        attempt.hasWholeAnswer = true
        do throws(APIError) {
            let result = try attempt.call.finish(attempt.takeAnswers(), tape: &context.tape)
            plan.metrics.attempt(
                backend: plan.backends[attempt.backend].name, outcome: .success,
                shard: context.shard)
            // Where nobody counted, what was said is.
            attempt.output.outputBytes = result.outputBytes
            let ending = CallEnding(
                status: 200, error: nil,
                usage: result.usage.map { .reported($0) } ?? .estimated(producedUsage),
                finishReason: result.finishReason, serviceTier: result.serviceTier)
            var fields = orders.newFields()
            fields.append(contentsOf: result.fields)
            fields.append("content-type", "application/json")
            if let cost = cost(of: ending) {
                fields.append("x-sluice-cost-usd", MoneyText.dollars(nanodollars: cost))
            }
            answer(
                status: 200, fields: consume fields, body: result.body, ending: ending,
                context: context, orders: orders)
        } catch {
            attempt.output.outputBytes = attempt.bodyBytes
            if let usage = attempt.call.usageOfNothing { attempt.output.usage = usage }
            fail(error, .malformed, context: &context, orders: orders)
        }
    }

    /// Passes on what a streamed call has said. Where the orders' body was lent to it, so many
    /// bytes of it are not new.
    func passOn(lent: Int? = nil, context: inout ExchangeContext, orders: ExchangeOrders) {
        guard let attempt else { return }
        if attempt.output.hasBegun {
            noteFirstByte(context)
            if !isStreaming { sendStreamHead(context: context, orders: orders) }
        }
        if isStreaming { take(attempt, lent: lent, context: context, orders: orders) }
        switch attempt.output.state {
        case .open: meterStream(attempt, context: context, orders: orders)
        case .finished: finishStream(attempt, context: context, orders: orders)
        case .failed(let error):
            fail(
                error, Self.outcome(of: error, provider: plan.backends[attempt.backend].provider),
                context: &context, orders: orders)
        }
    }

    /// The orders get what the call has said. Their memory stays theirs: it has grown already, and
    /// outlives the call.
    private func take(
        _ attempt: UpstreamAttempt, lent: Int?, context: ExchangeContext, orders: ExchangeOrders
    ) {
        let newBytes = attempt.output.bytes.count - (lent ?? 0)
        if lent != nil {
            swap(&orders.body, &attempt.output.bytes)
        } else if newBytes > 0 {
            orders.body.append(contentsOf: attempt.output.bytes)
            attempt.output.bytes.removeAll(keepingCapacity: true)
        }
        guard newBytes > 0 else { return }
        responseBytes += newBytes
        clock.clientSilentSince = context.now
    }

    /// The head of a streamed answer goes out: from now on errors are events.
    func sendStreamHead(context: ExchangeContext, orders: ExchangeOrders) {
        stage = .streaming
        var fields = orders.newFields()
        if let attempt { fields.append(contentsOf: attempt.output.fields) }
        fields.append("content-type", "text/event-stream; charset=utf-8")
        fields.append("cache-control", "no-cache")
        appendCommonFields(to: &fields, context: context)
        // RFC 9110 section 6.6.2: what may come behind the body is announced.
        if request.mayBeCut { fields.append("trailer", "x-sluice-cut") }
        orders.head = ExchangeOrders.Head(status: 200, fields: fields, framing: .chunked)
        clock.clientSilentSince = context.now
    }

    private func finishStream(
        _ attempt: UpstreamAttempt, context: ExchangeContext, orders: ExchangeOrders
    ) {
        plan.metrics.attempt(
            backend: plan.backends[attempt.backend].name, outcome: .success, shard: context.shard)
        // The message may still have an empty chunk to come: read on, and keep the connection.
        for leg in attempt.legs.indices where attempt.isActive(leg) {
            orders.upstream.append(.release(leg: leg))
        }
        let output = attempt.output
        orders.ending = .complete
        settle(
            CallEnding(
                status: 200, error: nil,
                usage: output.usage.map { .reported($0) } ?? .estimated(producedUsage),
                finishReason: output.finishReason, serviceTier: output.serviceTier),
            context: context, orders: orders)
    }

    // MARK: - Failures

    /// The attempt has failed: another target, a plain error, or an error event.
    func fail(
        _ error: APIError, _ outcome: AttemptOutcome, context: inout ExchangeContext,
        orders: ExchangeOrders
    ) {
        guard !isSettled, let attempt else { return }
        plan.metrics.attempt(
            backend: plan.backends[attempt.backend].name, outcome: outcome, shard: context.shard)
        cancelLegs(orders: orders)
        guard !isStreaming, error.isWorthAnotherTarget else {
            return end(with: error, context: context, orders: orders)
        }
        tryNextTarget(afterError: error, context: &context, orders: orders)
    }

    /// Ends the call with an error, in the form that is still possible.
    func end(with error: APIError, context: ExchangeContext, orders: ExchangeOrders) {
        let error = masked(error, context)
        let ending = CallEnding(
            status: error.status, error: error, usage: usageAfterFailure,
            finishReason: attempt?.output.finishReason, serviceTier: attempt?.output.serviceTier)
        if isStreaming {
            orders.body.append("data: ")
            orders.body.append(
                contentsOf: ErrorEnvelope.write(error, requestID: origin.requestID))
            orders.body.append("\n\n")
            orders.ending = .complete
            return settle(ending, context: context, orders: orders)
        }
        var fields = HeaderFields()
        fields.append("content-type", "application/json")
        ErrorEnvelope.appendFields(of: error, to: &fields)
        answer(
            status: error.status, fields: fields,
            body: error.verbatimBody ?? ErrorEnvelope.write(error, requestID: origin.requestID),
            ending: ending, context: context, orders: orders)
    }

    private func masked(_ error: APIError, _ context: ExchangeContext) -> APIError {
        guard labels.backend >= 0 else { return error }
        let backend = plan.backends[labels.backend]
        return CredentialMask(backend.credential(context.wall), headers: backend.headers)
            .applied(to: error)
    }

    /// A clock has run out.
    func timeOut(
        _ measure: CallClock.Measure, context: inout ExchangeContext, orders: ExchangeOrders
    ) {
        guard labels.backend >= 0 else { return }
        let backend = plan.backends[labels.backend]
        let error = CallClock.timeout(measure, backend: backend.name, timeouts: backend.timeouts)
        guard attempt != nil else { return end(with: error, context: context, orders: orders) }
        fail(error, .timeout, context: &context, orders: orders)
    }

    /// The client has gone: stop the backend at once and bill what was produced.
    func clientLeft(context: inout ExchangeContext, orders: ExchangeOrders) {
        guard !isSettled else { return }
        let usage = usageAfterLeaving
        cancelAttempt(context: context, orders: orders)
        let error = APIError(
            status: 499, type: "invalid_request_error", code: "client_closed",
            message: "The client closed the connection.")
        settle(
            CallEnding(
                status: 499, error: error, usage: usage,
                finishReason: attempt?.output.finishReason,
                serviceTier: attempt?.output.serviceTier),
            context: context, orders: orders)
    }

    /// The gateway ends before the backend has answered: bill what was produced.
    func drainEnded(context: inout ExchangeContext, orders: ExchangeOrders) {
        guard !isSettled else { return }
        cancelAttempt(context: context, orders: orders)
        end(with: Self.draining, context: context, orders: orders)
    }

    /// The request's record could not be written, and no backend has seen it.
    func recordingFailed(context: ExchangeContext, orders: ExchangeOrders) {
        guard !isSettled else { return }
        cancelAttempt(context: context, orders: orders)
        end(with: RequestAdmission.ledgerUnavailable, context: context, orders: orders)
    }

    private func cancelAttempt(context: ExchangeContext, orders: ExchangeOrders) {
        if let attempt {
            plan.metrics.attempt(
                backend: plan.backends[attempt.backend].name, outcome: .cancelled,
                shard: context.shard)
        }
        cancelLegs(orders: orders)
    }

    func cancelLegs(orders: ExchangeOrders) {
        guard let attempt else { return }
        for leg in attempt.legs.indices where attempt.isActive(leg) {
            attempt.legs[leg].phase = .done
            orders.upstream.append(.cancel(leg: leg))
        }
    }

    // MARK: - Heads

    private func answer(
        status: Int, fields: consuming HeaderFields, body: [UInt8], ending: CallEnding,
        context: ExchangeContext, orders: ExchangeOrders
    ) {
        let body = origin.compressed(body, &fields)
        settle(ending, responseBytes: body.count, context: context, orders: orders)
        appendCommonFields(to: &fields, context: context)
        orders.head = ExchangeOrders.Head(
            status: status, fields: consume fields, framing: .length(body.count))
        // A small one is copied into memory that is there already, a large one handed on.
        if body.count < Limits.gatheredBytes {
            orders.body.append(contentsOf: body)
        } else {
            orders.body = body
        }
        orders.ending = .complete
    }

    private func appendCommonFields(to fields: inout HeaderFields, context: ExchangeContext) {
        fields.append("x-request-id", text: origin.requestID)
        if labels.backend >= 0 {
            fields.append("x-sluice-backend", text: plan.backends[labels.backend].name)
        }
        fields.append("x-sluice-attempts", decimal: attemptCount)
        if let dropped = attempt?.call.droppedParameters, !dropped.isEmpty {
            fields.append("x-sluice-dropped-params", text: dropped.joined(separator: ", "))
        }
        plan.quota.standing(
            tenant: labels.tenant, model: request.summary.model, user: request.summary.user,
            now: context.now, wall: context.wall
        ).append(to: &fields)
    }

    private func noteFirstByte(_ context: ExchangeContext) {
        if firstByteAt == nil { firstByteAt = context.now }
    }
}

// MARK: - Errors

extension CallInProgress {
    /// What a failed leg means for the client, and in the counters.
    static func error(
        for failure: UpstreamFailure, phase: UpstreamAttempt.Leg.Phase, backend: String
    ) -> (APIError, AttemptOutcome) {
        switch failure {
        case .connect(let detail):
            return (upstream("could not be reached: \(detail)", backend), .connectFailed)
        case .tls(let detail) where phase != .answering:
            return (upstream("could not be reached by TLS: \(detail)", backend), .connectFailed)
        case .poolExhausted:
            let error = overloaded(
                "All connections to the backend '\(backend)' are busy (connections.max); "
                    + "try again.")
            return (error, .connectFailed)
        case .noDescriptor:
            let error = overloaded(
                "The gateway has no descriptor left for a connection to the backend '\(backend)'; "
                    + "try again.")
            return (error, .connectFailed)
        case .closed, .tls:
            let when = phase == .answering ? "in the middle of its answer" : "without an answer"
            return (upstream("closed the connection \(when)", backend), .reset)
        case .reset(let code):
            return (upstream("broke off its answer (HTTP/2 error \(code.number))", backend), .reset)
        case .unresponsive:
            var error = upstream("gives no sign of life: an HTTP/2 PING was not answered", backend)
            error.status = 504
            error.code = "upstream_timeout"
            error.isWorthAnotherTarget = false
            return (error, .timeout)
        case .unprocessed: return (upstream("refused to take the request", backend), .reset)
        case .malformed(let reason):
            let detail = reason.hasSuffix(".") ? String(reason.dropLast()) : reason
            return (malformed("sent no proper HTTP: \(detail)", backend), .malformed)
        }
    }

    private static func overloaded(_ message: String) -> APIError {
        var error = APIError.unavailable("overloaded", message)
        error.isWorthAnotherTarget = true
        return error
    }

    static func malformed(_ detail: String, _ backend: String) -> APIError {
        var error = APIError(
            status: 502, type: "server_error", code: "upstream_malformed",
            message: "The backend '\(backend)' \(detail).", origin: .upstream)
        error.isWorthAnotherTarget = true
        return error
    }

    private static func upstream(_ detail: String, _ backend: String) -> APIError {
        var error = APIError(
            status: 502, type: "server_error", code: "upstream_error",
            message: "The backend '\(backend)' \(detail).", origin: .upstream)
        error.isWorthAnotherTarget = true
        return error
    }

    static func noCredential(_ backend: String) -> APIError {
        var error = APIError(
            status: 500, type: "server_error", code: "upstream_authentication_failed",
            message: "The gateway has no valid credential for the backend '\(backend)'.",
            origin: .gateway)
        error.shouldRetry = false
        error.isWorthAnotherTarget = true
        return error
    }

    static let draining = APIError.unavailable(
        "draining",
        "The gateway is being stopped and could not finish this request; send it again.")

    static func endpointNotServed(_ request: ClientRequest) -> APIError {
        .badRequest(
            "unsupported_value", param: "model",
            "The model '\(request.summary.model)' is not served at \(request.endpoint.path).")
    }

    /// The counter for a stream that a provider has declared failed.
    static func outcome(of error: APIError, provider: Provider) -> AttemptOutcome {
        switch error.code {
        case "upstream_incomplete": .incomplete
        case "upstream_malformed": .malformed
        default: provider.framesExceptions ? .exceptionFrame : .errorChunk
        }
    }
}
