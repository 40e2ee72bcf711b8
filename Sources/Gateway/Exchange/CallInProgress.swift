import Primitives
import Translation
import Wire

/// An admitted request: it holds a reservation, tries targets, and ends in `settle`, exactly once.
///
/// A class, so that the Exchange's state can carry it: one allocation for each admitted request.
final class CallInProgress {
    /// Where the answer is.
    enum Stage {
        /// Nothing has been said to the client: an error can still be plain, another target tried.
        case silent
        /// The head of a stream is out.
        case streaming
        /// Everything is said and settled.
        case settled
    }

    let plan: Plan
    let origin: RequestOrigin
    let request: ClientRequest
    let route: Int
    let demand: Demand
    var labels: CallLabels
    var reservation: Reservation?
    var meter: StreamMeter
    var clock: CallClock
    var stage: Stage = .silent
    var attempt: UpstreamAttempt?
    var attemptCount = 0
    var triedTargets: [Int] = []
    var responseBytes = 0
    var firstByteAt: Instant?
    var waitingSince: Instant?
    /// Images that are fetched for the request, or that it holds.
    var images: ImageOrder?
    /// A refused credential is being replaced; the attempt will be made once more with the new one.
    private var credentialWait: CredentialWait?
    private var hasRetriedCredential = false

    private struct CredentialWait {
        let generation: Int
        let until: Instant
        let error: APIError
        var nextLook: Instant
    }

    init(
        plan: Plan, origin: RequestOrigin, request: ClientRequest, labels: CallLabels, route: Int,
        demand: Demand, reservation: consuming Reservation, meter: StreamMeter,
        admittedAt: Instant
    ) {
        self.plan = plan
        self.origin = origin
        self.request = request
        self.labels = labels
        self.route = route
        self.demand = demand
        self.reservation = consume reservation
        self.meter = meter
        let backend = plan.routes[route].targets.first.map { plan.backends[$0.backend] }
        clock = CallClock(
            startedAt: admittedAt,
            totalMilliseconds: backend?.timeouts.totalMilliseconds
                ?? BackendTimeouts().totalMilliseconds)
        plan.metrics.requestsInFlight.add(1)
    }

    /// Whether the call has ended.
    var isSettled: Bool { if case .settled = stage { true } else { false } }

    /// Whether the head of a stream is out.
    var isStreaming: Bool { if case .streaming = stage { true } else { false } }

    /// When a clock of this call runs out next.
    var nextDeadline: Instant? {
        guard !isSettled else { return nil }
        var next = clock.totalDeadline
        if let credentialWait { next = min(next, credentialWait.nextLook) }
        if request.summary.isStreamed {
            next = min(next, clock.keepaliveDue(hasSentHead: isStreaming))
        }
        if !clock.isPaused, let attempt,
            let (deadline, _) = attempt.deadline(plan.backends[attempt.backend].timeouts)
        {
            next = min(next, deadline)
        }
        return next
    }

    /// Begins with the first target.
    func start(context: inout ExchangeContext, orders: ExchangeOrders) {
        tryNextTarget(afterError: nil, context: &context, orders: orders)
    }

    // MARK: - What the worker reports

    func legConnected(
        _ leg: Int, isReused: Bool, context: inout ExchangeContext, orders: ExchangeOrders
    ) -> UpstreamRequest? {
        guard let attempt, attempt.isActive(leg) else { return nil }
        let backend = plan.backends[attempt.backend]
        guard let credential = backend.credential(context.wall) else {
            fail(Self.noCredential(backend.name), .httpError, context: &context, orders: orders)
            return nil
        }
        var request = attempt.call.request(leg)
        request.path = backend.basePath + request.path
        let signing = SigningContext(
            host: backend.hostField, path: request.path, region: backend.region, now: context.wall)
        backend.provider.authorize(&request, credential, signing)
        request.fields.append(contentsOf: backend.headers)
        attempt.enter(.sent, leg: leg, at: context.now)
        attempt.legs[leg].isReused = isReused
        if waitingSince == nil { waitingSince = context.now }
        return request
    }

    func legAnswered(
        _ leg: Int, head: ResponseHead, context: inout ExchangeContext,
        orders: ExchangeOrders
    ) {
        guard let attempt, attempt.isActive(leg) else { return }
        attempt.enter(.answering, leg: leg, at: context.now)
        attempt.legs[leg].head = head
        switch ContentCoding.read(head.fields) {
        case .identity: break
        case .coded(let coding): attempt.legs[leg].decoder = BodyDecoder(coding)
        case .unknown:
            let error = Self.malformed(
                "compressed its answer in a way that it was not asked for",
                plan.backends[attempt.backend].name)
            return fail(error, .malformed, context: &context, orders: orders)
        }
        guard request.summary.isStreamed, head.status < 300 else { return }
        attempt.call.begin(head, into: &attempt.output)
        passOn(context: &context, orders: orders)
    }

