import Foundation

/// Looks for the seed of a simulation that finds a deliberate bug, and how long that takes.
public struct DefectHunt {
    public struct Catch {
        public let seed: UInt64
        public let duration: Duration
        /// What the simulation said, its first line.
        public let verdict: String
    }

    /// The defects to look for: all of them, or the one that `CAIRN_DEFECT` names.
    public static func chosen<Defect: RawRepresentable>(from all: [Defect]) -> [Defect]
    where Defect.RawValue == String {
        guard let name = ProcessInfo.processInfo.environment["CAIRN_DEFECT"] else { return all }
        return all.filter { $0.rawValue == name }
    }

    private let simulation: String
    private let seedsMax: UInt64

    public init(_ simulation: String, seedsMax: UInt64) {
        self.simulation = simulation
        self.seedsMax = seedsMax
    }

    /// Tries one seed after the other until `run` says that something is wrong, and prints a row of the table.
    public func hunt(_ defect: String, run: (_ seed: UInt64) -> String?) -> Catch? {
        let start = ContinuousClock.now
        for seed in 1...seedsMax {
            guard let violation = run(seed) else { continue }
            let verdict = String((violation.split(separator: "\n").first ?? "").prefix(100))
            let found = Catch(seed: seed, duration: ContinuousClock.now - start, verdict: verdict)
            print("| `\(defect)` | \(simulation) | \(seed) | \(Self.seconds(found.duration)) | \(verdict) |")
            return found
        }
        return nil
    }

    private static func seconds(_ duration: Duration) -> String {
        let tenths = Int((duration / .milliseconds(100)).rounded())
        return "\(tenths / 10).\(tenths % 10) s"
    }
}
