import CairnBSON
import CairnClient
import Foundation

/// One client of a workload: it makes one call after another and remembers how each went.
///
/// Those with even numbers share the process's client, which knows all nodes and stays for the whole run. The others have
/// one of their own that is told of a single node, and look for another when a call has failed.
final class WorkloadClient {
    static let database = "faults"
    /// Of one operation, elections included.
    static let timeout = Duration.seconds(6)
    /// No call takes so much longer than its time-out, however busy the machine is.
    private static let overtimeMax = 15.0
    private static let duplicateKey: Int32 = 11000

    let name: String
    var random: SeededGenerator
    private let assignment: Assignment
    private let recorder: HistoryRecorder
    private let shared: CairnClient?
    private var own: CairnClient?
    /// Which of the nodes it is told of.
    private var place: Int
    private var count = 0

    init(number: Int, assignment: Assignment, shared: CairnClient) throws {
        name = "\(assignment.workload)\(number)"
        random = SeededGenerator(seed: "\(assignment.seed) \(name)")
        self.assignment = assignment
        self.shared = number.isMultiple(of: 2) ? shared : nil
        recorder = try HistoryRecorder(path: "\(assignment.folder)/\(assignment.workload)-\(number).jsonl")
        place = number
    }

    /// The collection bears the workload's name.
    var collectionName: String { assignment.workload }

    /// A value that no client has used before.
    func fresh() -> String {
        count += 1
        return "\(name).\(count)"
    }

    /// Makes a call and writes down how it went. Returns its answer, or nil when there is none.
    ///
    /// - Parameter isOneStatement: whether a refusal is one of everything that was asked for.
    @discardableResult
    func record(
        _ operation: String, key: String, argument: HistoryValue = .none, isOneStatement: Bool = true,
        _ call: (Collection<Document>) async throws(ClientError) -> HistoryValue
    ) async throws -> HistoryValue? {
        let began = monotonicSeconds()
        var entry = Operation(
            client: name, name: operation, key: key, argument: argument, result: .none, outcome: .ok, began: began,
            ended: began, error: "")
        var wasSent = false
        do throws(ClientError) {
            let client = try await client()
            wasSent = true
            entry.result = try await call(client.database(Self.database).collection(collectionName))
        } catch {
            if error.code == .coding { throw Mistake("\(operation) \(key): \(error)") }
            // The client repeats a write under one number, so one that finds its own document does not fail. Any other error
            // may be that of a repetition and says nothing about the try before it.
            let isRefused = error.serverCode == Self.duplicateKey && isOneStatement
            entry.outcome = !wasSent || isRefused ? .failed : .unknown
            entry.error = "\(error.serverCode.map { "\($0) " } ?? "")\(error.message.prefix(120))"
        }
        entry.ended = monotonicSeconds()
        try recorder.write(entry)
        let seconds = entry.ended - began
        guard seconds < Double(Self.timeout.components.seconds) + Self.overtimeMax else {
            throw Mistake("\(operation) \(key) took \(seconds) s, and had \(Self.timeout)")
        }
        if entry.outcome == .ok { return entry.result }
        // A refusal is an answer like any other.
        if wasSent, entry.outcome == .failed { return nil }
        if shared == nil { await lookElsewhere() }
        try await Task.sleep(for: .milliseconds(50))
        return nil
    }

    func close() async throws {
        await own?.close()
        try recorder.close()
    }

    private func client() async throws(ClientError) -> CairnClient {
        if let ready = shared ?? own { return ready }
        let addresses: [String]
        do { addresses = try assignment.addresses() } catch { throw ClientError(.coding, "no addresses: \(error)") }
        let client = try await CairnClient.connect(to: "mongodb://\(addresses[place % addresses.count])/")
        own = client
        return client
    }

    private func lookElsewhere() async {
        place += 1
        await own?.close()
        own = nil
    }
}

/// SplitMix64, seeded by a text: the same numbers for the same run.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: String) {
        // FNV-1a.
        state = seed.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
