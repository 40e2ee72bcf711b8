import Primitives
import Wire

/// Reads the parts of user and tool messages: text, images, files, audio (rules A14 to A18).
struct PartReader {
    let allowsS3: Bool
    var fetchedImages: [[UInt8]: [UInt8]] = [:]
    var fetchesImages = false
    /// URLs of images that must be fetched before the request can be written.
    private(set) var missingImages: [[UInt8]] = []
    private var documentNames = DocumentNames()

    init(allowsS3: Bool) { self.allowsS3 = allowsS3 }

    mutating func append(
        _ part: JSONValue, _ path: String, to blocks: inout [ChatBlock]
    ) throws(APIError) {
        switch part["type"]?.string {
        case "text": return try appendText(part, path, to: &blocks)
        case "image_url": blocks.append(try readImage(part, path))
        case "file": blocks.append(try readFile(part, path))
        case "input_audio": blocks.append(try readAudio(part, path))
        default:
            throw RequestFields.invalid("\(path).type", "This type of part is not supported.")
        }
        if let lifetime = CacheMarker.read(part) { blocks.append(.cachePoint(lifetime: lifetime)) }
    }

    /// A text part and its cache marker; blank text disappears with it (rule A8).
    func appendText(
        _ part: JSONValue, _ path: String, to blocks: inout [ChatBlock]
    ) throws(APIError) {
        guard let text = part["text"]?.stringBytes else {
            throw RequestFields.wrongType("\(path).text", "a string")
        }
        guard !text.isBlank else { return }
        blocks.append(.text(text))
        if let lifetime = CacheMarker.read(part) { blocks.append(.cachePoint(lifetime: lifetime)) }
    }

    // MARK: - Images

    private mutating func readImage(
        _ part: JSONValue, _ path: String
    ) throws(APIError) -> ChatBlock {
        let image = part.present("image_url")
        guard let url = image?.stringBytes ?? image?.present("url")?.stringBytes else {
            throw .badRequest(
                "missing_required_parameter", param: "\(path).image_url.url",
                "An image part needs a URL.")
        }
        let place = "\(path).image_url.url"
        if DataURL.isOne(url) {
            let data = try DataURL.read(url, place)
            return try makeImage(data.bytes, mimeType: data.mimeType, place)
        }
        if url.span.starts(with: "s3://") { return try imageInS3(url, place) }
        guard fetchesImages, url.span.starts(with: "https://") else {
            throw RequestFields.unsupportedValue(
                place, "Images must come as data URLs: send data:image/png;base64,…")
        }
        guard let bytes = fetchedImages[url] else {
            missingImages.append(url)
            return .text(url)
        }
        return try makeImage(bytes, mimeType: [], place)
    }

    private func makeImage(
        _ bytes: [UInt8], mimeType: [UInt8], _ path: String
    ) throws(APIError) -> ChatBlock {
        guard let format = ImageFormat.sniff(bytes) ?? ImageFormat.ofMimeType(mimeType),
            !bytes.span.starts(with: "BM")
        else {
            throw .badRequest(
                "invalid_image_format", param: path,
                "The image must be a PNG, JPEG, GIF or WebP.")
        }
        return .image(format: format, base64: Base64.encode(bytes.span))
    }

    private func imageInS3(_ url: [UInt8], _ path: String) throws(APIError) -> ChatBlock {
        let text = String(decoding: url, as: UTF8.self)
        let ending = text.split(separator: ".").last.map { $0.lowercased() } ?? ""
        let format = ending == "jpg" ? "jpeg" : ending
        guard allowsS3, ["png", "jpeg", "gif", "webp"].contains(format) else {
            throw RequestFields.unsupportedValue(
                path, "This image address is not supported: send a data URL.")
        }
        return .imageInS3(format: format, uri: url)
    }

    // MARK: - Files and audio

    /// Rule A17.
    private mutating func readFile(
        _ part: JSONValue, _ path: String
    ) throws(APIError) -> ChatBlock {
        let file = part.present("file")
        guard let data = file?.present("file_data")?.stringBytes else {
            throw RequestFields.unsupportedValue(
                "\(path).file.file_id", "Files must come with their data: send file_data.")
        }
        let place = "\(path).file.file_data"
        var bytes: [UInt8]
        var mimeType: [UInt8] = []
        if DataURL.isOne(data) {
            (bytes, mimeType) = try DataURL.read(data, place)
        } else {
            bytes = try DataURL.decode(data.span, place)
        }
        let fileName = file?.present("filename")?.stringBytes ?? []
        let format =
            bytes.span.starts(with: "%PDF-")
            ? "pdf" : DocumentFormat.ofMimeType(mimeType) ?? DocumentFormat.ofFileName(fileName)
        guard let format else {
            throw RequestFields.unsupportedValue(
                place, "The kind of this file is not known or not supported.")
        }
        return .document(
            format: format, name: documentNames.next(for: fileName),
            base64: Base64.encode(bytes.span))
    }