    func legReceived(
        _ leg: Int, _ bytes: Span<UInt8>, context: inout ExchangeContext,
        orders: ExchangeOrders
    ) {
        guard let attempt, attempt.isActive(leg) else { return }
        attempt.enter(.answering, leg: leg, at: context.now)
        guard let decoder = attempt.legs[leg].decoder else {
            return take(bytes, attempt, leg, context: &context, orders: orders)
        }
        var position = 0
        do throws(CompressionFailure) {
            while attempt.isActive(leg),
                try decoder.inflater.next(bytes, position: &position, into: &decoder.output)
            {
                let output = decoder.output
                take(output.span, attempt, leg, context: &context, orders: orders)
            }
        } catch {
            let error = Self.malformed(
                "sent what cannot be read: \(error.reason)", plan.backends[attempt.backend].name)
            fail(error, .malformed, context: &context, orders: orders)
        }
    }

    /// Takes a piece of an answer's body as it was before compression.
    private func take(
        _ bytes: Span<UInt8>, _ attempt: UpstreamAttempt, _ leg: Int,
        context: inout ExchangeContext, orders: ExchangeOrders
    ) {
        let isSuccess = attempt.legs[leg].head.status < 300
        if request.summary.isStreamed, isSuccess {
            // It goes on behind what it has said before, in the orders' memory: a read brings many
            // events, and putting them together piece by piece would copy each once more.
            var lent: Int?
            if isStreaming, attempt.output.bytes.isEmpty {
                lent = orders.body.count
                swap(&orders.body, &attempt.output.bytes)
            }
            attempt.call.receive(bytes, into: &attempt.output)
            return passOn(lent: lent, context: &context, orders: orders)
        }
        let limit = isSuccess ? Limits.responseBodyBytes : Limits.errorBodyBytes
        let held = isSuccess ? attempt.bodyBytes : attempt.legs[leg].body.count
        guard held + bytes.count <= limit else {
            // Of an error only the beginning matters; an answer that is too long is no answer.
            if isSuccess {
                let error = Self.malformed(
                    "sent more than \(limit) bytes", plan.backends[attempt.backend].name)
                fail(error, .malformed, context: &context, orders: orders)
            }
            return
        }
        attempt.legs[leg].body.append(span: bytes)
        attempt.bodyBytes += bytes.count
    }

    func legEnded(
        _ leg: Int, context: inout ExchangeContext, orders: ExchangeOrders
    ) {
        guard let attempt, attempt.isActive(leg) else { return }
        let status = attempt.legs[leg].head.status
        if let decoder = attempt.legs[leg].decoder, !decoder.inflater.isComplete {
            let error = Self.malformed(
                "ended its answer in the middle of compressed data",
                plan.backends[attempt.backend].name)
            return fail(error, .malformed, context: &context, orders: orders)
        }
        if request.summary.isStreamed, status < 300 {
            attempt.call.end(into: &attempt.output)
            passOn(context: &context, orders: orders)
            return
        }
        attempt.legs[leg].phase = .done
        guard status < 300 else {
            let answer = UpstreamAnswer(
                head: attempt.legs[leg].head, body: attempt.legs[leg].body)
            let error = attempt.call.classify(answer)
            if error.blamesCredential,
                awaitCredential(error, attempt, context: context, orders: orders)
            {
                return
            }
            return fail(error, .httpError, context: &context, orders: orders)
        }
        startLegs(context: context, orders: orders)
        if attempt.legs.allSatisfy({ $0.phase == .done }) {
            finishWhole(context: &context, orders: orders)
        }
    }

    func legFailed(
        _ leg: Int, _ failure: UpstreamFailure, context: inout ExchangeContext,
        orders: ExchangeOrders
    ) {
        guard let attempt, attempt.isActive(leg) else { return }
        let state = attempt.legs[leg]
        let backend = plan.backends[attempt.backend].name
        if state.wasUnseen(failure), state.resends < Limits.resends {
            attempt.legs[leg].resends += 1
            attempt.enter(.connecting, leg: leg, at: context.now)
            orders.upstream.append(
                .connect(leg: leg, backend: attempt.backend, isFresh: failure == .closed))
            return
        }
        attempt.legs[leg].phase = .done
        let (error, outcome) = Self.error(for: failure, phase: state.phase, backend: backend)
        fail(error, outcome, context: &context, orders: orders)
    }

    /// While the client is slow, the silence of a backend that nobody reads is not its fault.
    func clientIsSlow(_ isSlow: Bool, now: Instant) {
        clock.isPaused = isSlow
        guard let attempt else { return }
        for leg in attempt.legs.indices { attempt.legs[leg].since = now }
    }

    func timeAdvanced(context: inout ExchangeContext, orders: ExchangeOrders) {
        guard !isSettled else { return }
        if context.now >= clock.totalDeadline {
            return timeOut(.total, context: &context, orders: orders)
        }
        if let wait = credentialWait { lookForCredential(wait, context: &context, orders: orders) }
        if !clock.isPaused, let attempt {
            let timeouts = plan.backends[attempt.backend].timeouts
            if let (deadline, measure) = attempt.deadline(timeouts), context.now >= deadline {
                return timeOut(measure, context: &context, orders: orders)
            }
        }
        guard request.summary.isStreamed,
            context.now >= clock.keepaliveDue(hasSentHead: isStreaming)
        else { return }
        if isStreaming {
            orders.body.append(": keepalive\n\n")
            clock.clientSilentSince = context.now
        } else {
            sendStreamHead(context: context, orders: orders)
        }
    }

