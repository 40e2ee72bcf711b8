import Primitives

/// The subject of a certificate as the file says it.
///
/// It is compared byte by byte with what `CertificateSubject` writes, so it must be written alike:
/// RFC 4514 as `openssl x509 -noout -subject -nameopt RFC2253` shows it.
enum SubjectText {
    /// Whether some certificate's subject may be written like this.
    static func isWellFormed(_ text: String) -> Bool {
        // What openssl prints in front of it.
        guard !text.hasPrefix("subject=") else { return false }
        var rest = Array(text.utf8)[...]
        while true {
            guard takeType(&rest), takeValue(&rest) else { return false }
            guard let separator = rest.popFirst() else { return true }
            precondition(separator == UInt8(ascii: ",") || separator == UInt8(ascii: "+"))
        }
    }

    private static func takeType(_ rest: inout ArraySlice<UInt8>) -> Bool {
        let type = rest.prefix { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        rest = rest.dropFirst(type.count)
        return !type.isEmpty && rest.popFirst() == UInt8(ascii: "=")
    }

    /// Up to a separator or the end.
    private static func takeValue(_ rest: inout ArraySlice<UInt8>) -> Bool {
        var endsInSpace = rest.first == UInt8(ascii: " ")
        if endsInSpace { return false }
        while let byte = rest.first, byte != UInt8(ascii: ","), byte != UInt8(ascii: "+") {
            rest = rest.dropFirst()
            endsInSpace = byte == UInt8(ascii: " ")
            switch byte {
            case UInt8(ascii: "\\"): guard takeEscaped(&rest) else { return false }
            case UInt8(ascii: "\""), UInt8(ascii: ";"), UInt8(ascii: "<"), UInt8(ascii: ">"):
                return false
            case 0x20...0x7e: break
            default: return false
            }
        }
        return !endsInSpace
    }

    /// What may stand behind a backslash: a special character, or two hexadecimal digits.
    private static func takeEscaped(_ rest: inout ArraySlice<UInt8>) -> Bool {
        guard let first = rest.popFirst() else { return false }
        if [UInt8](",+\"\\<>;# ".utf8).contains(first) { return true }
        guard first.hexadecimalValue != nil, let second = rest.popFirst() else { return false }
        return second.hexadecimalValue != nil
    }
}
