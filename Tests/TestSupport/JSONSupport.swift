import Foundation

/// JSON values in tests, compared as values: member order is free.
public enum JSONSupport {
    /// The value of a text; nil when it is no JSON.
    public static func parse(_ bytes: [UInt8]) -> Any? {
        try? JSONSerialization.jsonObject(with: Data(bytes), options: [.fragmentsAllowed])
    }

    /// The text of a value, keys sorted.
    public static func text(_ value: Any?) -> [UInt8] {
        guard let value, !(value is NSNull) else { return Array("null".utf8) }
        let data = try? JSONSerialization.data(
            withJSONObject: value, options: [.sortedKeys, .fragmentsAllowed])
        return Array(data ?? Data())
    }

    /// Whether two values are the same.
    public static func same(_ left: Any?, _ right: Any?) -> Bool {
        text(normal(left)) == text(normal(right))
    }

    /// Strings that hold JSON in JSON (`arguments`, a native `schema`) compare as what they hold.
    private static func normal(_ value: Any?) -> Any? {
        if let list = value as? [Any] { return list.map { normal($0) ?? NSNull() } }
        guard let object = value as? [String: Any] else { return value }
        var result: [String: Any] = [:]
        for (key, member) in object {
            if key == "arguments" || key == "schema", let text = member as? String,
                let inner = parse(Array(text.utf8))
            {
                result[key] = normal(inner)
            } else {
                result[key] = normal(member)
            }
        }
        return result
    }
}

/// Bytes of Base64 text.
public func base64(_ text: Any?) -> [UInt8] {
    Array(Data(base64Encoded: text as? String ?? "") ?? Data())
}

/// All ways to cut bytes in two, and byte by byte: what networks do.
public func cuts(_ bytes: [UInt8]) -> [[[UInt8]]] {
    var ways: [[[UInt8]]] = [[bytes], bytes.map { [$0] }]
    for index in bytes.indices.dropFirst() {
        ways.append([Array(bytes[..<index]), Array(bytes[index...])])
    }
    return ways
}
