import Primitives
import TestSupport
import Testing
import Wire

private typealias Frame = RawFrame
private typealias Block = HeaderBlock

/// What becomes of a request's head on its way from the wire.
@Suite struct RequestHeadTests {
    private func head(_ bytes: [UInt8]) throws -> RequestHead {
        let server = ServerUnderTest()
        server.feed(bytes)
        return try #require(server.requests.first)
    }

    @Test func `crumbs of a cookie are put together, RFC 9113 8.2.3`() throws {
        let fields: [Block.Field] = [
            ("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), ("cookie", "e=f"),
        ]
        let head = try head(Frame.headers(1, Block.request(fields)))
        #expect(head.fields.value(of: "cookie") == [UInt8]("a=b; c=d; e=f".utf8))
        #expect(head.fields.count == 2)
    }

    @Test func `the host stands in for the authority, RFC 9113 8.3.1`() throws {
        let head = try head(
            Frame.headers(1, Block.request(authority: nil, [("host", "gateway:1")])))
        #expect(head.host == [UInt8]("gateway:1".utf8))
    }

    @Test func `a body that comes with its head is a body, RFC 9113 8.1`() throws {
        let post = Block.request(method: "POST")
        let one = Frame.headers(1, post, flags: Frame.endHeaders)
        let sized = Block.request(method: "POST", [("content-length", "1")])
        let cases: [([UInt8], BodyFraming)] = [
            (one + Frame.data(1, [1]), .chunked), (one, .chunked),
            (Frame.headers(1, post), .none),
            (Frame.headers(1, sized, flags: Frame.endHeaders) + Frame.data(1, [1]), .length(1)),
        ]
        for (bytes, framing) in cases {
            let head = try head(bytes)
            #expect(head.framing == framing)
        }
    }
}
