import Wire

/// Where a client wants the prompt cached (rule A50).
enum CacheMarker {
    /// The marker of a part, message or tool: nil when there is none, else its lifetime, if any.
    static func read(_ value: JSONValue) -> String?? {
        if let control = value.present("cache_control"),
            control["type"]?.equals("ephemeral") == true
        {
            let lifetime = control.present("ttl")?.string
            return .some(lifetime == "1h" || lifetime == "5m" ? lifetime : nil)
        }
        guard let point = value.present("prompt_cache_breakpoint"),
            point["mode"]?.equals("explicit") == true
        else { return nil }
        // OpenAI's lifetimes are all longer than five minutes.
        return .some(point["ttl"]?.kind == .string ? "1h" : nil)
    }
}

/// What a model makes of cache points, and how many there may be.
enum CachePointRules {
    private static let maximum = 4

    static func apply(_ points: ModelProfile.CachePoints, to request: inout ChatRequest) {
        switch points {
        case .full: break
        case .none: removeAll(from: &request)
        case .withoutToolsAndLifetimes: simplify(&request)
        }
        limit(&request)
    }

    private static func removeAll(from request: inout ChatRequest) {
        request.system.removeAll { $0.isCachePoint }
        for index in request.turns.indices {
            request.turns[index].blocks.removeAll { $0.isCachePoint }
        }
        for index in request.tools.list.indices { request.tools.list[index].cachePoint = .none }
    }

    private static func simplify(_ request: inout ChatRequest) {
        for index in request.tools.list.indices { request.tools.list[index].cachePoint = .none }
        request.system = request.system.map(withoutLifetime)
        for index in request.turns.indices {
            request.turns[index].blocks = request.turns[index].blocks.map(withoutLifetime)
        }
    }

    private static func withoutLifetime(_ block: ChatBlock) -> ChatBlock {
        block.isCachePoint ? .cachePoint(lifetime: nil) : block
    }

    /// The earliest go first: in messages, then in system, then in tools.
    private static func limit(_ request: inout ChatRequest) {
        let inMessages = request.turns.reduce(0) { $0 + $1.blocks.count { $0.isCachePoint } }
        let inSystem = request.system.count { $0.isCachePoint }
        let inTools = request.tools.list.count { $0.cachePoint != nil }
        var surplus = inMessages + inSystem + inTools - maximum
        for index in request.turns.indices {
            remove(&surplus, from: &request.turns[index].blocks)
        }
        remove(&surplus, from: &request.system)
        for index in request.tools.list.indices
        where surplus > 0 && request.tools.list[index].cachePoint != nil {
            request.tools.list[index].cachePoint = .none
            surplus -= 1
        }
    }

    private static func remove(_ surplus: inout Int, from blocks: inout [ChatBlock]) {
        guard surplus > 0 else { return }
        blocks.removeAll { block in
            guard surplus > 0, block.isCachePoint else { return false }
            surplus -= 1
            return true
        }
    }
}
