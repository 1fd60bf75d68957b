import CairnClient
import Foundation

/// A process of `scripts/faults` whose clients reach the cluster through `CairnClient`, as the rig's own reach it through a
/// driver.
///
/// It is told what to do by the first line of its standard input (``Assignment``), and goes on until that ends, so that it
/// never outlives the run. Each client writes what it did to a history of its own, in the form in which the rig's checkers
/// read every history. What goes wrong with the program itself ends it with exit code 1 and a sentence.
@main struct FaultWorkload {
    static func main() async {
        do {
            guard let line = readLine(strippingNewline: true) else { throw Mistake("nobody said what to do") }
            let assignment = try JSONDecoder().decode(Assignment.self, from: Data(line.utf8))
            guard let workload = WorkloadName(rawValue: assignment.workload) else {
                throw Mistake("there is no workload '\(assignment.workload)'")
            }
            let end = EndOfInput()
            Thread.detachNewThread { end.wait() }
            try await run(workload, assignment, until: end)
        } catch {
            print("fault-workload: \(error)")
            exit(1)
        }
    }

    private static func run(
        _ workload: WorkloadName, _ assignment: Assignment, until end: EndOfInput
    ) async throws {
        // Kept from the first fault to the last: it has to find its way by itself.
        let shared = try await CairnClient.connect(to: try assignment.addresses().joined(separator: ","))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<workload.clientCount {
                group.addTask {
                    let client = try WorkloadClient(number: number, assignment: assignment, shared: shared)
                    var actions = workload.actions()
                    while !end.isReached {
                        try await actions.act(client, elapsed: monotonicSeconds() - assignment.began)
                        // So that the clients leave the processors to the nodes.
                        try await Task.sleep(for: .milliseconds(4))
                    }
                    try await client.close()
                }
            }
            try await group.waitForAll()
        }
        await shared.close()
    }
}

/// What the rig says at the beginning.
struct Assignment: Decodable, Sendable {
    var workload: String
    /// Where the histories belong, and the file `addresses` with the nodes that there are.
    var folder: String
    var seed: Int
    /// When the run's clients began, in seconds of the machine's monotonic clock.
    var began: Double

    /// Of the nodes that there are now: nodes come and go.
    func addresses() throws -> [String] {
        let file = URL(fileURLWithPath: folder).appendingPathComponent("addresses")
        return try JSONDecoder().decode([String].self, from: Data(contentsOf: file))
    }
}

/// A mistake of the rig's or the program's own, which says nothing about the cluster.
struct Mistake: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
