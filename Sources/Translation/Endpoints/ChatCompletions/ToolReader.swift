import Primitives
import Wire

/// Reads tools and the choice among them (rules A27 to A34).
struct ToolReader {
    let profile: ModelProfile

    func read(_ fields: RequestFields, names: inout ToolNames) throws(APIError) -> ChatTools {
        let root = fields.root
        var tools = ChatTools()
        let given = try list("tools", in: root)
        let functions = try list("functions", in: root)
        if given != nil, functions != nil {
            throw RequestFields.invalid("functions", "Send 'tools' or 'functions', not both.")
        }
        var seen: [[UInt8]] = []
        for (index, tool) in ((given ?? functions)?.elements ?? root.elements).enumerated() {
            let path = ToolPath(index: index, isBare: functions != nil)
            let read = try readTool(tool, path: path, names: &names)
            let original = names.original(of: read.name)
            guard !seen.contains(original) else {
                throw RequestFields.invalid(
                    "\(path.definition()).name", "Two tools have the same name.")
            }
            seen.append(original)
            tools.list.append(read)
        }
        tools.isLegacy = functions != nil
        let isParallel = try fields.flag("parallel_tool_calls") ?? true
        tools.isFirstCallOnly = tools.isLegacy || !isParallel
        let choice = functions == nil ? root.present("tool_choice") : root.present("function_call")
        if let choice { try read(choice, isLegacy: functions != nil, names: names, into: &tools) }
        return tools
    }

    /// A list with something in it; nil when absent or empty (rule A28).
    private func list(_ name: StaticString, in root: JSONValue) throws(APIError) -> JSONValue? {
        guard let value = root.present(name) else { return nil }
        guard value.kind == .array else { throw RequestFields.wrongType("\(name)", "a list") }
        guard value.count <= Limits.chatTools else {
            throw RequestFields.invalid(
                "\(name)", "'\(name)' may list at most \(Limits.chatTools) tools.")
        }
        return value.count > 0 ? value : nil
    }

    private func readTool(
        _ tool: JSONValue, path: ToolPath, names: inout ToolNames
    ) throws(APIError) -> ChatTools.Tool {
        let type = tool["type"]
        let isCustom = type?.equals("custom") == true
        if !path.isBare, !isCustom, type?.equals("function") != true {
            throw RequestFields.unsupportedValue(
                "\(path).type", "Only tools of type function and custom are supported.")
        }
        let definition =
            path.isBare ? tool : isCustom ? tool.present("custom") : tool.present("function")
        guard let definition, let name = definition.present("name")?.stringBytes, !name.isEmpty
        else {
            throw .badRequest(
                "missing_required_parameter", param: "\(path.definition(isCustom)).name",
                "A tool needs a name.")
        }
        if isCustom, definition.present("format")?["type"]?.equals("grammar") == true {
            throw RequestFields.unsupportedValue(
                "\(path.definition(isCustom)).format",
                "Grammars are not supported by the model behind this name.")
        }
        // Rule A27: an optimisation of validity; later models refuse the member.
        let isStrict = definition.present("strict")?.bool == true && profile.takesStrictTools
        return ChatTools.Tool(
            kind: isCustom ? .custom : .function, name: names.sent(for: name),
            description: definition.present("description")?.stringBytes.flatMap {
                $0.isBlank ? nil : $0
            },
            schema: isCustom
                ? Self.customSchema : try Self.schema(of: definition, path.definition()),
            isStrict: isStrict,
            cachePoint: CacheMarker.read(tool))
    }

