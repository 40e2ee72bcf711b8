import Primitives
import Testing

@testable import Wire

@Suite struct HTTPDateTests {
    @Test(arguments: [
        (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (-1, "Wed, 31 Dec 1969 23:59:59 GMT"), (951_868_799_999, "Tue, 29 Feb 2000 23:59:59 GMT"),
        (1_798_761_600_000, "Fri, 01 Jan 2027 00:00:00 GMT"),
    ])
    func `a time has one date`(_ milliseconds: Int64, _ text: String) {
        let time = WallTime(milliseconds: milliseconds)
        #expect(HTTPDate.text(time) == Array(text.utf8))
        #expect(HTTPDate.time(Array(text.utf8).span)?.seconds == time.seconds)
    }

    @Test(arguments: [
        "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 GMT",
    ])
    func `obsolete forms are understood`(_ text: String) {
        #expect(HTTPDate.time(Array(text.utf8).span)?.seconds == 784_111_777)
    }

    @Test(arguments: [
        "", "120", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 06 Nox 1994 08:49:37 GMT",
        "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 99999 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:3７ GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT and then some more",
    ])
    func `anything else is no date`(_ text: String) {
        #expect(HTTPDate.time(Array(text.utf8).span) == nil)
    }

    @Test func `a field is true in its second`() {
        var field = DateField()
        for (milliseconds, second) in [(784_111_777_999, 37), (784_111_778_000, 38), (0, 0)] {
            field.advance(to: WallTime(milliseconds: Int64(milliseconds)))
            #expect(field.value.text.hasSuffix(":\(second < 10 ? "0" : "")\(second) GMT"))
            #expect(field.line.text == "date: \(field.value.text)\r\n")
        }
        // Beyond all sense, and nothing happens.
        field.advance(to: WallTime(milliseconds: 1 << 60))
        #expect(field.line.count == 37)
    }

    @Test func `an answer says what time it is`() {
        var field = DateField()
        field.advance(to: WallTime(milliseconds: 784_111_777_000))
        var bytes: [UInt8] = []
        var fields = HeaderFields()
        fields.append("allow", "GET")
        HTTP1Writer.responseHead(
            status: 405, date: field.line, fields: fields, framing: .length(0), keepAlive: true,
            version: .http11, into: &bytes)
        #expect(
            bytes.span.text == "HTTP/1.1 405 Method Not Allowed\r\n"
                + "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nallow: GET\r\ncontent-length: 0\r\n\r\n")
    }
}
