import ArgumentParser
import Gateway
import Runtime
import Translation

/// `sluice usage`: sums up the ledger, also while the gateway runs.
struct Usage: ParsableCommand {
    enum Format: String, ExpressibleByArgument {
        case table, json, csv
    }

    static let configuration = CommandConfiguration(
        abstract: "Sum up requests, tokens and cost from the ledger.")

    @Option(help: "From: a duration back (24h, 7d) or a time (2026-01-02T03:04:05Z).")
    var since = "24h"

    @Option(help: "Until: the same; now when left out.")
    var until: String?

    @Option(help: "Group by, with commas: \(UsageQuery.dimensions.joined(separator: ", ")).")
    var by = "tenant,model"

    @Option(help: "How to print: table, json or csv.")
    var format = Format.table

    @Option(help: "The configuration file, which names the state directory.")
    var config = "gateway.yaml"

    func run() throws {
        let query: UsageQuery
        do throws(APIError) {
            query = try UsageQuery(
                since: since, until: until, by: by, now: SystemClock.wallTime())
        } catch {
            throw CommandFailure.wrongInput(error.message)
        }
        let configuration = try ConfigurationFile(path: config).load(checkingSecrets: false)
        let report: UsageReport
        do throws(SQLiteFailure) {
            report = try LedgerReader.report(query, directory: configuration.stateDirectory)
        } catch {
            throw CommandFailure.runFailed(error.message)
        }
        if !report.omittedMonths.isEmpty {
            Output.error(
                "left out: \(report.omittedMonths.joined(separator: ", ")), of which only totals "
                    + "are kept (ledger.retention); ask for whole months to have them counted")
        }
        switch format {
        case .table: Output.line(report.table())
        case .json: Output.line(String(decoding: report.json(), as: UTF8.self))
        case .csv: Output.line(report.csv())
        }
    }
}
