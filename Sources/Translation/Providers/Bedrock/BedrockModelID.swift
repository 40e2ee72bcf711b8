/// What Bedrock's model ids stand for (rule A1, bedrock-api.md section 1.1).
public enum BedrockModelID {
    private static let regionPrefixes = [
        "us-gov.", "us.", "eu.", "apac.", "global.", "jp.", "au.", "ca.", "sa.", "il.", "mx.",
        "me.", "af.", "in.",
    ]

    /// The name in an id or ARN; nil for an ARN of a kind that has none, such as provisioned
    /// models.
    public static func name(of modelID: String) -> String? {
        guard modelID.hasPrefix("arn:") else { return modelID }
        let parts = modelID.split(separator: ":", maxSplits: 5, omittingEmptySubsequences: false)
        let resource = parts.count == 6 ? parts[5].split(separator: "/", maxSplits: 1) : []
        guard resource.count == 2,
            resource[0] == "foundation-model" || resource[0] == "inference-profile"
        else { return nil }
        return String(resource[1])
    }

    /// A name without the region of its inference profile, such as `eu.`.
    public static func withoutRegion(_ name: String) -> String {
        guard let prefix = regionPrefixes.first(where: { name.hasPrefix($0) }) else { return name }
        return String(name.dropFirst(prefix.count))
    }
}
