import CairnRaft
import CairnReplication

/// Watches what all nodes say and do, and says when a promise of Raft is broken.
///
/// - Election safety: a term has one leader, and a node one vote in it, over restarts too.
/// - Terms never go back: what a node has shown in a message it knows after a restart.
/// - State machine safety: an index holds one entry, whoever applies it; each life applies each entry once and in order.
/// - Leader completeness, as far as it shows: a new leader's log reaches at least as far as anyone has applied.
final class ClusterSafety {
    private struct Seat: Hashable {
        let group: GroupID
        let term: Term
    }
    private struct Ballot: Hashable {
        let group: GroupID
        let term: Term
        let voter: NodeID
    }
    private struct Place: Hashable {
        let group: GroupID
        let node: NodeID
    }
    private struct Applied {
        let term: Term
        let kind: Entry.Kind
        let hash: UInt64
        let node: NodeID
    }

    private unowned let simulation: Simulation
    private var leaders: [Seat: NodeID] = [:]
    private var votes: [Ballot: NodeID] = [:]
    private var shownTerms: [Place: Term] = [:]
    private var entries: [GroupID: [LogIndex: Applied]] = [:]
    private(set) var lastApplied: [GroupID: LogIndex] = [:]
    private var newLeaders: [Place] = []
    private(set) var entriesApplied = 0

    init(simulation: Simulation) { self.simulation = simulation }

    // MARK: Entries

    func observe(applied new: ArraySlice<Entry>, of group: GroupID, on node: NodeID, behind before: LogIndex) {
        var expected = before.next
        for entry in new {
            guard entry.index == expected else {
                return simulation.fail(
                    "\(node) \(group) is given entry \(entry.index) to apply, \(before) was the last")
            }
            expected = expected.next
            entriesApplied += 1
            var hash: UInt64 = 0xCBF2_9CE4_8422_2325
            entry.payload.withUnsafeBytes { bytes in
                for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
            }
            if let known = entries[group]?[entry.index] {
                guard known.term == entry.term, known.kind == entry.kind, known.hash == hash else {
                    return simulation.fail(
                        "state machine safety: entry \(entry.index) of \(group) is of term \(known.term) on \(known.node) and of \(entry.term) on \(node)"
                    )
                }
            } else {
                entries[group, default: [:]][entry.index] =
                    Applied(term: entry.term, kind: entry.kind, hash: hash, node: node)
                lastApplied[group] = max(lastApplied[group] ?? .zero, entry.index)
                simulation.note("apply", UInt64(group.rawValue), entry.index.rawValue, hash)
            }
        }
    }

    // MARK: Leaders

    func observe(_ role: ReplicaRole, of group: GroupID, on node: NodeID) {
        guard case .leader(let term) = role else { return }
        simulation.trace("\(node) leads \(group) in term \(term)")
        simulation.note("leader", node.rawValue, UInt64(group.rawValue), term.rawValue)
        let other = leaders.updateValue(node, forKey: Seat(group: group, term: term))
        if let other, other != node {
            simulation.fail("election safety: \(other) and \(node) lead \(group) in term \(term)")
        }
        newLeaders.append(Place(group: group, node: node))
    }

    /// Looks at a host when its turn is over.
    func check(_ host: GroupHost, of node: NodeID, _ groups: [GroupID]) {
        guard !newLeaders.isEmpty else { return }
        for place in newLeaders where place.node == node {
            guard let status = host.status(of: place.group), status.role.isLeader else { continue }
            if status.lastLogIndex < lastApplied[place.group] ?? .zero {
                simulation.fail(
                    "leader completeness: \(node) leads \(place.group) with a log to \(status.lastLogIndex), others have applied \(lastApplied[place.group]!)"
                )
            }
        }
        newLeaders.removeAll { $0.node == node }
    }

    // MARK: Messages

    /// What a message shows must be known to its sender for good.
    func observe(_ frame: [UInt8], from node: NodeID, to peer: NodeID, over channel: PeerChannel) {
        guard channel == .raft, let messages = try? PeerCodec.messages(in: frame[...], cluster: 42) else { return }
        for message in messages {
            guard let shown = ShownMessage(message.bytes) else { continue }
            let place = Place(group: message.group, node: node)
            if shown.term < shownTerms[place] ?? .zero, simulation.machine(node).isUp {
                // A message of an earlier term may have waited for the disk; a node in an earlier term may not.
                if let known = simulation.machine(node).process?.host?.status(of: message.group)?.term,
                    known < shownTerms[place]!
                {
                    simulation.fail(
                        "\(node) is in term \(known) of \(message.group) after it showed \(shownTerms[place]!)"
                    )
                }
            }
            shownTerms[place] = max(shownTerms[place] ?? .zero, shown.term)
            guard let candidate = shown.vote(sender: node, receiver: peer) else { continue }
            let ballot = Ballot(group: message.group, term: shown.term, voter: node)
            let other = votes.updateValue(candidate, forKey: ballot)
            if let other, other != candidate {
                simulation.fail(
                    "\(node) voted for \(other) and \(candidate) in term \(shown.term) of \(message.group)")
            }
        }
    }

    /// A replica left its node, and its promises went with it: when it comes back, it comes without a vote.
    func forget(_ group: GroupID, on node: NodeID) { shownTerms[Place(group: group, node: node)] = nil }
}

/// The little of a Raft message that the witness needs, read from its bytes: kind, term, and whether it is a vote.
private struct ShownMessage {
    private enum Kind: UInt8 { case voteRequest = 2, voteResponse = 3 }
    private static let raftKinds: ClosedRange<UInt8> = 0...13

    let term: Term
    private let kind: UInt8
    private let isGranted: Bool

    init?(_ bytes: ArraySlice<UInt8>) {
        guard let kind = bytes.first, Self.raftKinds.contains(kind), bytes.count >= 9 else { return nil }
        let start = bytes.startIndex
        self.kind = kind
        term = Term((0..<8).reduce(0) { $0 | UInt64(bytes[start + 1 + $1]) << (8 * UInt64($1)) })
        isGranted = kind == Kind.voteResponse.rawValue && bytes.count >= 10 && bytes[start + 9] == 1
    }

    func vote(sender: NodeID, receiver: NodeID) -> NodeID? {
        switch Kind(rawValue: kind) {
        case .voteRequest: sender
        case .voteResponse: isGranted ? receiver : nil
        case nil: nil
        }
    }
}
