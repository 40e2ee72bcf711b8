import CYaml
import Primitives

/// One value of a YAML text and where it stands.
struct YAMLNode {
    indirect enum Content {
        /// Plain scalars may be numbers and booleans; quoted ones are text.
        case scalar(String, isPlain: Bool)
        case sequence([YAMLNode])
        case mapping([(key: YAMLNode, value: YAMLNode)])
    }

    let content: Content
    /// From 1.
    let line: Int
    /// From 1.
    let column: Int

    /// What it is, for messages.
    var kindName: String {
        switch content {
        case .scalar: "a value"
        case .sequence: "a list"
        case .mapping: "a mapping"
        }
    }

    /// Whether it is a text of no characters.
    var isEmptyText: Bool { if case .scalar("", _) = content { true } else { false } }
}

/// Reads one YAML document with libyaml. Bounded: depth, size, and what aliases expand to.
@safe struct YAMLReader {
    private static let depthLimit = 32
    /// Of a short file; in a long one each byte may be a node of its own, but aliases add no more.
    private static let smallestNodeLimit = 200_000

    private let nodeLimit: Int
    private var nodeCount = 0
    private var document = unsafe yaml_document_t()

    /// The document's value; nil when the text is empty.
    /// - Throws: the place and kind of the first syntax error.
    static func read(_ bytes: [UInt8]) throws(ConfigurationProblem) -> YAMLNode? {
        var parser = unsafe yaml_parser_t()
        guard unsafe yaml_parser_initialize(&parser) == 1 else {
            throw ConfigurationProblem(line: 1, column: 1, message: "no memory for the YAML parser")
        }
        defer { unsafe yaml_parser_delete(&parser) }
        let result: Result<YAMLNode?, ConfigurationProblem> =
            unsafe bytes.withUnsafeBufferPointer { buffer in
                unsafe yaml_parser_set_input_string(&parser, buffer.baseAddress, buffer.count)
                do throws(ConfigurationProblem) {
                    return .success(try unsafe load(&parser, nodeLimit: buffer.count))
                } catch {
                    return .failure(error)
                }
            }
        return try result.get()
    }

    private init(nodeLimit: Int) { self.nodeLimit = max(nodeLimit, Self.smallestNodeLimit) }

    private static func load(
        _ parser: inout yaml_parser_t, nodeLimit: Int
    ) throws(ConfigurationProblem) -> YAMLNode? {
        var reader = YAMLReader(nodeLimit: nodeLimit)
        guard unsafe yaml_parser_load(&parser, &reader.document) == 1 else {
            throw unsafe syntaxError(parser)
        }
        defer { unsafe yaml_document_delete(&reader.document) }
        guard let root = unsafe yaml_document_get_root_node(&reader.document) else { return nil }
        let node = try unsafe reader.convert(root, depth: 0)
        var next = unsafe yaml_document_t()
        guard unsafe yaml_parser_load(&parser, &next) == 1 else {
            throw unsafe syntaxError(parser)
        }
        defer { unsafe yaml_document_delete(&next) }
        if let second = unsafe yaml_document_get_root_node(&next) {
            throw unsafe problem("there must be one YAML document only", at: second)
        }
        return node
    }

    private mutating func convert(
        _ pointer: UnsafeMutablePointer<yaml_node_t>, depth: Int
    ) throws(ConfigurationProblem) -> YAMLNode {
        let node = unsafe pointer.pointee
        nodeCount += 1
        guard depth <= Self.depthLimit else {
            throw unsafe Self.problem("nested too deeply", at: pointer)
        }
        guard nodeCount <= nodeLimit else {
            throw unsafe Self.problem("aliases expand to too much", at: pointer)
        }
        let content: YAMLNode.Content
        switch unsafe node.type {
        case YAML_SCALAR_NODE: content = unsafe Self.scalar(node)
        case YAML_SEQUENCE_NODE: content = .sequence(try unsafe items(node, depth: depth))
        case YAML_MAPPING_NODE: content = .mapping(try unsafe pairs(node, depth: depth))
        default: throw unsafe Self.problem("not a YAML value", at: pointer)
        }
        return YAMLNode(
            content: content, line: Int(unsafe node.start_mark.line) + 1,
            column: Int(unsafe node.start_mark.column) + 1)
    }

