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
        for seed in seeds {
            var world = try World(seed: seed)
            let problems = try world.run()
            #expect(problems.isEmpty, "SEED=\(seed) make sim: \(problems.joined(separator: "; "))")
        }
    }

    @Test func `a seed plays the same again`() throws {
        for seed in UInt64(1)...8 {
            var logs: [[UInt8]] = []
            for _ in 0..<2 {
                var world = try World(seed: seed)
                _ = try world.run()
                logs.append(world.world.log)
            }
            #expect(logs[0] == logs[1], "SEED=\(seed)")
        }
    }
}