    // MARK: - Attempts

    /// Opens an attempt at a target that has not been tried; without one the call ends in `error`.
    func tryNextTarget(
        afterError error: APIError?, context: inout ExchangeContext, orders: ExchangeOrders
    ) {
        let targets = plan.routes[route].targets
        let choice = TargetPicker.pick(
            weights: plan.routes[route].weights, random: &context.random
        ) { index in
            let provider = plan.backends[targets[index].backend].provider
            return triedTargets.contains(index) || !provider.endpoints.contains(request.endpoint)
        }
        guard let index = choice else {
            let last = error ?? Self.endpointNotServed(request)
            return end(with: last, context: context, orders: orders)
        }
        triedTargets.append(index)
        open(index, targets[index].options, afterError: error, context: &context, orders: orders)
    }

    /// Opens an attempt at a target, or has the images fetched that it needs first. A target that
    /// cannot do what is asked makes no attempt.
    private func open(
        _ index: Int, _ options: TargetOptions, afterError former: APIError?,
        context: inout ExchangeContext, orders: ExchangeOrders
    ) {
        let target = plan.routes[route].targets[index]
        do throws(APIError) {
            let call = try plan.backends[target.backend].provider.open(request, options)
            labels.backend = target.backend
            guard call.missingImages.isEmpty else {
                images = ImageOrder(call.missingImages, plan: plan)
                orders.images = images
                attempt = nil
                return
            }
            attemptCount += 1
            attempt = UpstreamAttempt(
                target: index, backend: target.backend, call: call, now: context.now)
            startLegs(context: context, orders: orders)
        } catch {
            // A backend that has failed may do it the next time: that is told then, and billed.
            if former == nil { labels.backend = target.backend }
            let error = former ?? error
            guard error.isWorthAnotherTarget else {
                return end(with: error, context: context, orders: orders)
            }
            tryNextTarget(afterError: error, context: &context, orders: orders)
        }
    }

    /// The images that the attempt waited for are here, or cannot be had.
    func imagesFetched(
        _ images: FetchedImages, context: inout ExchangeContext, orders: ExchangeOrders
    ) {
        guard !isSettled, attempt == nil, let index = triedTargets.last else { return }
        switch images {
        case .found(let found):
            let target = plan.routes[route].targets[index]
            open(
                index, target.options(with: found), afterError: nil, context: &context,
                orders: orders)
        case .failed(let reason):
            let error = APIError.badRequest(
                "invalid_value", param: "messages", "An image could not be fetched: \(reason).")
            end(with: error, context: context, orders: orders)
        case .overloaded(let reason):
            let error = APIError.unavailable(
                "overloaded", "No image can be fetched now: \(reason); try again.")
            end(with: error, context: context, orders: orders)
        }
    }

    private func startLegs(context: ExchangeContext, orders: ExchangeOrders) {
        guard let attempt else { return }
        var active = attempt.legs.indices.count { attempt.isActive($0) }
        for leg in attempt.legs.indices where attempt.legs[leg].phase == .waiting {
            guard active < Limits.legsInFlight else { return }
            active += 1
            attempt.enter(.connecting, leg: leg, at: context.now)
            orders.upstream.append(.connect(leg: leg, backend: attempt.backend, isFresh: false))
        }
    }

    // MARK: - Credentials

    /// A credential was refused: asks for another and waits for it, once (bedrock-api.md section
    /// 2.5). False: there can be none.
    private func awaitCredential(
        _ error: APIError, _ attempt: UpstreamAttempt, context: ExchangeContext,
        orders: ExchangeOrders
    ) -> Bool {
        let backend = plan.backends[attempt.backend]
        let generation = backend.credentialGeneration()
        backend.credentialWasRefused()
        guard let generation, !hasRetriedCredential, !isStreaming else { return false }
        hasRetriedCredential = true
        plan.metrics.attempt(backend: backend.name, outcome: .httpError, shard: context.shard)
        cancelLegs(orders: orders)
        self.attempt = nil
        credentialWait = CredentialWait(
            generation: generation,
            until: context.now.advanced(byMilliseconds: Limits.credentialWaitMilliseconds),
            error: error,
            nextLook: context.now.advanced(byMilliseconds: Limits.credentialLookMilliseconds))
        return true
    }

    private func lookForCredential(
        _ wait: CredentialWait, context: inout ExchangeContext, orders: ExchangeOrders
    ) {
        guard let index = triedTargets.last, labels.backend >= 0 else { return }
        if plan.backends[labels.backend].credentialGeneration() != wait.generation {
            credentialWait = nil
            let target = plan.routes[route].targets[index]
            open(
                index, target.options, afterError: wait.error, context: &context, orders: orders)
        } else if context.now >= wait.until {
            credentialWait = nil
            tryNextTarget(afterError: wait.error, context: &context, orders: orders)
        } else {
            credentialWait?.nextLook = context.now.advanced(
                byMilliseconds: Limits.credentialLookMilliseconds)
        }
    }
}
