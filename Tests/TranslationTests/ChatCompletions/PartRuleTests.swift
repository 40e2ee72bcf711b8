import Primitives
import Testing
import Wire

@testable import Translation

@Suite struct PartRuleTests {
    private static let png = "iVBORw0KGgoAAAAA"

    private func request(_ parts: String) -> String {
        #""messages":[{"role":"user","content":[\#(parts)]}]"#
    }

    private func image(_ url: String) -> String {
        request(#"{"type":"image_url","image_url":{"url":"\#(url)"}}"#)
    }

    private func file(_ data: String, name: String = "") -> String {
        #"{"type":"file","file":{"file_data":"\#(data)","filename":"\#(name)"}}"#
    }

    private func content(
        _ members: String, _ change: (inout TargetOptions) -> Void = { _ in }
    ) throws -> [JSONValue] {
        let messages = try BedrockTarget.body(members, change)["messages"]
        return Array(try #require(messages?.elements.first { _ in true }?["content"]).elements)
    }

    @Test(arguments: [
        ("data:image/gif;base64,iVBORw0KGgoAAAAA", "png"),
        ("data:image/png;base64,/9j/AAAA", "jpeg"), ("data:;base64,R0lGODdh", "gif"),
        ("DATA:image/x;charset=x;BASE64,R0lGODlh", "gif"),
        ("data:application/pdf;base64,UklGRgAAAABXRUJQ", "webp"),
        ("data:IMAGE/JPG;base64,AAAA", "jpeg"), ("data:image/webp;base64,A A\\nAA", "webp"),
    ])
    func `an image's format is what its bytes say, else its type`(
        _ url: String, _ format: String
    ) throws {
        #expect(try content(image(url)).first?["image"]?["format"]?.string == format)
    }

    @Test(arguments: [
        ("data:image/png,abc", "invalid_value"), ("data:image/png;base64x,abc", "invalid_value"),
        ("data:image/png;base64,", "invalid_base64"), ("data:image/png;base64,A", "invalid_base64"),
        ("data:image/png;base64,A*==", "invalid_base64"),
        ("data:image/tiff;base64,AAAA", "invalid_image_format"),
        ("data:image/png;base64,Qk0AAAAA", "invalid_image_format"),
        ("http://example.com/a.png", "unsupported_value"),
        ("https://example.com/a.png", "unsupported_value"), ("s3://b/a.png", "unsupported_value"),
        ("data:", "invalid_value"), ("", "unsupported_value"),
    ])
    func `an image that cannot be sent is refused at its URL`(_ url: String, _ code: String) throws
    {
        let error = try #require(try BedrockTarget.refusal(image(url)))
        #expect(error.code == code)
        #expect(error.param == "messages[0].content[0].image_url.url")
    }

    @Test func `images in S3 need leave, and a known ending`() throws {
        let block = try content(image("s3://bucket/dir/a.JPG")) { $0.allowsS3 = true }.first
        #expect(
            block?.text == #"{"image":{"format":"jpeg","source":{"s3Location":{"#
                + #""uri":"s3://bucket/dir/a.JPG"}}}}"#)
        for url in ["s3://bucket/a.tiff", "s3://bucket/png", "s3://b.png/a"] {
            #expect(
                try BedrockTarget.refusal(image(url)) { $0.allowsS3 = true }?.code
                    == "unsupported_value")
        }
    }

    @Test func `remote images are named first and inlined when they are there`() throws {
        let url = "https://example.com/a.gif"
        let root = try JSONDocument(Array("{\"model\":\"m\",\(image(url))}".utf8)).root
        var reader = ChatCompletionsReader(
            profile: ModelProfile(modelID: BedrockTarget.claude), target: TargetOptions())
        reader.fetchesImages = true
        #expect(try reader.read(root).remoteImages == [Array(url.utf8)])

        reader.fetchedImages = [Array(url.utf8): [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]]
        let chat = try reader.read(root)
        #expect(chat.remoteImages == [])
        guard case .image(let format, let data) = chat.turns.first?.blocks.first else {
            Issue.record("no image")
            return
        }
        #expect(format == "png")
        #expect(data == Array("iVBORw0KGgo=".utf8))
    }

    @Test func `a remote image is what its bytes say and nothing else`() throws {
        let url = "https://example.com/a.png"
        let root = try JSONDocument(Array("{\"model\":\"m\",\(image(url))}".utf8)).root
        var reader = ChatCompletionsReader(
            profile: ModelProfile(modelID: BedrockTarget.claude), target: TargetOptions())
        reader.fetchesImages = true
        reader.fetchedImages = [Array(url.utf8): Array("<html>".utf8)]
        let error = #expect(throws: APIError.self) { try reader.read(root) }
        #expect(error?.code == "invalid_image_format")
    }

    @Test(arguments: [
        ("JVBERi0xLjc=", "x.csv", "pdf"), ("data:text/csv;base64,YQ==", "x.pdf", "csv"),
        ("data:application/octet-stream;base64,YQ", "x.MARKDOWN", "md"), ("YQ==", "a.htm", "html"),
        ("YQ==", "a.text", "txt"), ("data:application/msword;base64,YQ==", "", "doc"),
    ])
    func `a document's format comes from its bytes, type or ending`(
        _ data: String, _ name: String, _ format: String
    ) throws {
        #expect(
            try content(request(file(data, name: name))).first?["document"]?["format"]?.string
                == format)
    }

