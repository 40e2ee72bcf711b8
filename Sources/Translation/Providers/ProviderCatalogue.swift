/// Every kind of backend. A new one is a folder beside this file and one line here.
public enum ProviderCatalogue {
    /// All of them, in the order in which they are named to people.
    public static let all = [
        OpenAIProvider.provider, VLLMProvider.provider, BedrockProvider.provider,
    ]

    /// The provider of a `kind`; nil when there is none.
    public static func provider(kind: String) -> Provider? { all.first { $0.kind == kind } }
}
