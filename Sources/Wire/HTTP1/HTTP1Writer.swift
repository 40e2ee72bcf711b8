import Primitives

/// Writes heads and body framing of HTTP/1 messages (RFC 9112).
public enum HTTP1Writer {
    /// Appends the head of a response, with the fields of framing and connection; `date` is the
    /// line of a `DateField`.
    public static func responseHead(
        status: Int, date: Span<UInt8> = Span(), fields: borrowing HeaderFields,
        framing: BodyFraming, keepAlive: Bool, version: HTTPVersion, into bytes: inout [UInt8]
    ) {
        bytes.append(addingCapacity: fields.lineBytes + date.count + 160) { output in
            output.append("HTTP/1.1 ")
            output.append(decimal: status)
            output.append(" ")
            output.append(reasonPhrase(status))
            output.append("\r\n")
            output.append(span: date)
            fields.appendLines(to: &output)
            switch framing {
            case .length(let length):
                output.append("content-length: ")
                output.append(decimal: length)
                output.append("\r\n")
            case .chunked: output.append("transfer-encoding: chunked\r\n")
            case .none, .untilClose: break
            }
            if !keepAlive {
                output.append("connection: close\r\n")
            } else if version == .http10 {
                output.append("connection: keep-alive\r\n")
            }
            output.append("\r\n")
        }
    }

    /// Appends the head of a request.
    public static func requestHead(
        method: StaticString, path: [UInt8], host: [UInt8], fields: borrowing HeaderFields,
        bodyLength: Int?, into bytes: inout [UInt8]
    ) {
        let capacity = method.utf8CodeUnitCount + path.count + host.count + fields.lineBytes
        bytes.append(addingCapacity: capacity + 80) { output in
            output.append(method)
            output.append(" ")
            output.append(span: path.span)
            output.append(" HTTP/1.1\r\nhost: ")
            output.append(span: host.span)
            output.append("\r\n")
            fields.appendLines(to: &output)
            if let bodyLength {
                output.append("content-length: ")
                output.append(decimal: bodyLength)
                output.append("\r\n")
            }
            output.append("\r\n")
        }
    }

    /// Appends one chunk; nothing for no bytes, since an empty chunk would end the body.
    public static func chunk(_ body: Span<UInt8>, into bytes: inout [UInt8]) {
        guard body.count > 0 else { return }
        bytes.append(addingCapacity: body.count + 20) { output in
            output.append(hexadecimal: UInt64(body.count))
            output.append("\r\n")
            output.append(span: body)
            output.append("\r\n")
        }
    }

    /// Appends the chunk that ends a body, and fields behind it (RFC 9112 section 7.1.2).
    public static func lastChunk(
        trailers: borrowing HeaderFields = HeaderFields(), into bytes: inout [UInt8]
    ) {
        bytes.append("0\r\n")
        append(trailers, to: &bytes)
        bytes.append("\r\n")
    }

    /// Appends `100 Continue`.
    public static func continueLine(into bytes: inout [UInt8]) {
        bytes.append("HTTP/1.1 100 Continue\r\n\r\n")
    }

    /// Appends `102 Processing`: no answer, but a client that has gone will say so.
    public static func processingLine(into bytes: inout [UInt8]) {
        bytes.append("HTTP/1.1 102 Processing\r\n\r\n")
    }

    /// The reason phrase of a status that we send.
    public static func reasonPhrase(_ status: Int) -> StaticString {
        switch status {
        case 200: "OK"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 411: "Length Required"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 415: "Unsupported Media Type"
        case 417: "Expectation Failed"
        case 422: "Unprocessable Content"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 505: "HTTP Version Not Supported"
        case ..<300: "Success"
        case 300..<400: "Redirection"
        case 400..<500: "Client Error"
        default: "Server Error"
        }
    }

    private static func append(_ fields: borrowing HeaderFields, to bytes: inout [UInt8]) {
        bytes.append(addingCapacity: fields.lineBytes) { fields.appendLines(to: &$0) }
    }
}
