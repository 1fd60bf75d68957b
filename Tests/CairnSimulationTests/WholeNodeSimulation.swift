import CairnTestSupport
import Foundation
import Testing

/// Whole clusters under faults, a seed a run.
///
/// - `CAIRN_SEED=N` runs that one seed and tells its story.
/// - `CAIRN_SEEDS=N` runs another number of seeds.
/// - `CAIRN_SOAK_MINUTES=M` goes on with new seeds for so long.
@Suite struct WholeNodeSimulation {
    private static let environment = ProcessInfo.processInfo.environment
    private static let only = environment["CAIRN_SEED"].flatMap { UInt64($0) }
    private static let soaks = environment["CAIRN_SOAK_MINUTES"] != nil
    private static let seeds =
        only.map { $0...$0 } ?? 1...(environment["CAIRN_SEEDS"].flatMap { UInt64($0) } ?? (soaks ? 1 : 300))

    @Test(arguments: seeds)
    func promisesAreKeptUnderFaultsAndLifeReturnsAfterThem(seed: UInt64) throws {
        try Self.run(seed)
    }

    @Test(.enabled(if: soaks))
    func promisesAreKeptForAsLongAsItTakes() throws {
        try SeededRuns("WholeNodeSimulation", count: 1).forEach(Self.run)
    }

    @Test(arguments: [3, 19, 34] as [UInt64])
    func aSeedReplaysExactly(seed: UInt64) {
        let first = Simulation(seed: seed)
        let second = Simulation(seed: seed)
        #expect(first.run() == second.run())
        #expect(first.eventHash == second.eventHash)
        #expect(first.eventCount == second.eventCount)
        #expect(first.now == second.now)
    }

    private static func run(_ seed: UInt64) throws {
        // Should the seed trap, the file is left and has its number.
        let mark = NSTemporaryDirectory() + "cairn-WholeNodeSimulation.\(seed).running"
        try Data().write(to: URL(fileURLWithPath: mark))
        defer { try? FileManager.default.removeItem(atPath: mark) }
        let simulation = Simulation(seed: seed)
        if only != nil {
            print(simulation.plan)
            simulation.onTrace = { print($0) }
        }
        let failure = simulation.run()
        if environment["CAIRN_VERBOSE"] != nil {
            print(
                "seed \(seed): \(simulation.eventCount) events, \(simulation.workload.answers) answers, hash \(simulation.eventHash), undecided \(simulation.undecidedKeys)"
            )
        }
        if let failure { throw BrokenPromise(seed: seed, plan: simulation.plan, what: failure) }
    }

    private struct BrokenPromise: Error, CustomStringConvertible {
        let seed: UInt64
        let plan: Plan
        let what: String

        var description: String {
            """
            seed \(seed): \(what)
            \(plan)
            repeat with: CAIRN_SEED=\(seed) swift test --filter WholeNodeSimulation
            """
        }
    }
}