    @Test(arguments: [
        (#"{"type":"file","file":{"file_id":"f"}}"#, "unsupported_value", ".file.file_id"),
        (#"{"type":"file","file":{"file_data":"YQ=="}}"#, "unsupported_value", ".file.file_data"),
        (#"{"type":"file","file":{"file_data":"?"}}"#, "invalid_base64", ".file.file_data"),
        (#"{"type":"text"}"#, "invalid_type", ".text"),
        (#"{"text":"x"}"#, "invalid_value", ".type"),
    ])
    func `a part that cannot be sent is named`(
        _ part: String, _ code: String, _ place: String
    ) throws {
        let error = try #require(try BedrockTarget.refusal(request(part)))
        #expect(error.code == code)
        #expect(error.param == "messages[0].content[0]\(place)")
    }

    @Test func `a name longer than any file's is refused`() throws {
        let name = String(repeating: "n", count: Limits.fileNameBytes)
        #expect(try BedrockTarget.refusal(request(file("JVBERi0xLjc=", name: name))) == nil)
        let error = try BedrockTarget.refusal(request(file("JVBERi0xLjc=", name: name + "n")))
        #expect(error?.param == "messages[0].content[0].file.filename")
    }

    @Test func `namesakes are told apart in one look each`() {
        var names = DocumentNames()
        var seen: Set<[UInt8]> = []
        let beginning = String(repeating: "n", count: 190)
        for number in 0..<2_000 {
            for _ in 0..<2 { seen.insert(names.next(for: Array("\(beginning)\(number)".utf8))) }
        }
        #expect(seen.count == 4_000)
        #expect(seen.allSatisfy { $0.count <= 200 })
    }

    @Test func `images named by URL are few, and each is fetched once`() throws {
        func images(_ count: Int) -> String {
            let urls = (0..<count).flatMap { ["https://a/\($0).png", "https://a/\($0).png"] }
            let parts = urls.map { #"{"type":"image_url","image_url":{"url":"\#($0)"}}"# }
            return request(parts.joined(separator: ","))
        }
        let call = try BedrockTarget.chat(images(Limits.remoteImages)) { $0.fetchesImages = true }
        #expect(call.missingImages.count == Limits.remoteImages)
        let error = try BedrockTarget.refusal(images(Limits.remoteImages + 1)) {
            $0.fetchesImages = true
        }
        #expect(error?.code == "unsupported_value")
    }

    @Test func `names of documents fit the service and differ`() {
        var names = DocumentNames()
        func next(_ name: String) -> String {
            String(decoding: names.next(for: Array(name.utf8)), as: UTF8.self)
        }
        #expect(next("my_file  (1).v2.pdf") == "my file (1) v2")
        #expect(next("Ünï—x.pdf") == "n x")
        #expect(next("re\u{301}sume\u{301}.pdf") == "re sume")
        #expect(next(".pdf") == "document")
        #expect(next("") == "document-2")
        #expect(next("a.pdf") == "a")
        #expect(next("a-2.pdf") == "a-2")
        #expect(next("a.txt") == "a-3")
        let long = String(repeating: "n", count: 300)
        #expect(next(long).count == 200)
        #expect(next(long) == String(repeating: "n", count: 198) + "-2")
    }
}
