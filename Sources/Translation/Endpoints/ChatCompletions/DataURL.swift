import Primitives
import Wire

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
