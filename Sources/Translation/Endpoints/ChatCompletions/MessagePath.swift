/// Where something stands in `messages`, for the `param` of errors; becomes text only in one.
struct MessagePath: CustomStringConvertible {
    let message: Int
    private var part: Int?

    init(message: Int) { self.message = message }

    /// The path of a part of the message's content.
    func part(_ index: Int) -> MessagePath {
        var path = self
        path.part = index
        return path
    }

    /// Such as `messages[0].content[2]`.
    var description: String {
        "messages[\(message)]" + (part.map { ".content[\($0)]" } ?? "")
    }
}