    /// Rule A18.
    private func readAudio(_ part: JSONValue, _ path: String) throws(APIError) -> ChatBlock {
        let audio = part.present("input_audio")
        guard let data = audio?.present("data")?.stringBytes,
            let format = audio?.present("format")?.stringBytes
        else {
            throw .badRequest(
                "missing_required_parameter", param: "\(path).input_audio",
                "An audio part needs data and format.")
        }
        let bytes = try DataURL.decode(data.span, "\(path).input_audio.data")
        return .audio(format: format, base64: Base64.encode(bytes.span))
    }
}

/// Names of documents: they must differ within a request, and their alphabet is small (rule A17).
struct DocumentNames {
    private static let limit = 200
    private var used: Set<String> = []

    /// The name for the next document, from the name of its file.
    mutating func next(for fileName: [UInt8]) -> [UInt8] {
        let base = Self.fit(fileName)
        var name = base
        var number = 1
        while !used.insert(name).inserted {
            number += 1
            let ending = "-\(number)"
            name = base.prefix(Self.limit - ending.utf8.count) + ending
        }
        return Array(name.utf8)
    }

    private static func fit(_ fileName: [UInt8]) -> String {
        var stem = String(decoding: fileName, as: UTF8.self)
        if let dot = stem.lastIndex(of: ".") { stem = String(stem[..<dot]) }
        let kept = stem.map { character -> Character in
            let isKept =
                character.isASCII
                && (character.isLetter || character.isNumber || "-()[]".contains(character))
            return isKept ? character : " "
        }
        let name = String(kept).split(separator: " ").joined(separator: " ").prefix(limit)
        return name.isEmpty ? "document" : String(name)
    }
}

/// `data:TYPE;base64,DATA` (RFC 2397; only Base64).
enum DataURL {
    /// Schemes have no case (RFC 3986 section 3.1).
    static func isOne(_ url: [UInt8]) -> Bool {
        url.count >= 5 && url.span.extracting(0..<5).equalsIgnoringCase("data:")
    }

    static func read(
        _ url: [UInt8], _ path: String
    ) throws(APIError) -> (bytes: [UInt8], mimeType: [UInt8]) {
        let span = url.span
        let comma = span.firstIndex(of: UInt8(ascii: ",")) ?? 5
        let parameters = url[5..<comma].map(\.asciiLowercased)
            .split(separator: UInt8(ascii: ";"), omittingEmptySubsequences: false)
        guard parameters.dropFirst().contains(where: { $0.elementsEqual("base64".utf8) }) else {
            throw RequestFields.invalid(path, "A data URL must hold ';base64,'.")
        }
        return (
            try decode(span.extracting(comma + 1..<span.count), path),
            parameters.first.map { Array($0) } ?? []
        )
    }

    static func decode(_ text: Span<UInt8>, _ path: String) throws(APIError) -> [UInt8] {
        guard let bytes = Base64.decode(text, lenient: true), !bytes.isEmpty else {
            throw .badRequest("invalid_base64", param: path, "The data is not valid Base64.")
        }
        return bytes
    }
}

/// Image formats by their first bytes: clients mislabel them, and Bedrock checks.
enum ImageFormat {
    static func sniff(_ bytes: [UInt8]) -> String? {
        let span = bytes.span
        if bytes.starts(with: [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]) { return "png" }
        if bytes.starts(with: [0xff, 0xd8, 0xff]) { return "jpeg" }
        if span.starts(with: "GIF87a") || span.starts(with: "GIF89a") { return "gif" }
        if span.starts(with: "RIFF"), span.count >= 12, span.extracting(8..<12).equals("WEBP") {
            return "webp"
        }
        return nil
    }

    static func ofMimeType(_ type: [UInt8]) -> String? {
        switch String(decoding: type, as: UTF8.self) {
        case "image/png": "png"
        case "image/jpeg", "image/jpg": "jpeg"
        case "image/gif": "gif"
        case "image/webp": "webp"
        default: nil
        }
    }
}

/// Document formats that Bedrock reads.
enum DocumentFormat {
    static func ofMimeType(_ type: [UInt8]) -> String? {
        switch String(decoding: type, as: UTF8.self) {
        case "application/pdf": "pdf"
        case "text/csv": "csv"
        case "application/msword": "doc"
        case "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx"
        case "application/vnd.ms-excel": "xls"
        case "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx"
        case "text/html": "html"
        case "text/plain": "txt"
        case "text/markdown": "md"
        default: nil
        }
    }

    static func ofFileName(_ name: [UInt8]) -> String? {
        let text = String(decoding: name, as: UTF8.self)
        guard let dot = text.lastIndex(of: ".") else { return nil }
        switch text[text.index(after: dot)...].lowercased() {
        case "htm", "html": return "html"
        case "markdown", "md": return "md"
        case "text", "txt": return "txt"
        case let known where ["pdf", "csv", "doc", "docx", "xls", "xlsx"].contains(known):
            return known
        default: return nil
        }
    }
}