    private static func scalar(_ node: yaml_node_t) -> YAMLNode.Content {
        let bytes = unsafe UnsafeBufferPointer(
            start: node.data.scalar.value, count: node.data.scalar.length)
        return .scalar(
            unsafe String(decoding: bytes, as: UTF8.self),
            isPlain: unsafe node.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
    }

    private mutating func items(
        _ node: yaml_node_t, depth: Int
    ) throws(ConfigurationProblem) -> [YAMLNode] {
        var items: [YAMLNode] = []
        var item = unsafe node.data.sequence.items.start
        while let current = unsafe item, unsafe current != node.data.sequence.items.top {
            items.append(try unsafe child(current.pointee, depth: depth))
            unsafe item = current + 1
        }
        return items
    }

    private mutating func pairs(
        _ node: yaml_node_t, depth: Int
    ) throws(ConfigurationProblem) -> [(key: YAMLNode, value: YAMLNode)] {
        var pairs: [(key: YAMLNode, value: YAMLNode)] = []
        var pair = unsafe node.data.mapping.pairs.start
        while let current = unsafe pair, unsafe current != node.data.mapping.pairs.top {
            let key = try unsafe child(current.pointee.key, depth: depth)
            let value = try unsafe child(current.pointee.value, depth: depth)
            pairs.append((key, value))
            unsafe pair = current + 1
        }
        return pairs
    }

    private mutating func child(
        _ index: Int32, depth: Int
    ) throws(ConfigurationProblem) -> YAMLNode {
        guard let pointer = unsafe yaml_document_get_node(&document, index) else {
            throw ConfigurationProblem(line: 1, column: 1, message: "a YAML node is missing")
        }
        return try unsafe convert(pointer, depth: depth + 1)
    }

    private static func problem(
        _ message: String, at pointer: UnsafeMutablePointer<yaml_node_t>
    ) -> ConfigurationProblem {
        ConfigurationProblem(
            line: Int(unsafe pointer.pointee.start_mark.line) + 1,
            column: Int(unsafe pointer.pointee.start_mark.column) + 1, message: message)
    }

    private static func syntaxError(_ parser: yaml_parser_t) -> ConfigurationProblem {
        let reason = unsafe parser.problem.map { unsafe String(cString: $0) } ?? "not valid YAML"
        let context = unsafe parser.context.map { unsafe String(cString: $0) } ?? ""
        let hint = unsafe hint(parser, reason, context: context)
        var place = unsafe parser.problem_mark
        var origin = ""
        if context.contains("simple key") {
            // It is the key that lacks its colon, not what comes behind it.
            place = unsafe parser.context_mark
        } else if unsafe parser.context_mark.line != parser.problem_mark.line, !context.isEmpty {
            let mark = unsafe parser.context_mark
            origin = ", \(context) that begins at \(mark.line + 1):\(mark.column + 1)"
        }
        return ConfigurationProblem(
            line: Int(place.line) + 1, column: Int(place.column) + 1,
            message: "YAML: \(reason)\(origin)\(hint)")
    }

    /// What to do about mistakes that are often made, and that libyaml's words do not help with.
    private static func hint(
        _ parser: yaml_parser_t, _ reason: String, context: String
    ) -> String {
        if reason.contains("alias") || context.contains("alias") {
            return " (put a text that begins with * in quotes)"
        }
        guard reason.contains("cannot start any token"),
            unsafe parser.buffer.pointer < parser.buffer.last
        else { return "" }
        let byte = unsafe parser.buffer.pointer.pointee
        if byte == 0x09 { return " (indent with spaces, not with tabs)" }
        return " (put a text that begins with \(Character(Unicode.Scalar(byte))) in quotes)"
    }
}
