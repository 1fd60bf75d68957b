import CairnBSON
import CairnDatabase
import CairnQuery
import CairnRaft
import CairnReplication
import Testing

@testable import CairnSharding

@Suite("Slots, maps, layouts")
struct ShardingTests {
    @Test func hashSlotsAreEvenOverSequentialKeys() {
        for groups in [2, 6, 7] {
            let chunks = ShardMap.spread(over: (1...UInt32(groups)).map { $0 })
            #expect(chunks.first?.slots.lower == 0 && chunks.last?.slots.upper == HashSlot.count)
            let descriptor = CollectionDescriptor(
                id: CollectionID(100), uuid: [UInt8](repeating: 0, count: 16), database: "d", name: "c", chunks: chunks)
            var counts = [UInt32: Int]()
            let total = 30_000
            for number in 0..<total {
                counts[Targeting.group(of: .int32(Int32(number)), in: descriptor), default: 0] += 1
            }
            for (group, count) in counts {
                let share = Double(count) * Double(groups) / Double(total)
                #expect((0.94...1.06).contains(share), "group \(group) of \(groups): \(share)")
            }
        }
    }

    @Test func C24_valuesThatCompareEqualShareASlot() {
        let ones: [Value] = [.int32(1), .int64(1), .double(1), .decimal128(Decimal128("1.00")!)]
        #expect(Set(ones.map { HashSlot.slot(of: $0) }).count == 1)
        #expect(HashSlot.slot(of: .double(-0.0)) == HashSlot.slot(of: .int32(0)))
    }

    @Test func targetingFindsTheIDAndNothingElse() throws {
        #expect(try Targeting.id(in: ["_id": 5], nil) == 5)
        #expect(try Targeting.id(in: ["_id": ["$eq": 5], "x": 1], nil) == 5)
        #expect(try Targeting.id(in: ["_id": ["a": 5]], nil) == ["a": 5])
        #expect(try Targeting.id(in: ["_id": ["$gt": 5]], nil) == nil)
        #expect(try Targeting.id(in: ["x": 5], nil) == nil)
        #expect(try Targeting.id(in: ["$or": [["_id": 5], ["_id": 6]]], nil) == nil)
        #expect(try Targeting.id(in: ["_id": .regex(RegularExpression(pattern: "a"))], nil) == nil)
        let chunks = ShardMap.spread(over: [1, 2, 3])
        let descriptor = CollectionDescriptor(
            id: CollectionID(100), uuid: [UInt8](repeating: 0, count: 16), database: "d", name: "c", chunks: chunks)
        #expect(try Targeting.groups(for: ["x": 1], in: descriptor, nil) == [1, 2, 3])
        #expect(try Targeting.groups(for: ["_id": 1], in: descriptor, nil).count == 1)
        #expect(try Targeting.groups(for: ["_id": ["$in": []]], in: descriptor, nil).count == 1)
        let loose = Collation(strength: 1)
        #expect(try Targeting.id(in: ["_id": "a"], loose) == nil, "it means several")
        #expect(try Targeting.id(in: ["_id": 5], loose) == 5)
        #expect(try Targeting.groups(for: ["_id": "a"], in: descriptor, loose) == [1, 2, 3])
    }

    @Test func leadersAreSpreadOverTheNodes() {
        let nodes = (1...3).map { number in
            NodeDescription(
                id: NodeID(rawValue: UInt64(number)), clientAddress: "", peerAddress: "", httpAddress: "")
        }
        let layout = ClusterLayout.spread(nodes: nodes, dataGroups: 6, replicas: 3)
        #expect(layout.dataGroups.count == 6)
        var leaders: [NodeID: Int] = [:]
        for group in layout.groups where group.id != .meta {
            #expect(group.voters.count == 3)
            leaders[group.preferredLeader, default: 0] += 1
        }
        #expect(leaders.values.allSatisfy { $0 == 2 })
    }

    @Test func hintsLearnAndForget() {
        let nodes = (1...3).map { number in
            NodeDescription(
                id: NodeID(rawValue: UInt64(number)), clientAddress: "", peerAddress: "", httpAddress: "")
        }
        let layout = ClusterLayout.spread(nodes: nodes, dataGroups: 1, replicas: 3)
        var hints = LeaderHints(layout: layout)
        let group = GroupID(1)
        hints.note(leader: NodeID(rawValue: 3), of: group)
        #expect(hints.node(leading: group) == NodeID(rawValue: 3))
        hints.note(leader: NodeID(rawValue: 9), of: group)
        #expect(hints.node(leading: group) == NodeID(rawValue: 3), "a node that is no voter cannot lead")
        var asked: Set<NodeID> = []
        for _ in 0..<3 {
            let node = hints.node(leading: group)!
            asked.insert(node)
            hints.doubt(node, of: group)
        }
        #expect(asked.count == 3, "every voter is asked in turn")
    }

    @Test func catalogEntriesSurviveTheirDocuments() throws {
        let descriptor = CollectionDescriptor(
            id: CollectionID(100), uuid: Array(0..<16), database: "d", name: "c", epoch: 5,
            chunks: ShardMap.whole(in: ShardMap.nobody))
        let entry = CatalogEntry(
            descriptor, state: .moving, since: 77, restore: ShardMap.spread(over: [1, 2, 3]))
        let read = try CatalogEntry(entry.document)
        #expect(read.descriptor == descriptor && read.state == .moving && read.since == 77)
        #expect(read.restore == ShardMap.spread(over: [1, 2, 3]))
        #expect(entry.document["ns"] == "d.c")
        #expect(CatalogEntry(descriptor, state: .dropping, since: 1).document["ns"] != "d.c")
    }
}
