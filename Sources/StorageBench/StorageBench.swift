import ArgumentParser
import CairnFiles
import CairnStorage

/// Runs one workload after another on an engine of its own, and prints a JSON line for each: our half of
/// `scripts/bench storage`. Workloads, keys and values are those of RocksDB's `db_bench`, so that figures can be compared.
@main
struct StorageBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "storage-bench", abstract: "Measures the storage engine alone.")

    @Option(help: "The engine's directory; made if it is missing.") var directory: String
    @Option(help: "Comma-separated: \(Workload.allCases.map(\.rawValue).joined(separator: ", ")).")
    var workloads: String
    @Option(help: "Keys, and operations of each thread.") var keys = 2_000_000
    @Option(help: "Bytes of a value.") var valueBytes = 100
    @Option(help: "Operations of each thread, if not as many as keys.") var operations: Int?
    @Option(help: "Threads.") var threads = 1
    @Option(help: "Seed of keys and values.") var seed: UInt64 = 1

    @Option(help: "Bytes a second that readwhilewriting writes beside its reads.") var writeRate = 10_000_000.0

    @Flag(help: "Encrypt everything.") var encrypted = false
    @Flag(help: "In the end print what the engine has done, another JSON line.") var statistics = false

    func validate() throws {
        guard keys > 0, valueBytes > 0, threads > 0 else { throw ValidationError("numbers must be positive") }
        _ = try chosen()
    }

    private func chosen() throws -> [Workload] {
        try workloads.split(separator: ",").map { name in
            guard let workload = Workload(rawValue: String(name)) else {
                throw ValidationError("no workload '\(name)'")
            }
            return workload
        }
    }

    func run() throws {
        let bench = try Bench(
            directory: directory, keys: keys, valueBytes: valueBytes, operations: operations ?? keys, threads: threads,
            seed: seed, writeBytesPerSecond: writeRate, isEncrypted: encrypted)
        for workload in try chosen() { print(try bench.run(workload).json) }
        if statistics { print(bench.statistics) }
        try bench.close()
    }
}
