import CairnRaft
import CairnTestSupport
import Foundation
import Testing

/// Raft's promises under random faults. A failure prints the seed; `CAIRN_SEED=N` runs that one, with its story.
@Suite struct SimulationTests {
    private static let environment = ProcessInfo.processInfo.environment
    /// Seeds of a usual run; `CAIRN_SEEDS=N` runs another number.
    private static let count = environment["CAIRN_SEEDS"].flatMap { UInt64($0) } ?? 200

    @Test func safetyHoldsUnderFaultsAndLifeReturnsAfterThem() {
        var seeds = 1...Self.count
        let only = Self.environment["CAIRN_SEED"].flatMap { UInt64($0) }
        if let only { seeds = only...only }
        var events = 0
        var writes = 0
        var reads = 0
        var leaseReads = 0
        var silences = 0
        for seed in seeds {
            let simulation = Simulation(seed: seed)
            if only != nil {
                print(simulation.plan)
                simulation.trace = { print($0) }
            }
            let failure = simulation.run()
            events += simulation.eventCount
            writes += simulation.acknowledgedWrites
            reads += simulation.answeredReads
            leaseReads += simulation.leaseReads
            silences += simulation.silences
            if let failure {
                let command = "CAIRN_SEED=\(seed) swift test --filter SimulationTests"
                Issue.record("seed \(seed): \(failure)\nrepeat: \(command)")
                if ProcessInfo.processInfo.environment["CAIRN_ALL"] == nil { return }
            }
        }
        print(
            "\(seeds.count) seeds, \(events) events, \(writes) writes, \(reads) reads, \(leaseReads) lease reads, "
                + "\(silences) silences")
        // A rig in which nothing happens finds nothing.
        if only == nil {
            #expect(writes > 10 * seeds.count && reads > seeds.count && leaseReads > seeds.count)
            #expect(silences > seeds.count)
        }
    }

    @Test(arguments: [1, 7, 42] as [UInt64]) func aSeedReplaysExactly(seed: UInt64) {
        let first = Simulation(seed: seed)
        let second = Simulation(seed: seed)
        _ = first.run()
        _ = second.run()
        #expect(first.eventHash == second.eventHash)
        #expect(first.eventCount == second.eventCount)
    }
}
