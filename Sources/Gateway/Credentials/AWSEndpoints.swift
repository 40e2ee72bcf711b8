/// Where AWS's services are (bedrock-api.md section 1.2).
public enum AWSEndpoints {
    private struct Partition {
        let prefixes: [String]
        let suffix: String
        let dualStackSuffix: String
    }

    private static let partitions = [
        Partition(
            prefixes: ["cn-"], suffix: "amazonaws.com.cn",
            dualStackSuffix: "api.amazonwebservices.com.cn"),
        Partition(
            prefixes: ["eusc-"], suffix: "amazonaws.eu", dualStackSuffix: "api.amazonwebservices.eu"
        ),
        Partition(
            prefixes: ["us-isob-"], suffix: "sc2s.sgov.gov", dualStackSuffix: "api.aws.scloud"),
        Partition(
            prefixes: ["us-isof-"], suffix: "csp.hci.ic.gov",
            dualStackSuffix: "api.aws.hci.ic.gov"),
        Partition(
            prefixes: ["eu-isoe-"], suffix: "cloud.adc-e.uk",
            dualStackSuffix: "api.cloud-aws.adc-e.uk"),
        Partition(prefixes: ["us-iso-"], suffix: "c2s.ic.gov", dualStackSuffix: "api.aws.ic.gov"),
    ]

    /// Bedrock Runtime in a region, with the environment's overrides.
    public static func bedrock(region: String, environment: [String: String]) -> BackendURL {
        for name in ["AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL"] {
            if let url = environment[name].flatMap({ BackendURL(text: $0) }) { return url }
        }
        let isFIPS = environment["AWS_USE_FIPS_ENDPOINT"]?.lowercased() == "true"
        let isDualStack = environment["AWS_USE_DUALSTACK_ENDPOINT"]?.lowercased() == "true"
        let prefix = isFIPS ? "bedrock-runtime-fips" : "bedrock-runtime"
        let host = "\(prefix).\(region).\(suffix(of: region, isDualStack: isDualStack))"
        return BackendURL(isTLS: true, host: host, port: 443, basePath: "")
    }

    /// STS in a region, with the environment's overrides.
    public static func sts(region: String, environment: [String: String]) -> BackendURL {
        for name in ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"] {
            if let url = environment[name].flatMap({ BackendURL(text: $0) }) { return url }
        }
        let host = "sts.\(region).\(suffix(of: region, isDualStack: false))"
        return BackendURL(isTLS: true, host: host, port: 443, basePath: "")
    }

    private static func suffix(of region: String, isDualStack: Bool) -> String {
        let partition = partitions.first { partition in
            partition.prefixes.contains { region.hasPrefix($0) }
        }
        guard let partition else { return isDualStack ? "api.aws" : "amazonaws.com" }
        return isDualStack ? partition.dualStackSuffix : partition.suffix
    }
}
