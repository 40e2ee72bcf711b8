public import Primitives
public import Translation
public import Wire

/// One request from its head to its settled end: the product in one machine.
///
/// Pure: events in, `ExchangeOrders` out. The Worker owns it, carries out the orders and reports
/// back. Every request that was admitted passes through `CallInProgress.settle` exactly once.
public struct Exchange: ~Copyable {
    private enum State {
        case readingBody([UInt8], tenant: Int, keyID: String, Endpoint)
        // Rare and large: the usual states are a pointer or two.
        indirect case refusing(APIError, CallLabels, allow: StaticString?, discarded: Int)
        case calling(CallInProgress)
        case finished
    }

    /// What the Worker must do with the request's body after its head.
    public enum BodyPlan: Equatable, Sendable {
        /// Hand it over with `bodyArrived` and `bodyEnded`.
        case read
        /// The answer is in the orders already; the body is not wanted.
        case ignore
    }

    private let plan: Plan
    private let origin: RequestOrigin
    private var share: BufferedShare
    private var state: State

    /// An exchange for a request whose head has just arrived; orders may hold an early answer.
    /// `subject` is whom the client's certificate is about, where one was asked for.
    public init(
        head: borrowing RequestHead, subject: CertificateSubject?, plan: Plan,
        context: inout ExchangeContext,
        orders: ExchangeOrders
    ) {
        self.plan = plan
        share = BufferedShare(of: plan)
        origin = RequestOrigin(head: head, context: &context)
        state = .finished
        switch RequestGate(plan: plan, subject: subject).decide(head) {
        case .read(let endpoint, let tenant, let keyID):
            var body: [UInt8] = []
            if case .length(let length) = head.framing {
                body.reserveCapacity(min(length, Limits.bodyReservationBytes))
            }
            state = .readingBody(body, tenant: tenant, keyID: keyID, endpoint)
        case .models(let name, let tenant, let keyID):
            answerModels(
                named: name, labels: CallLabels(tenant: tenant, keyID: keyID), context: context,
                orders: orders)
        case .refuse(let error, let labels, let allow):
            if Self.isWorthDiscarding(head) {
                state = .refusing(error, labels, allow: allow, discarded: 0)
            } else {
                refuse(error, labels: labels, allow: allow, context: context, orders: orders)
            }
        }
    }

    private init(origin: RequestOrigin, plan: Plan) {
        self.plan = plan
        self.origin = origin
        share = BufferedShare(of: plan)
        state = .finished
    }

    /// Answers bytes that make no request: with an id and a line in the log, like a request.
    public static func refuse(
        _ failure: HTTPFailure, plan: Plan, context: inout ExchangeContext, orders: ExchangeOrders
    ) {
        let origin = RequestOrigin(head: RequestHead(), context: &context)
        var exchange = Exchange(origin: origin, plan: plan)
        exchange.refuse(error(for: failure), context: context, orders: orders)
    }

    /// What to do with the body.
    public var bodyPlan: BodyPlan {
        switch state {
        case .readingBody, .refusing: .read
        case .calling, .finished: .ignore
        }
    }

    /// Whether the answer has been ordered to its end.
    public var isFinished: Bool {
        if case .finished = state { true } else { false }
    }

    /// More of the request's body.
    public mutating func bodyArrived(
        _ bytes: Span<UInt8>, context: inout ExchangeContext, orders: ExchangeOrders
    ) {
        switch state {
        case .readingBody(var body, let tenant, let keyID, let endpoint):
            state = .finished
            if let error = refusal(ofKeeping: bytes.count, of: body.count + bytes.count) {
                let labels = CallLabels(tenant: tenant, keyID: keyID, endpoint: endpoint)
                return refuse(error, labels: labels, context: context, orders: orders)
            }
            body.append(span: bytes)
            state = .readingBody(body, tenant: tenant, keyID: keyID, endpoint)
        case .refusing(let error, let labels, let allow, let discarded):
            if discarded + bytes.count > Limits.discardedBodyBytes {
                refuse(error, labels: labels, allow: allow, context: context, orders: orders)
            } else {
                state = .refusing(
                    error, labels, allow: allow, discarded: discarded + bytes.count)
            }
        case .calling, .finished: break
        }
    }

    /// Lends out what there is of a body that is kept, so that more can be read right behind it;
    /// `bodyReturned` must follow. nil: the body is not wanted.
    public mutating func lendBody() -> [UInt8]? {
        guard case .readingBody(let body, let tenant, let keyID, let endpoint) = state else {
            return nil
        }
        state = .readingBody([], tenant: tenant, keyID: keyID, endpoint)
        return body
    }

    /// The lent body is back, `count` bytes longer.
    public mutating func bodyReturned(
        _ body: consuming [UInt8], longerBy count: Int, context: inout ExchangeContext,
        orders: ExchangeOrders
    ) {
        guard case .readingBody(_, let tenant, let keyID, let endpoint) = state else { return }
        if count > 0, let error = refusal(ofKeeping: count, of: body.count) {
            return refuse(error, labels: knownLabels, context: context, orders: orders)
        }
        state = .readingBody(body, tenant: tenant, keyID: keyID, endpoint)
    }

