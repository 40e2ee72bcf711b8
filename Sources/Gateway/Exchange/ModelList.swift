import Translation
import Wire

/// What a tenant may use, in the shape of OpenAI's `GET /v1/models`.
struct ModelList {
    let plan: Plan
    let tenant: Int

    /// The list: exact routes that the tenant may use, in the file's order, and what it may use by
    /// name where a route is a glob. Globs have no one name.
    func all() -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("object")
        writer.string("list")
        writer.key("data")
        writer.beginArray()
        for name in names { write(name, to: &writer) }
        writer.endArray()
        writer.endObject()
        return writer.bytes
    }

    private var names: [String] {
        let routes = plan.routes.filter { !$0.isGlob }.map(\.name)
        let own = plan.tenants[tenant].models.filter { !$0.isGlob }.map(\.text)
        var listed = Set(routes)
        return routes.filter { plan.isAllowed($0, tenant: tenant) }
            + own.filter { listed.insert($0).inserted && plan.route(for: $0) != nil }
    }

    /// One model; nil when the tenant may not use it or no route serves it.
    func one(_ name: String) -> [UInt8]? {
        guard plan.route(for: name) != nil, plan.isAllowed(name, tenant: tenant) else { return nil }
        var writer = JSONWriter()
        write(name, to: &writer)
        return writer.bytes
    }

    /// The answer for a model that is not there for this tenant.
    static func notFound(_ name: String) -> APIError {
        APIError(
            status: 404, type: "invalid_request_error", code: "model_not_found", param: "model",
            message: "The model '\(name)' does not exist here. GET /v1/models lists what this key "
                + "may use.")
    }

    private func write(_ name: String, to writer: inout JSONWriter) {
        writer.beginObject()
        writer.key("id")
        writer.string(text: name)
        writer.key("object")
        writer.string("model")
        writer.key("created")
        writer.integer(plan.createdSeconds)
        writer.key("owned_by")
        writer.string("sluice")
        writer.endObject()
    }
}
