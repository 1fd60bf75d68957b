import CairnRaft
import CairnReplication
import CairnSharding

/// A group's state machine with a witness beside it.
final class ObservedGroup: ReplicatedStateMachine {
    private let group: DataGroup
    private let node: NodeID
    private unowned let simulation: Simulation

    init(_ group: DataGroup, on node: NodeID, simulation: Simulation) {
        self.group = group
        self.node = node
        self.simulation = simulation
    }

    var appliedIndex: LogIndex { group.appliedIndex }
    var appliedTerm: Term { group.appliedTerm }
    var appliedConfiguration: [UInt8]? { group.appliedConfiguration }
    var durableIndex: LogIndex { group.durableIndex }
    var damage: String? { group.damage }

    func noteDamage() throws { try group.noteDamage() }

    func apply(_ entries: ArraySlice<Entry>) throws {
        let before = group.appliedIndex
        defer { simulation.safety.observe(applied: entries, of: group.group, on: node, behind: before) }
        try group.apply(entries)
    }

    func roleDidChange(_ role: ReplicaRole) {
        simulation.safety.observe(role, of: group.group, on: node)
        group.roleDidChange(role)
    }

    func checkpoint(into directory: String) throws -> LogIndex { try group.checkpoint(into: directory) }
    func install(from directory: String) throws { try group.install(from: directory) }
    func advanceDurability() { group.advanceDurability() }
}
