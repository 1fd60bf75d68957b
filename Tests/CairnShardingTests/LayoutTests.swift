import CairnQuery
import CairnRaft
import CairnReplication
import CairnSharding
import CairnTestSupport
import Testing

@Suite("The cluster's layout and its changes")
struct LayoutTests {
    private func description(_ number: UInt64) -> NodeDescription {
        NodeDescription(
            id: NodeID(number), clientAddress: "n\(number):27017", peerAddress: "n\(number):27117",
            httpAddress: "n\(number):28017")
    }

    private func layout(nodes: Int, groups: Int = 6, replicas: Int = 3) -> ClusterLayout {
        ClusterLayout.spread(nodes: (1...nodes).map { description(UInt64($0)) }, dataGroups: groups, replicas: replicas)
    }

    private func adding(_ number: UInt64) -> LayoutChange {
        .add(
            clientAddress: "n\(number):27017", peerAddress: "n\(number):27117", httpAddress: "n\(number):28017")
    }

    private func replicas(_ layout: ClusterLayout) -> [NodeID: Int] {
        Dictionary(layout.groups.flatMap { $0.voters.map { ($0, 1) } }, uniquingKeysWith: +)
    }

    private func leads(_ layout: ClusterLayout) -> [NodeID: Int] {
        Dictionary(layout.groups.map { ($0.preferredLeader, 1) }, uniquingKeysWith: +)
    }

    private func moves(_ from: ClusterLayout, _ to: ClusterLayout) -> Int {
        zip(from.groups, to.groups).reduce(0) { $0 + Set($1.1.voters).subtracting($1.0.voters).count }
    }

    @Test func aNodeThatJoinsGetsItsShareAndNothingElseMoves() throws {
        let before = layout(nodes: 3)
        let after = try before.applying(adding(4))
        #expect(after.version == 1 && after.nodes.map(\.id.rawValue) == [1, 2, 3, 4] && after.nextNode == 5)
        #expect(replicas(after)[NodeID(4)] == 5, "21 replicas over four nodes")
        #expect(moves(before, after) == 5)
        #expect(after.groups.map(\.founders) == before.groups.map(\.voters))
        #expect(leads(after).values.max()! - leads(after).values.min()! <= 1)
    }

    @Test func aLeaderIsMovedAndNothingElse() throws {
        let before = layout(nodes: 4)
        let group = before.groups[2]
        let target = try #require(group.voters.first { $0 != group.preferredLeader })
        let after = try before.applying(.lead(group.id, target))
        #expect(after.version == 1 && after.group(group.id)?.preferredLeader == target)
        #expect(zip(before.groups, after.groups).count { $0 != $1 } == 1 && moves(before, after) == 0)
        #expect(try after.applying(.lead(group.id, target)) == after, "it leads already")
        let stranger = try #require((1...4).map { NodeID(UInt64($0)) }.first { !group.voters.contains($0) })
        for (group, node, words) in [
            (group.id, stranger, "has no replica"), (GroupID(99), target, "no group 99"),
            (group.id, NodeID(9), "no node 9"),
        ] {
            let error = #expect(throws: QueryError.self) { try before.applying(.lead(group, node)) }
            #expect(error?.message.contains(words) == true)
        }
    }

    @Test func A53_aSurvivorIsAloneAndGetsItsCopiesBackNodeByNode() throws {
        let before = try layout(nodes: 3).applying(adding(4)).applying(.drain(NodeID(1)))
        #expect(before.recovered(on: NodeID(9)) == nil)
        let alone = try #require(before.recovered(on: NodeID(3)))
        #expect(alone.nodes.map(\.id) == [NodeID(3)] && alone.replicas == 3 && alone.nextNode == 5)
        #expect(alone.groups.allSatisfy { $0.voters == [NodeID(3)] && $0.preferredLeader == NodeID(3) })
        #expect(alone.groups.map(\.founders) == before.groups.map(\.founders))
        #expect(alone.version > before.version + 1_000_000, "whatever the lost nodes agreed on is older")
        #expect(throws: QueryError.self) { try alone.applying(.drain(NodeID(3))) }
        let two = try alone.applying(adding(5))
        #expect(two.groups.allSatisfy { $0.voters == [NodeID(3), NodeID(5)] })
        #expect(throws: QueryError.self) { try two.applying(.drain(NodeID(3))) }
        let three = try two.applying(adding(6))
        #expect(three.groups.allSatisfy { $0.voters.map(\.rawValue) == [3, 5, 6] })
        #expect(leads(three).values.max()! - leads(three).values.min()! <= 1)
        let again = try #require(three.recovered(on: NodeID(5)))
        #expect(again.version > three.version && again.version >> 32 == 2)
    }

