/// Finds the route of a model: an exact name wins, then the most specific glob, then file order.
public struct RouteTable: Sendable {
    private let exact: [String: Int]
    private let globs: [(pattern: ModelPattern, route: Int)]

    /// A table of the routes' patterns, in file order.
    public init(patterns: [ModelPattern]) {
        var exact: [String: Int] = [:]
        var globs: [(pattern: ModelPattern, route: Int)] = []
        for (route, pattern) in patterns.enumerated() {
            if pattern.isGlob {
                globs.append((pattern, route))
            } else if exact[pattern.text] == nil {
                exact[pattern.text] = route
            }
        }
        self.exact = exact
        self.globs = globs.sorted { left, right in
            left.pattern.literalCount != right.pattern.literalCount
                ? left.pattern.literalCount > right.pattern.literalCount
                : left.route < right.route
        }
    }

    /// The index of the route that serves `model`; nil when there is none.
    public func route(for model: String) -> Int? {
        exact[model] ?? globs.first { $0.pattern.matches(model) }?.route
    }
}
