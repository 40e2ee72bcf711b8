import Primitives
import TestSupport
import Testing
import Wire

@Suite struct JSONPatternTests {
    private static let text = #"{"id":"c1","choices":[{"delta":{"content":"Hi"}}],"p":"abc"}"#

    /// The pattern of a text in which `content` may change, and `p` where that is wanted.
    private func pattern(_ text: String = text, withPadding: Bool) throws -> JSONPattern {
        let bytes = Array(text.utf8)
        var tape = JSONTape()
        try tape.parse(bytes.span)
        let choices = tape.member("choices", in: bytes.span)
        let delta = choices.flatMap { tape.member("delta", of: $0 + 1, in: bytes.span) }
        let content = delta.flatMap { tape.member("content", of: $0, in: bytes.span) }
        var pattern = JSONPattern()
        pattern.learn(
            bytes.span, tape, first: try #require(content),
            second: withPadding ? tape.member("p", in: bytes.span) : nil)
        return pattern
    }

    private func match(_ text: [UInt8], withPadding: Bool = true) throws -> Range<Int>? {
        try pattern(withPadding: withPadding).match(text.span)?.content
    }

    private func chunk(_ content: String, _ padding: String = "abc", id: String = "c1") -> [UInt8] {
        Array(
            #"{"id":"\#(id)","choices":[{"delta":{"content":"\#(content)"}}],"p":"\#(padding)"}"#
                .utf8)
    }

    @Test(arguments: [
        "Hi", "", "a longer one than sixteen bytes", #"\n\t\"\u00e9\ud83d\ude00"#, "é👋",
    ])
    func `the content may be any string`(_ content: String) throws {
        let text = chunk(content)
        let found = try match(text, withPadding: false)
        #expect(found.map { Array(text[$0]) } == Array(content.utf8))
        #expect(try match(text) == found)
    }

    @Test func `a second string may change, too, where that is said`() throws {
        let text = chunk("x", "something else")
        #expect(try match(text) != nil)
        #expect(try match(text, withPadding: false) == nil)
    }

    @Test(arguments: [
        #"\x"#, #"\ud800"#, "\u{1}", "\n", #"a","b":"c"#, #"a"}"#, #"a\"#,
    ]) func `what is no content of a string does not fit`(_ content: String) throws {
        #expect(try match(chunk(content)) == nil)
        #expect(try match(chunk("x", content)) == nil)
    }

    @Test func `nothing else may change`() throws {
        #expect(try match(chunk("x", id: "c2")) == nil)
        #expect(try match(chunk("x") + [0x20]) == nil)
        #expect(try match([]) == nil)
    }

    @Test func `nothing fits before something is learnt, or when it is forgotten`() throws {
        let text = chunk("x")
        var pattern = try pattern(withPadding: true)
        pattern.forget()
        let forgotten = pattern.match(text.span)?.content
        let never = JSONPattern().match(text.span)?.content
        #expect(forgotten == nil)
        #expect(never == nil)
    }

    @Test func `no beginning fits`() throws {
        let pattern = try pattern(withPadding: true)
        let text = chunk("Hello", "x")
        for count in text.indices {
            let found = pattern.match(text.span.extracting(0..<count))?.content
            #expect(found == nil)
        }
    }

    /// Whatever fits is JSON with the same nodes.
    @Test func `any bytes changed to any others never fit what is not the same`() throws {
        let pattern = try pattern(withPadding: true)
        let original = chunk("He said \\\"no\\\" – twice", "xyz")
        var tape = JSONTape()
        try tape.parse(original.span)
        let nodes = tape.count
        for index in original.indices {
            for byte in UInt8.min...UInt8.max {
                var changed = original
                changed[index] = byte
                guard let content = pattern.match(changed.span)?.content else {
                    continue
                }
                try tape.parse(changed.span)
                #expect(tape.count == nodes)
                #expect(changed[content.lowerBound - 1] == UInt8(ascii: "\""))
                #expect(changed[content.upperBound] == UInt8(ascii: "\""))
            }
        }
    }
}