    @Test func addingTheSameNodeAgainChangesNothing() throws {
        let once = try layout(nodes: 3).applying(adding(4))
        #expect(try once.applying(adding(4)) == once)
        #expect(throws: QueryError.self) {
            try once.applying(.add(clientAddress: "n4:27017", peerAddress: "n5:1", httpAddress: "n5:2"))
        }
    }

    @Test func aDrainedNodeHoldsNothingAndItsNumberIsNotGivenAgain() throws {
        let four = try layout(nodes: 3).applying(adding(4))
        let drained = try four.applying(.drain(NodeID(2)))
        #expect(replicas(drained)[NodeID(2)] == nil && leads(drained)[NodeID(2)] == nil)
        #expect(replicas(drained).values.allSatisfy { $0 == 7 })
        let removed = try drained.applying(.remove(NodeID(2)))
        #expect(removed.node(NodeID(2)) == nil)
        #expect(try removed.applying(adding(9)).nodes.map(\.id.rawValue) == [1, 3, 4, 5])
    }

    @Test func aClusterThatCouldNotKeepItsReplicasRefuses() throws {
        let three = layout(nodes: 3)
        #expect(throws: QueryError.self) { try three.applying(.drain(NodeID(1))) }
        #expect(throws: QueryError.self) { try three.applying(.markLost(NodeID(1))) }
        #expect(throws: QueryError.self, "it is in use") { try three.applying(.remove(NodeID(1))) }
        #expect(throws: QueryError.self) { try three.applying(.drain(NodeID(7))) }
    }

    @Test func aLostNodeIsTakenBackAndADrainedOneIsNotCalledLost() throws {
        let four = layout(nodes: 4)
        let lost = try four.applying(.markLost(NodeID(3)))
        #expect(lost.node(NodeID(3))?.state == .lost && replicas(lost)[NodeID(3)] == nil)
        let back = try lost.applying(.activate(NodeID(3)))
        #expect(replicas(back)[NodeID(3)] != nil)
        let drained = try four.applying(.drain(NodeID(3)))
        #expect(try drained.applying(.markLost(NodeID(3))) == drained)
    }

    @Test func aNodeIsReplacedByAnother() throws {
        let four = try layout(nodes: 3).applying(adding(4)).applying(.drain(NodeID(4)))
        #expect(throws: QueryError.self, "a draining node takes nothing") {
            try four.applying(.replace(NodeID(1), with: NodeID(4)))
        }
        let active = try four.applying(.activate(NodeID(4)))
        let replaced = try active.applying(.replace(NodeID(1), with: NodeID(4)))
        #expect(replicas(replaced) == [NodeID(2): 7, NodeID(3): 7, NodeID(4): 7])
        #expect(replaced.node(NodeID(1))?.state == .draining)
    }

    @Test(arguments: 1...UInt64(100))
    func anyChangesLeaveEveryGroupWholeAndEven(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let replicaCount = [1, 3, 5][Int.random(in: 0..<3, using: &random)]
        var current = layout(
            nodes: replicaCount + Int.random(in: 0..<4, using: &random), groups: Int.random(in: 1...40, using: &random),
            replicas: replicaCount)
        for step in 0..<30 {
            let number = UInt64.random(in: 1..<current.nextNode, using: &random)
            let id = NodeID(number)
            let change: LayoutChange =
                switch Int.random(in: 0..<6, using: &random) {
                case 0: adding(current.nextNode)
                case 1: .drain(id)
                case 2: .activate(id)
                case 3: .markLost(id)
                case 4: .remove(id)
                default: .replace(id, with: NodeID(UInt64.random(in: 1..<current.nextNode, using: &random)))
                }
            guard let next = try? current.applying(change) else { continue }
            let active = Set(next.nodes.filter { $0.state == .active }.map(\.id))
            for group in next.groups {
                #expect(Set(group.voters).count == replicaCount, "seed \(seed), step \(step), \(change)")
                #expect(active.isSuperset(of: group.voters) && group.voters.contains(group.preferredLeader))
            }
            let load = active.map { replicas(next)[$0] ?? 0 }
            #expect(next == current || load.max()! - load.min()! <= 1, "seed \(seed), step \(step), \(change): \(load)")
            #expect(ClusterLayout(document: next.document) == next)
            current = next
        }
    }

    /// A node that carried out `cairn node add` told its gateway of the new node before it had a connection to it, and never again:
    /// whatever the new node came to lead was out of reach from there.
    @Test @MainActor func aRouterGoesByItsOwnChangeOnlyWhenItsOwnerSaysSo() async throws {
        let cluster = try TestCluster(groups: 2)
        let changed = try await cluster.changeLayout(adding(2))
        #expect(changed.version == 1 && changed.nodes.count == 2)
        #expect(cluster.adopted.isEmpty && cluster.routers[0].layout.version == 0)
        cluster.routers[0].adopt(changed)
        #expect(cluster.adopted == [1] && cluster.routers[0].layout == changed)
    }
}
