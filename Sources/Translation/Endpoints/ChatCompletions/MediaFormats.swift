import Primitives

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
