import Foundation
import Testing

/// Whole worlds, each from one seed. `make sim SEEDS=100000` plays more of them; `SEED=7 make sim`
/// plays one again.
@Suite struct WorldTests {
    @Test func `whatever happens, every request gets one honest end and one row`() throws {
        let environment = ProcessInfo.processInfo.environment
        let first = environment["SEED"].flatMap { UInt64($0) }
        let count = environment["SEEDS"].flatMap { UInt64($0) } ?? 64
        let seeds = first.map { $0...$0 } ?? 1...count
        var seen: [String: Int] = [:]
        for seed in seeds {
            let world = try World(seed: seed)
            let problems = try world.run()
            #expect(problems.isEmpty, "SEED=\(seed) make sim: \(problems.joined(separator: "; "))")
            for row in world.rows {
                seen["\(row.status) \(row.errorCode ?? "fine")", default: 0] += 1
            }
            for client in world.clients {
                for answer in client.answers()?.values ?? [:].values where answer.isComplete {
                    seen["told \(answer.status)", default: 0] += 1
                }
            }
            if world.world.isKilled { seen["killed", default: 0] += 1 }
            if world.hadSickJournal { seen["sick journal", default: 0] += 1 }
            if seed % 5_000 == 0 { print("\(seed) worlds played") }
        }
        guard seeds.count >= 64 else { return }
        // Worlds in which nothing happens would prove nothing.
        for kind in [
            "200 fine", "200 limit_cut", "499 client_closed", "502 upstream_error",
            "502 upstream_malformed", "502 upstream_incomplete", "504 upstream_timeout",
            "400 invalid_request_error", "told 401", "told 429", "killed", "sick journal",
        ] {
            #expect(seen[kind] ?? 0 > 0, "there was no \(kind): \(seen)")
        }
    }

    @Test func `a seed plays the same again`() throws {
        for seed in UInt64(1)...8 {
            var logs: [[UInt8]] = []
            for _ in 0..<2 {
                let world = try World(seed: seed)
                _ = try world.run()
                logs.append(world.world.log)
            }
            #expect(logs[0] == logs[1], "SEED=\(seed)")
        }
    }
}
