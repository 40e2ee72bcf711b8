import Primitives
import Wire

/// The members of a request that are checked, and the policy for those that cannot be honoured.
struct RequestFields {
    let root: JSONValue
    let isStrict: Bool
    private(set) var dropped: [String] = []

    init(_ root: JSONValue, isStrict: Bool) {
        self.root = root
        self.isStrict = isStrict
    }

    /// A field that cannot be honoured: named and dropped, or refused under `policy: strict`.
    mutating func hint(_ name: String) throws(APIError) {
        if isStrict { throw Self.unsupported(name) }
        if !dropped.contains(name) { dropped.append(name) }
    }

    /// A number within a range; nil when absent or null.
    func number(
        _ name: StaticString, _ range: ClosedRange<Double>
    ) throws(APIError) -> ChatNumber? {
        guard let value = root.present(name) else { return nil }
        guard let number = value.double else { throw Self.wrongType("\(name)", "a number") }
        guard range.contains(number) else {
            throw Self.invalid(
                "\(name)", "'\(name)' must be between \(range.lowerBound) and \(range.upperBound).")
        }
        return ChatNumber(text: value.source, value: number)
    }

    /// `true` or `false`; nil when absent or null.
    func flag(_ name: StaticString) throws(APIError) -> Bool? {
        guard let value = root.present(name) else { return nil }
        guard let flag = value.bool else { throw Self.wrongType("\(name)", "a boolean") }
        return flag
    }

    /// A whole number; nil when absent or null.
    func integer(_ name: StaticString) throws(APIError) -> Int? {
        guard let value = root.present(name) else { return nil }
        guard let number = value.int else { throw Self.wrongType("\(name)", "an integer") }
        return number
    }

    /// A whole number of at least 1; nil when absent or null.
    func count(_ name: StaticString) throws(APIError) -> Int? {
        guard let number = try integer(name) else { return nil }
        guard number >= 1 else { throw Self.invalid("\(name)", "'\(name)' must be at least 1.") }
        return number
    }

    static func invalid(_ param: String, _ message: String) -> APIError {
        .badRequest("invalid_value", param: param, message)
    }

    static func wrongType(_ param: String, _ expected: String) -> APIError {
        .badRequest("invalid_type", param: param, "'\(param)' must be \(expected).")
    }

    static func unsupported(_ param: String) -> APIError {
        .unsupported(
            "unsupported_parameter", param: param,
            "'\(param)' is not supported by the model behind this name.")
    }

    static func unsupportedValue(_ param: String, _ message: String) -> APIError {
        .unsupported("unsupported_value", param: param, message)
    }
}

extension [UInt8] {
    /// Whether there is nothing but white space.
    var isBlank: Bool {
        // Nearly every text shows its first visible character at once.
        if contains(where: { $0 > 0x20 && $0 < 0x7f }) { return false }
        // By scalar: a combining mark makes one character with the space before it.
        return String(decoding: self, as: UTF8.self).unicodeScalars.allSatisfy {
            $0.properties.isWhitespace
        }
    }
}