    private static let customSchema = [UInt8](
        #"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}"#)

    private static func schema(
        of function: JSONValue, _ path: @autoclosure () -> String
    ) throws(APIError) -> [UInt8] {
        guard let parameters = function.present("parameters") else {
            return [UInt8](#"{"type":"object","properties":{}}"#)
        }
        guard parameters.kind == .object else {
            throw RequestFields.wrongType("\(path()).parameters", "an object")
        }
        return typed(parameters)
    }

    /// A schema, compact and with a type: Converse demands one at the top of a tool's schema.
    static func typed(_ parameters: JSONValue) -> [UInt8] {
        var json: [UInt8] = []
        parameters.appendCompact(to: &json)
        guard parameters["type"] == nil else { return json }
        let rest = json.dropFirst()
        let opening = [UInt8](#"{"type":"object""#)
        return opening + (parameters.count > 0 ? [UInt8(ascii: ",")] : []) + rest
    }

    /// Rules A31 and A32.
    private func read(
        _ choice: JSONValue, isLegacy: Bool, names: ToolNames, into tools: inout ChatTools
    ) throws(APIError) {
        let param = isLegacy ? "function_call" : "tool_choice"
        if choice.equals("auto") {
            if !tools.list.isEmpty { tools.choice = .auto }
        } else if choice.equals("none") {
            tools.isSuppressed = !tools.list.isEmpty
        } else if choice.equals("required") {
            guard !tools.list.isEmpty else {
                throw RequestFields.invalid(param, "'\(param)' needs tools.")
            }
            tools.choice = .any
        } else if choice["type"]?.equals("allowed_tools") == true {
            try readAllowed(choice, names: names, into: &tools)
        } else if choice.kind == .object {
            let named = choice.present("function") ?? choice.present("custom") ?? choice
            guard let name = named.present("name")?.stringBytes else {
                throw RequestFields.invalid(param, "'\(param)' must name a tool.")
            }
            try demand(name, param: param, names: names, from: &tools)
        } else {
            throw RequestFields.invalid(
                param, "'\(param)' must be none, auto, required or name a tool.")
        }
    }

    private func demand(
        _ name: [UInt8], param: String, names: ToolNames, from tools: inout ChatTools
    ) throws(APIError) {
        guard let tool = tools.list.first(where: { names.original(of: $0.name) == name }) else {
            throw RequestFields.invalid(param, "'\(param)' names a tool that is not declared.")
        }
        if profile.hasNamedToolChoice {
            tools.choice = .named(tool.name)
        } else {
            tools.list = [tool]
            tools.choice = .any
        }
    }

    private func readAllowed(
        _ choice: JSONValue, names: ToolNames, into tools: inout ChatTools
    ) throws(APIError) {
        let allowed = choice.present("allowed_tools") ?? choice
        var kept: [ChatTools.Tool] = []
        let entries = allowed.present("tools")?.elements ?? choice.elements
        for (index, entry) in entries.enumerated() {
            guard index < Limits.chatTools else {
                throw RequestFields.invalid(
                    "tool_choice", "'tool_choice' may list at most \(Limits.chatTools) tools.")
            }
            let named = entry.present("function") ?? entry.present("custom") ?? entry
            guard let name = named.present("name")?.stringBytes,
                let tool = tools.list.first(where: { names.original(of: $0.name) == name })
            else {
                throw RequestFields.invalid(
                    "tool_choice", "'tool_choice' names a tool that is not declared.")
            }
            kept.append(tool)
        }
        guard !kept.isEmpty else {
            throw RequestFields.invalid("tool_choice", "'tool_choice' allows no tool.")
        }
        tools.list = tools.list.filter { tool in kept.contains { $0.name == tool.name } }
        tools.choice = allowed["mode"]?.equals("required") == true ? .any : .auto
    }
}

/// Where a tool stands in the request, for the `param` of errors; becomes text only in one.
private struct ToolPath: CustomStringConvertible {
    let index: Int
    /// It is one of the older `functions`.
    let isBare: Bool

    var description: String { isBare ? "functions[\(index)]" : "tools[\(index)]" }

    /// Where what defines the tool stands.
    func definition(_ isCustom: Bool = false) -> String {
        isBare ? description : "\(self).\(isCustom ? "custom" : "function")"
    }
}
