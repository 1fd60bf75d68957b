import ArgumentParser
import CairnBSON
import CairnClient

/// `cairn bench`: named workloads against a running cluster.
struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure a running cluster.",
        discussion: """
            Documents are 1 KiB: an _id and ten fields of text, made from words and a fixed seed. Every write is \
            acknowledged by a majority's disks. Each connection has one operation under way at a time, or as many \
            as --per-connection says, as the tasks of a program have that share one client. The collection \
            bench.stones is dropped before and after, unless --keep says otherwise.

            The workload "command" sends the command that --command gives, in extended JSON, to --database, and leaves \
            alone what is there; {"$random": N} in it stands for another whole number below N each time.
            """)

    enum Workload: String, CaseIterable, ExpressibleByArgument {
        case insert, insertMany, read, update, command
    }

    @Argument(
        help: ArgumentHelp(
            "Workloads: insert, insertMany, read, update (default: all of these), command.", valueName: "workload"))
    var workloads: [Workload] = [.insert, .insertMany, .read, .update]

    @Option(help: ArgumentHelp("What the workload command sends.", valueName: "json"))
    var command: String?

    @Option(help: ArgumentHelp("Where it is sent to.", valueName: "name"))
    var database = "test"

    @Option(help: ArgumentHelp("Any node of the cluster.", valueName: "address"))
    var address = "127.0.0.1:27017"

    @Option(help: ArgumentHelp("Connections, separated by commas.", valueName: "counts"))
    var connections = "1,16,64"

    @Option(help: ArgumentHelp("Operations under way at a time on each connection.", valueName: "count"))
    var perConnection = 1

    @Option(help: ArgumentHelp("Seconds for each line of the table.", valueName: "seconds"))
    var seconds = 5.0

    @Option(help: ArgumentHelp("Documents that read and update choose from.", valueName: "count"))
    var documents = 10_000

    @Option(help: ArgumentHelp("Documents in one insertMany.", valueName: "count"))
    var batch = 1_000

    @Flag(help: "Send plain commands to the nodes in turn, as a driver does, instead of routing to the leaders.")
    var viaRouter = false

    @Flag(help: "Go on with the collection that an earlier run left, and leave it to the next.")
    var keep = false

    @Flag(help: "End with one line of JSON.")
    var json = false

    func validate() throws {
        guard !counts.isEmpty, counts.allSatisfy({ (1...10_000).contains($0) }) else {
            throw ValidationError("--connections: '\(connections)' is not a list of numbers from 1 to 10000")
        }
        guard (1...10_000).contains(perConnection) else {
            throw ValidationError("--per-connection must be in 1...10000")
        }
        guard workloads.contains(.command) == (command != nil) else {
            throw ValidationError("the workload command needs --command, and no other takes one")
        }
        if let command {
            do { _ = try BenchCommand(database: database, text: command) } catch {
                throw ValidationError("--command: \(error)")
            }
        }
        guard seconds > 0, documents > 0, (1...100_000).contains(batch) else {
            throw ValidationError("--seconds and --documents must be above 0, --batch in 1...100000")
        }
    }

    private var counts: [Int] {
        let parts = connections.split(separator: ",").map { Int($0) }
        return parts.contains(nil) ? [] : parts.compactMap { $0 }
    }

    func run() async throws {
        let target = try await BenchTarget.connect(to: address, viaRouter: viaRouter, connections: counts.max() ?? 1)
        print(
            """
            \(MachineLine.text)
            \(viaRouter ? "through the nodes' routers" : "straight to the leaders"), \(seconds) s a line, \
            documents of 1 KiB, insertMany of \(batch), unordered

            """)
        var table = Table(
            [
                "workload", "connections", "operations/s", "documents/s", "p50 ms", "p95 ms", "p99 ms", "p99.9 ms",
                "errors",
            ],
            numbers: Set(1...8))
        var rows: [String] = []
        do {
            let usesStones = workloads.contains { $0 != .command }
            if usesStones { try await target.prepare(documents: documents, keepsCollection: keep) }
            for workload in workloads {
                let load = try load(of: workload)
                for count in counts {
                    let result = try await target.measure(
                        load, connections: count, perConnection: perConnection, duration: .seconds(seconds))
                    let label = perConnection == 1 ? "\(count)" : "\(count)x\(perConnection)"
                    table.add(result.cells(workload: workload.rawValue, connections: label))
                    rows.append(result.json(workload: workload.rawValue, connections: label))
                    print("\r\(workload.rawValue) with \(label): \(Int(result.documentsPerSecond)) documents/s        ")
                }
            }
            try await target.finish(keepsCollection: keep || !usesStones)
        } catch {
            print("cairn bench: \(error)")
            throw ExitCode(1)
        }
        print("\n" + table.text)
        if json {
            print(#"{"bench": "cairn", "machine": "\#(MachineLine.text)", "rows": [\#(rows.joined(separator: ", "))]}"#)
        }
    }

    private func load(of workload: Workload) throws -> BenchLoad {
        switch workload {
        case .insert: .insert
        case .insertMany: .insertMany(batch: batch)
        case .read: .read(documents: documents)
        case .update: .update(documents: documents)
        case .command: .command(try BenchCommand(database: database, text: command ?? ""))
        }
    }
}
