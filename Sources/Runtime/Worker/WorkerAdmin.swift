import Gateway
import Primitives
import Translation
import Wire

/// Whom an answer of the admin side is for.
public struct AdminTicket: Sendable {
    /// The connection.
    let client: Handle
    /// Its stream; nil on HTTP/1.
    let stream: Handle?
}

/// The admin side of a worker: most answers are there at once, others are made on a thread of their
/// own, so that whoever asks whether we are alive is not kept waiting.
extension Worker where K: ~Copyable {
    mutating func answerAdmin(_ head: RequestHead, _ ticket: AdminTicket) {
        guard case .admin(let respond) = role else { return }
        let request = AdminRequest(
            method: head.method, target: head.target, accept: head.fields.value(of: "accept"))
        guard request.mayTakeLong else { return adminAnswered(ticket, respond(request)) }
        kernel.answerAside(request, respond, ticket: ticket)
    }

    /// Hands an answer to its client, if it is still there.
    mutating func adminAnswered(_ ticket: AdminTicket, _ answer: AdminAnswer) {
        guard clients.contains(ticket.client) else { return }
        let orders = Self.orders(
            status: answer.status, contentType: answer.contentType, answer.body,
            allow: answer.allow)
        switch clients[ticket.client].state {
        case .multiplexed(let session):
            guard let stream = ticket.stream, sessions[session].http2.contains(stream) else {
                return
            }
            self.answer(session, stream, orders)
        case .serving:
            answerClient(ticket.client, orders)
            serveCarried(ticket.client)
        case .greeting, .idle, .closing, .lingering: break
        }
    }

    static func adminOrders(for failure: HTTPFailure) -> ExchangeOrders {
        let error = Exchange.error(for: failure)
        let body = ErrorEnvelope.write(error, requestID: "")
        return orders(status: error.status, contentType: "application/json", body)
    }

    private static func orders(
        status: Int, contentType: String, _ body: [UInt8], allow: StaticString? = nil
    ) -> ExchangeOrders {
        let orders = ExchangeOrders()
        var fields = HeaderFields()
        fields.append("content-type", text: contentType)
        if let allow { fields.append("allow", allow) }
        orders.head = ExchangeOrders.Head(
            status: status, fields: fields, framing: .length(body.count))
        orders.body = body
        orders.ending = .complete
        return orders
    }
}
