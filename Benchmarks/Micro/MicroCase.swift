import CBenchmark
import Glibc

/// One step of a request that is measured by itself.
struct MicroCase: Sendable {
    /// Does the step once; what it returns keeps the compiler from leaving it out.
    typealias Operation = () -> Int

    let name: String
    /// Sets the step up. That is not measured.
    let prepare: @Sendable () -> Operation

    private static let warmUpCount = 200
    private static let batches = 7
    private static let batchNanoseconds: UInt64 = 20_000_000

    func measure(count: Int?) -> MicroResult {
        let operation = prepare()
        var checksum = Self.run(operation, Self.warmUpCount)
        if is_instrumented() {
            let count = count ?? Self.warmUpCount
            instrumentation_begin()
            checksum &+= Self.run(operation, count)
            instrumentation_end(name)
            return MicroResult(name: name, count: count, checksum: checksum)
        }
        let count = count ?? Self.suitableCount(operation)
        var result = MicroResult(name: name, count: count, checksum: checksum)
        let before = allocation_count()
        var times: [UInt64] = []
        times.reserveCapacity(Self.batches)
        let reserved = allocation_count() - before
        for _ in 0..<Self.batches {
            let start = Self.now()
            result.checksum &+= Self.run(operation, count)
            times.append(Self.now() - start)
        }
        let allocations = allocation_count() - before - reserved
        times.sort()
        result.nanosecondsPerOperation = Double(times[Self.batches / 2]) / Double(count)
        result.allocationsPerOperation = Double(allocations) / Double(count * Self.batches)
        return result
    }

    @inline(never)
    private static func run(_ operation: Operation, _ count: Int) -> Int {
        var checksum = 0
        for _ in 0..<count { checksum &+= operation() }
        return checksum
    }

    /// How often it must be done to fill a batch.
    private static func suitableCount(_ operation: Operation) -> Int {
        let start = Self.now()
        _ = run(operation, warmUpCount)
        let elapsed = max(1, Self.now() - start)
        return max(10, Int(batchNanoseconds * UInt64(warmUpCount) / elapsed))
    }

    private static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

/// What a case took.
struct MicroResult {
    let name: String
    let count: Int
    var checksum: Int
    /// The median of the batches.
    var nanosecondsPerOperation = 0.0
    var allocationsPerOperation = 0.0
}
