import Foundation
import Primitives
import TestSupport
import Testing
import Wire

@Suite struct JSONTests {
    static let good = [
        "{}", "[]", "\"\"", "0", "-0", "1.5e-3", "true", "false", "null", " [ 1 , 2 ] ",
        #"{"a":{"b":[1,{"c":null}]},"d":"\u00e9\ud83d\ude00\n\/"}"#, #"["é👋"]"#,
        #"{"":""}"#, "[[[[[[]]]]]]",
    ]
    static let bad = [
        "", " ", "{", "}", "[1,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "01", "1.",
        ".5", "1e", "+1", "-", "tru", "nulL", "\"\n\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"",
        "\"\\udc00\"", "\"\\ud800\\u0041\"", "1 2", "[1 2]", "{\"a\" 1}", "\"", "[\"a]", "'a'",
        "{\"a\":1}}", "\u{feff}{}", "NaN", "Infinity", "[,1]", "{,}",
    ]

    @Test(arguments: good) func `JSON is read and written again`(_ text: String) throws {
        let document = try JSONDocument(Array(text.utf8))
        var compact: [UInt8] = []
        document.root.appendCompact(to: &compact)
        #expect(JSONSupport.same(JSONSupport.parse(compact), JSONSupport.parse(Array(text.utf8))))
        let isSpaced = compact.contains { $0 == 0x20 } && !text.contains("\"")
        #expect(!isSpaced)
    }

    @Test(arguments: bad) func `what is not JSON is refused`(_ text: String) {
        #expect(throws: JSONFailure.self) { try JSONDocument(Array(text.utf8)) }
    }

    @Test func `every beginning of a text is refused, and never traps`() {
        let text = Array(#"{"a":[1,-2.5e+3,"x\u00e9\ud83d\ude00",true,null],"b":{"c":""}}"#.utf8)
        for count in 0..<text.count {
            #expect(throws: JSONFailure.self) { try JSONDocument(Array(text[..<count])) }
        }
    }

    @Test func `any byte changed to any other never traps`() {
        let text = Array(#"{"a":[1,"x\u00e9"],"b":{"c":1e5}}"#.utf8)
        for index in text.indices {
            for byte in UInt8.min...UInt8.max {
                var changed = text
                changed[index] = byte
                guard let document = try? JSONDocument(changed) else { continue }
                // Whatever we take, others take too.
                #expect(JSONSupport.parse(changed) != nil)
                var compact: [UInt8] = []
                document.root.appendCompact(to: &compact)
                #expect(!compact.isEmpty)
            }
        }
    }

    @Test func `invalid UTF-8 is refused where it stands`() {
        for bytes: [UInt8] in [
            [0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82],
        ] {
            let text = Array("[\"ab".utf8) + bytes + Array("\"]".utf8)
            let failure = #expect(throws: JSONFailure.self) { try JSONDocument(text) }
            #expect(failure?.offset == 4)
        }
    }

    /// Long strings are read in larger steps than short ones.
    @Test(arguments: [0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 200, 300])
    func `a string is read the same wherever something stands in it`(_ length: Int) throws {
        for place in 0...length {
            let before = [UInt8](repeating: UInt8(ascii: "a"), count: place)
            let after = [UInt8](repeating: UInt8(ascii: "b"), count: length - place)
            let text = { (middle: [UInt8]) in
                Array("[\"".utf8) + before + middle + after + Array("\",\"é\"]".utf8)
            }
            let plain = try JSONDocument(text([]))
            #expect(plain.root.elements.map(\.stringBytes) == [before + after, Array("é".utf8)])
            let escaped = try JSONDocument(text(Array(#"\n"#.utf8)))
            #expect(escaped.root.elements.map(\.stringBytes).first == before + [0x0a] + after)
            let foreign = try JSONDocument(text(Array("€".utf8)))
            #expect(
                foreign.root.elements.map(\.stringBytes).first == before + Array("€".utf8) + after)
            for wrong: [UInt8] in [[0xff], [0xe2, 0x82], [0x1f]] {
                let failure = #expect(throws: JSONFailure.self) { try JSONDocument(text(wrong)) }
                #expect(failure?.offset == place + 2)
            }
            var writer = JSONWriter()
            writer.string(bytes: before + [0x1f] + after)
            let written = try JSONDocument(writer.bytes)
            #expect(written.root.stringBytes == before + [0x1f] + after)
        }
    }

    @Test func `a failure tells line and column`() {
        let failure = #expect(throws: JSONFailure.self) {
            try JSONDocument(Array("{\n  \"a\": x\n}".utf8))
        }
        #expect(failure?.line == 2)
        #expect(failure?.column == 8)
    }

    @Test func `nesting is bounded`() {
        let deep = [UInt8](repeating: UInt8(ascii: "["), count: Limits.jsonDepth + 1)
        #expect(throws: JSONFailure.self) { try JSONDocument(deep) }
    }

    @Test func `members are found by their unescaped names, the first one first`() throws {
        let document = try JSONDocument(
            Array(#"{"\u006dodel":"a","model":"b","n":1e2,"x":null,"f":1.0}"#.utf8))
        #expect(document.root["model"]?.string == "a")
        #expect(document.root["n"]?.int == 100)
        #expect(document.root["f"]?.int == 1)
        #expect(document.root["x"]?.isNull == true)
        #expect(document.root.present("x") == nil)
        #expect(document.root["y"] == nil)
        #expect(document.root.count == 5)
    }

    @Test func `an edit keeps every other byte`() throws {
        let text = Array(#"{ "a" : 1.0 , "usage": {"x":[]} ,"b":"é" }"#.utf8)
        let document = try JSONDocument(text)
        var editor = JSONEditor()
        editor.replace(try #require(document.root["a"]).range, with: Array("2".utf8))
        let usage = try #require(document.root["usage"])
        let key = try #require(document.root.members.first { $0.key.equals("usage") }).key
        editor.removeMember(
            key: key.range, value: usage.range, ofObjectAt: document.root.range, in: text.span)
        let edited = String(decoding: editor.apply(to: text.span), as: UTF8.self)
        #expect(edited == #"{ "a" : 2 , "b":"é" }"#)
    }

    @Test(arguments: [
        (#"{"a":1}"#, "a", "{}"), (#"{"a":1,"b":2}"#, "b", #"{"a":1}"#),
        (#"{"a":1, "b":2 }"#, "a", #"{ "b":2 }"#), (#"{"a":1 ,"b":2}"#, "b", #"{"a":1 }"#),
    ])
    func `a removed member takes one comma along`(_ text: String, name: String, left: String) throws
    {
        let bytes = Array(text.utf8)
        let document = try JSONDocument(bytes)
        let member = try #require(document.root.members.first { $0.key.string == name })
        var editor = JSONEditor()
        editor.removeMember(
            key: member.key.range, value: member.value.range, ofObjectAt: document.root.range,
            in: bytes.span)
        let edited = editor.apply(to: bytes.span)
        #expect(JSONSupport.same(JSONSupport.parse(edited), JSONSupport.parse(Array(left.utf8))))
    }

    @Test func `the writer escapes what must be escaped`() {
        var writer = JSONWriter()
        writer.string(text: "a\"\\\n\u{1}é👋")
        #expect(String(decoding: writer.bytes, as: UTF8.self) == "\"a\\\"\\\\\\n\\u0001é👋\"")
    }
}