    /// Why a body of `total` bytes, of which `count` are new, cannot be kept; nil when it can.
    private mutating func refusal(ofKeeping count: Int, of total: Int) -> APIError? {
        guard total <= plan.limits.requestBodyBytes else {
            return RequestGate.bodyTooLarge(plan.limits.requestBodyBytes)
        }
        return share.take(count) ? nil : Self.noRoom
    }

    /// The request is complete.
    public mutating func bodyEnded(
        context: inout ExchangeContext, orders: ExchangeOrders
    ) {
        switch state {
        case .readingBody(let body, let tenant, let keyID, let endpoint):
            state = .finished
            let admission = RequestAdmission(
                plan: plan, endpoint: endpoint, tenant: tenant, keyID: keyID)
            do throws(RefusedRequest) {
                let call = try admission.admit(body, from: origin, context: &context)
                state = .calling(call)
                call.start(context: &context, orders: orders)
                appendOpened(to: &orders.records)
                finishIfSettled()
            } catch {
                refuse(
                    error.error, labels: error.labels, rateLimits: error.standing,
                    context: context, orders: orders)
            }
        case .refusing(let error, let labels, let allow, _):
            refuse(error, labels: labels, allow: allow, context: context, orders: orders)
        case .calling, .finished: break
        }
    }

    /// The request could not be read: it is not HTTP as RFC 9112 wants it, or it came too slowly.
    public mutating func requestFailed(
        _ failure: HTTPFailure, context: inout ExchangeContext, orders: ExchangeOrders
    ) {
        guard bodyPlan == .read else { return }
        refuse(
            Self.error(for: failure), labels: knownLabels, context: context, orders: orders)
    }

    /// What is known of who asks while the body comes.
    private var knownLabels: CallLabels {
        switch state {
        case .readingBody(_, let tenant, let keyID, let endpoint):
            CallLabels(tenant: tenant, keyID: keyID, endpoint: endpoint)
        case .refusing(_, let labels, _, _): labels
        case .calling, .finished: CallLabels()
        }
    }

    /// The client has gone.
    public mutating func clientLeft(
        context: inout ExchangeContext, orders: ExchangeOrders
    ) {
        if case .calling(let call) = state {
            call.clientLeft(context: &context, orders: orders)
        }
        state = .finished
    }

    /// The gateway ends before the answer is complete: the client is told while it can be.
    public mutating func drainEnded(
        context: inout ExchangeContext, orders: ExchangeOrders
    ) {
        switch state {
        case .readingBody:
            refuse(
                CallInProgress.draining, labels: knownLabels, context: context, orders: orders)
        case .refusing(let error, let labels, let allow, _):
            refuse(error, labels: labels, allow: allow, context: context, orders: orders)
        case .calling(let call):
            call.drainEnded(context: &context, orders: orders)
            finishIfSettled()
        case .finished: break
        }
    }

    /// What a leg is to send over the connection it got; nil when the request has ended otherwise.
    public mutating func legConnected(
        _ leg: Int, isReused: Bool, context: inout ExchangeContext, orders: ExchangeOrders
    ) -> UpstreamRequest? {
        guard case .calling(let call) = state else { return nil }
        let request = call.legConnected(
            leg, isReused: isReused, context: &context, orders: orders)
        finishIfSettled()
        return request
    }

    /// The head of a leg's answer.
    public mutating func legAnswered(
        _ leg: Int, head: borrowing ResponseHead, context: inout ExchangeContext,
        orders: ExchangeOrders
    ) {
        guard case .calling(let call) = state else { return }
        call.legAnswered(leg, head: copy head, context: &context, orders: orders)
        finishIfSettled()
    }

    /// More of the body of a leg's answer.
    public mutating func legReceived(
        _ leg: Int, _ bytes: Span<UInt8>, context: inout ExchangeContext,
        orders: ExchangeOrders
    ) {
        guard case .calling(let call) = state else { return }
        call.legReceived(leg, bytes, context: &context, orders: orders)
        finishIfSettled()
    }

    /// A leg's answer is complete as HTTP.
    public mutating func legEnded(
        _ leg: Int, context: inout ExchangeContext, orders: ExchangeOrders
    ) {
        guard case .calling(let call) = state else { return }
        call.legEnded(leg, context: &context, orders: orders)
        finishIfSettled()
    }

    /// A leg came to nothing.
    public mutating func legFailed(
        _ leg: Int, _ failure: UpstreamFailure, context: inout ExchangeContext,
        orders: ExchangeOrders
    ) {
        guard case .calling(let call) = state else { return }
        call.legFailed(leg, failure, context: &context, orders: orders)
        finishIfSettled()
    }

    /// The images that the request names by URL are here, or cannot be had.
    public mutating func imagesFetched(
        _ images: FetchedImages, context: inout ExchangeContext, orders: ExchangeOrders
    ) {
        guard case .calling(let call) = state else { return }
        call.imagesFetched(images, context: &context, orders: orders)
        finishIfSettled()
    }

