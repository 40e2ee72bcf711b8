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
        _ part: JSONValue, _ path: MessagePath, to blocks: inout [ChatBlock]
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
        _ part: JSONValue, _ path: MessagePath, to blocks: inout [ChatBlock]
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
        _ part: JSONValue, _ path: MessagePath
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
            try fetchLater(url, place)
            return .text(url)
        }
        return try makeImage(bytes, mimeType: [], place)
    }

    private mutating func fetchLater(_ url: [UInt8], _ path: String) throws(APIError) {
        guard !missingImages.contains(url) else { return }
        guard missingImages.count < Limits.remoteImages else {
            throw RequestFields.unsupportedValue(
                path,
                "At most \(Limits.remoteImages) images may be named by URL: send data URLs.")
        }
        missingImages.append(url)
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
        _ part: JSONValue, _ path: MessagePath
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
        guard fileName.count <= Limits.fileNameBytes else {
            throw RequestFields.invalid("\(path).file.filename", "The file's name is too long.")
        }
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
    private func readAudio(_ part: JSONValue, _ path: MessagePath) throws(APIError) -> ChatBlock {
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
