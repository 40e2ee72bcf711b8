/// Which characters of a foreign text may stand in a line that people read.
public enum PrintableText {
    /// Whether a character could break the line, steer a terminal or change how its neighbours
    /// look: controls (C0, DEL, C1), line and paragraph separators, and directional ones
    /// (CVE-2021-42574).
    public static func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x00..<0x20, 0x7f..<0xa0, 0x2028...0x202e, 0x2066...0x2069, 0xfeff: true
        default: false
        }
    }

    /// The text with each such character as `\u{…}`, and so in one line.
    public static func line(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: isUnsafe) else { return text }
        var line = ""
        for scalar in text.unicodeScalars {
            if isUnsafe(scalar) {
                line += "\\u{" + String(scalar.value, radix: 16) + "}"
            } else {
                line.unicodeScalars.append(scalar)
            }
        }
        return line
    }
}