    /// Whether the client takes the answer more slowly than it comes: the backend is not to blame
    /// then.
    public mutating func clientIsSlow(_ isSlow: Bool, context: inout ExchangeContext) {
        guard case .calling(let call) = state else { return }
        call.clientIsSlow(isSlow, now: context.now)
    }

    /// Time has reached `nextDeadline`, or passed it.
    public mutating func timeAdvanced(
        context: inout ExchangeContext, orders: ExchangeOrders
    ) {
        guard case .calling(let call) = state else { return }
        call.timeAdvanced(context: &context, orders: orders)
        finishIfSettled()
    }

    /// When `timeAdvanced` must be called at the latest; nil while no clock runs here.
    public var nextDeadline: Instant? {
        guard case .calling(let call) = state else { return nil }
        return call.nextDeadline
    }

    /// The request's record could not be written, and it has not gone to any backend yet.
    public mutating func recordingFailed(
        context: inout ExchangeContext, orders: ExchangeOrders
    ) {
        guard case .calling(let call) = state else { return }
        call.recordingFailed(context: context, orders: orders)
        finishIfSettled()
    }

    /// Appends the record of a request that is under way: at its start, and again when a segment
    /// of the journal begins.
    public func appendOpened(to records: inout [UInt8]) {
        guard case .calling(let call) = state, !call.isSettled else { return }
        call.recordAdmission(to: &records)
    }

    /// Adds what this exchange has set aside.
    public func addReserved(to held: inout HeldReservations) {
        guard case .calling(let call) = state else { return }
        call.addReserved(to: &held)
    }

    private mutating func finishIfSettled() {
        if case .calling(let call) = state, call.isSettled { state = .finished }
    }

    /// The error for a request that the HTTP reader refused (contract section 4).
    public static func error(for failure: HTTPFailure) -> APIError {
        let code =
            switch failure.status {
            case 405: "method_not_allowed"
            case 408: "request_timeout"
            case 411: "length_required"
            case 413: "request_too_large"
            case 414: "uri_too_long"
            case 431: "request_header_fields_too_large"
            case 501: "not_implemented"
            case 505: "http_version_not_supported"
            default: "invalid_request"
            }
        return APIError(
            status: failure.status, type: "invalid_request_error", code: code,
            message: failure.reason)
    }

    private static let noRoom = APIError.unavailable(
        "overloaded",
        "The gateway holds as many request bodies as it may (limits.buffered_bytes); try again.")

    /// A refused request's body is read and thrown away when that is cheaper than a new connection.
    private static func isWorthDiscarding(_ head: borrowing RequestHead) -> Bool {
        // What follows CONNECT is no body, and need not end (RFC 9110 section 9.3.6).
        guard !head.expectsContinue, head.method != .connect else { return false }
        switch head.framing {
        case .none, .untilClose: return false
        case .length(let length): return length <= Limits.discardedBodyBytes
        case .chunked: return true
        }
    }
}

// MARK: - Answers that need no backend

extension Exchange {
    private mutating func answerModels(
        named name: [UInt8]?, labels: CallLabels, context: ExchangeContext, orders: ExchangeOrders
    ) {
        let list = ModelList(plan: plan, tenant: labels.tenant)
        guard let name else {
            return answer(
                status: 200, body: list.all(), labels: labels, context: context, orders: orders)
        }
        let text = String(decoding: name, as: UTF8.self)
        guard let body = list.one(text) else {
            return refuse(
                ModelList.notFound(text), labels: labels, context: context, orders: orders)
        }
        answer(status: 200, body: body, labels: labels, context: context, orders: orders)
    }

    private mutating func refuse(
        _ error: APIError, labels: CallLabels = CallLabels(), allow: StaticString? = nil,
        rateLimits: RateLimitStanding? = nil,
        context: ExchangeContext, orders: ExchangeOrders
    ) {
        var fields = HeaderFields()
        if let allow { fields.append("allow", allow) }
        rateLimits?.append(to: &fields)
        ErrorEnvelope.appendFields(of: error, to: &fields)
        answer(
            status: error.status, body: ErrorEnvelope.write(error, requestID: origin.requestID),
            fields: fields, error: error, labels: labels, context: context, orders: orders)
    }

    private mutating func answer(
        status: Int, body: [UInt8], fields: HeaderFields = HeaderFields(), error: APIError? = nil,
        labels: CallLabels = CallLabels(), context: ExchangeContext,
        orders: ExchangeOrders
    ) {
        state = .finished
        var fields = fields
        let body = origin.compressed(body, &fields)
        fields.append("content-type", "application/json")
        fields.append("x-request-id", text: origin.requestID)
        orders.head = ExchangeOrders.Head(
            status: status, fields: fields, framing: .length(body.count))
        orders.body.append(contentsOf: body)
        orders.ending = .complete
        LocalAnswerRecord(
            plan: plan, origin: origin, labels: labels, status: status, error: error,
            responseBytes: body.count
        ).record(context: context, orders: orders)
    }
}
