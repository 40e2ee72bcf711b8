import CBenchmark
import Glibc

/// `MicroBenchmarks [--case NAME]… [--count N] [--json]`: what single steps of a request cost.
///
/// Under callgrind each case runs once, and its instructions go out as a dump of its name.
@main
struct MicroBenchmarks {
    static let cases =
        HTTP1Cases.all + HTTP2Cases.all + JSONCases.all + TranslationCases.all + StreamCases.all
        + SignatureCases.all + GatewayCases.all

    static func main() {
        guard let options = MicroOptions(CommandLine.arguments.dropFirst()) else {
            print("usage: MicroBenchmarks [--case NAME]... [--count N] [--json]")
            for benchmark in cases { print("  \(benchmark.name)") }
            exit(2)
        }
        let chosen = cases.filter { options.names.isEmpty || options.names.contains($0.name) }
        let results = chosen.map { $0.measure(count: options.count) }
        options.isJSON ? writeJSON(results) : writeTable(results)
    }

    private static func writeTable(_ results: [MicroResult]) {
        print("| case | ns | allocations |\n|---|---:|---:|")
        for result in results {
            let allocations = result.allocationsPerOperation.rounded(toDigits: 2)
            let nanoseconds = Int(result.nanosecondsPerOperation)
            print("| \(result.name) | \(nanoseconds) | \(allocations) |")
        }
    }

    private static func writeJSON(_ results: [MicroResult]) {
        let lines = results.map { result in
            "  {\"name\": \"\(result.name)\", \"count\": \(result.count), "
                + "\"nanoseconds\": \(result.nanosecondsPerOperation.rounded(toDigits: 1)), "
                + "\"allocations\": \(result.allocationsPerOperation.rounded(toDigits: 3))}"
        }
        print("[\n" + lines.joined(separator: ",\n") + "\n]")
    }
}

/// The options of the command line.
struct MicroOptions {
    var names: [String] = []
    /// How often each case is repeated; nil: as often as takes a while.
    var count: Int?
    var isJSON = false

    /// nil when something is not understood.
    init?(_ arguments: ArraySlice<String>) {
        var rest = arguments
        while let option = rest.popFirst() {
            switch option {
            case "--json": isJSON = true
            case "--case":
                guard let name = rest.popFirst(),
                    MicroBenchmarks.cases.contains(where: { $0.name == name })
                else { return nil }
                names.append(name)
            case "--count":
                guard let number = rest.popFirst().flatMap({ Int($0) }), number > 0 else {
                    return nil
                }
                count = number
            default: return nil
            }
        }
    }
}

extension Double {
    fileprivate func rounded(toDigits digits: Int) -> Double {
        let scale = pow(10, Double(digits))
        return (self * scale).rounded() / scale
    }
}
