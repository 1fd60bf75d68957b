import Foundation

/// Runs a test from many seeds: a fixed number in a usual run, until the clock in a soak.
///
/// - `CAIRN_SEED=N` runs that one seed.
/// - `CAIRN_SOAK_MINUTES=M` goes on with seeds that no run before is likely to have had, until `M` minutes are over.
///
/// A seed that traps ends the process before anything can be reported, so the running one is kept in ``seedFile``.
public struct SeededRuns: Sendable {
    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    private let suite: String
    private let count: Int

    public init(_ suite: String, count: Int) {
        self.suite = suite
        self.count = count
    }

    public var seedFile: String { NSTemporaryDirectory() + "cairn-\(suite).seed" }

    /// Calls `body` with one seed after the other.
    ///
    /// - Throws: ``Failure`` at the first seed for which `body` throws, with the command that repeats it.
    public func forEach(_ body: (UInt64) throws -> Void) throws(Failure) {
        let environment = ProcessInfo.processInfo.environment
        func run(_ seed: UInt64) throws(Failure) {
            try? Data("\(seed)\n".utf8).write(to: URL(fileURLWithPath: seedFile))
            do { try body(seed) } catch {
                throw Failure(
                    description: "seed \(seed): \(error)\nrepeat with: CAIRN_SEED=\(seed) swift test --filter \(suite)")
            }
        }
        if let seed = environment["CAIRN_SEED"].flatMap({ UInt64($0) }) { return try run(seed) }
        let minutes = environment["CAIRN_SOAK_MINUTES"].flatMap { Double($0) }
        for seed in 1...UInt64(count) { try run(seed) }
        guard let minutes else { return }
        let start = ContinuousClock.now
        let first = UInt64.random(in: 1 << 20..<1 << 52)
        var seed = first
        print("\(suite): soaking from seed \(first) on; should it trap, \(seedFile) has the seed")
        while ContinuousClock.now - start < .seconds(minutes * 60) {
            try run(seed)
            seed += 1
        }
        print("\(suite): seeds 1 to \(count) and \(first) to \(seed - 1), \(seed - first) of them, passed")
    }
}
