import CairnBSON
import CairnRaft
import CairnReplication
import CairnSharding
import CairnStorage
import CairnTestSupport

/// What has to be true when everything is at rest.
extension Simulation {
    private static let answerLimit: UInt64 = 10_000_000_000

    func verify() {
        checkContents()
        if violation == nil { readEverything() }
        if violation == nil { checkLedger() }
        if violation == nil { checkIndexes() }
        if violation == nil { checkHistories() }
    }

    /// Replicas that applied the same hold the same, byte for byte.
    private func checkContents() {
        for description in firstLayout.groups {
            let replicas = replicas(of: description.id)
            var expected: (node: NodeID, status: ReplicaStatus, contents: TabletContents)?
            for replica in replicas {
                let found: TabletContents
                do { found = try contents(of: replica.group) } catch {
                    // Damage that nobody has met yet.
                    if machine(replica.node).isRotten { continue }
                    return fail("\(description.id) on \(replica.node) cannot be read: \(error)")
                }
                guard let (node, status, contents) = expected else {
                    expected = (replica.node, replica.status, found)
                    note("contents", UInt64(description.id.rawValue), found.hash)
                    continue
                }
                if replica.status.appliedIndex == status.appliedIndex, found != contents {
                    return fail("\(description.id) has \(found) on \(replica.node), \(contents) on \(node)")
                }
                if replica.status.voters != status.voters {
                    return fail(
                        "\(description.id) has the members \(replica.status.voters) on \(replica.node), \(status.voters) on \(node)"
                    )
                }
            }
            if expected == nil { return fail("\(description.id) has no whole replica") }
        }
    }

    private func contents(of group: DataGroup) throws -> TabletContents {
        var contents = TabletContents()
        let iterator = try group.database.engine.makeIterator()
        try iterator.seekToFirst()
        while iterator.isValid {
            contents.add(iterator.key, iterator.value)
            try iterator.next()
        }
        return contents
    }

    /// The last operations of each history: what everyone can see now.
    private func readEverything() {
        var left = 0
        func read(_ make: @escaping () -> ClientOperation) {
            left += 1
            workload.perform(make()) { [unowned self] answered in
                left -= 1
                if !answered { schedule(after: 20_000_000) { read(make) } }
            }
        }
        let workload = workload!
        for key in 0..<Int(Workload.keys) {
            read { ClientOperation(RegisterModel.Input.read, key, client: 98, workload) }
            read { ClientOperation(CounterModel.Input.read, key, client: 98, workload) }
            read { ClientOperation(ListModel.Input.read, key, client: 98, workload) }
        }
        if !pump(limit: Self.answerLimit, until: { left == 0 }) {
            fail("liveness: a key cannot be read\n\(description)")
        }
    }

    private func ask(_ body: Document) -> Document? {
        for _ in 0..<10 {
            var reply: Document??
            workload.ask(body) { reply = $0 }
            guard pump(limit: Self.answerLimit, until: { reply != nil }) else { break }
            if let document = reply!, document["ok"] == 1.0 { return document }
            trace("\(body) → \(reply!.map { "\($0)" } ?? "nothing")")
            pump(until: now + 100_000_000)
        }
        fail("liveness: no answer to \(body)\n\(description)")
        return nil
    }

    /// Every acknowledged insert is there, once; nothing is there that nobody sent.
    private func checkLedger() {
        guard let reply = ask(["find": .string(BSONString(Workload.ledger)), "batchSize": 100_000]) else { return }
        let documents = reply["cursor"]?.asDocument?["firstBatch"]?.asArray ?? []
        var found: Set<Int> = []
        for document in documents {
            guard let id = document.asDocument?["_id"]?.int64Exactly.map({ Int($0) }),
                workload.ledgerEntries[id] != nil
            else { return fail("ledger: nobody sent \(document)") }
            if !found.insert(id).inserted { return fail("ledger: document \(id) is there twice") }
        }
        for (id, answer) in workload.ledgerEntries.sorted(by: { $0.key < $1.key }) where answer == true {
            if !found.contains(id) { return fail("ledger: acknowledged document \(id) is lost") }
        }
    }

    private func checkIndexes() {
        guard let reply = ask(["validate": .string(BSONString(Workload.registers))]) else { return }
        if reply["valid"] != true { fail("index entries and documents do not agree: \(reply)") }
    }

    private func checkHistories() {
        var undecided = 0
        func judge(_ name: String, _ result: (violation: String?, undecided: Int)) {
            undecided += result.undecided
            if let violation = result.violation { fail("\(name): \(violation)") }
        }
        judge(Workload.registers, workload.registerHistory.check(stepsMax: 200_000))
        judge(Workload.counters, workload.counterHistory.check(stepsMax: 200_000))
        judge(Workload.lists, workload.listHistory.check(stepsMax: 200_000))
        undecidedKeys = undecided
    }
}

/// A digest of everything that a tablet holds, in the order of its keys.
struct TabletContents: Hashable, CustomStringConvertible {
    private(set) var entries = 0
    private(set) var hash: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func add(_ key: ArraySlice<UInt8>, _ value: ArraySlice<UInt8>) {
        entries += 1
        mix(key)
        mix(value)
    }

    private mutating func mix(_ bytes: ArraySlice<UInt8>) {
        var hash = (hash ^ UInt64(bytes.count)) &* 0x0000_0100_0000_01B3
        bytes.withUnsafeBytes { for byte in $0 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 } }
        self.hash = hash
    }

    var description: String { "\(entries) entries with digest \(String(hash, radix: 16))" }
}
