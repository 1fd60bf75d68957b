import CairnBSON
import CairnDatabase
import CairnRaft
import CairnReplication
import CairnSharding
import CairnSimulator
import Testing

@Suite("Documents whose time is over")
struct ExpiryPassTests {
    private let clock = TestClock()
    private let disk = SimulatedFileSystem(seed: 1)
    private let collection = CollectionID(100)

    /// A leader with an index that deletes ten seconds after `t`.
    private func makeGroup() throws -> TestGroup {
        let group = try TestGroup(GroupID(1), node: NodeID(rawValue: 1), clock: clock, disk: disk)
        try group.becomeLeader()
        let index = IndexDescriptor(
            id: IndexID(1), name: "t_1", key: ["t": 1], options: ["expireAfterSeconds": .int64(10)])
        let descriptor = CollectionDescriptor(
            id: collection, uuid: Array(0..<16), database: "d", name: "c", indexes: [index], placement: .single,
            chunks: [Chunk(.all, group: 1)])
        try answer(
            GroupRequest(.installDescriptor, collection: collection, epoch: 1, body: descriptor.document), of: group)
        return group
    }

    @discardableResult
    private func answer(_ request: GroupRequest, of group: TestGroup) throws -> GroupReply {
        var found: Result<GroupReply, GroupFailure>?
        group.replica.execute(request) { found = $0 }
        try group.settle()
        return try #require(found).get()
    }

    /// Documents of now, so many.
    private func insert(_ count: Int, into group: TestGroup) throws {
        let documents: [Document] = (0..<count).map {
            ["_id": .int32(Int32($0)), "t": .date(milliseconds: clock.wallMilliseconds)]
        }
        try answer(GroupRequest(.insert, collection: collection, epoch: 1, documents: documents), of: group)
    }

    private func count(in group: TestGroup) throws -> Value? {
        try answer(GroupRequest(.count, collection: collection, epoch: 1, body: ["query": [:]]), of: group).body["n"]
    }

    private func tick(_ group: TestGroup) throws {
        group.replica.tick()
        try group.settle()
    }

    @Test func theLeaderDeletesThemInStepsOfAPass() throws {
        let group = try makeGroup()
        try insert(2_500, into: group)
        try tick(group)
        #expect(try count(in: group) == 2_500, "they are not past yet")
        clock.advance(nanoseconds: 20_000_000_000)
        try tick(group)
        #expect(try count(in: group) == 2_500, "the next pass begins a minute after the last")
        clock.advance(nanoseconds: 60_000_000_000)
        let before = group.proposals
        try tick(group)
        #expect(try count(in: group) == 0)
        #expect(group.proposals >= before + 3, "no step takes more than a thousand")
    }

    @Test func aPassThatFindsNothingWritesNothing() throws {
        let group = try makeGroup()
        try insert(5, into: group)
        let before = group.proposals
        for _ in 0..<5 {
            try tick(group)
            clock.advance(nanoseconds: 1_000_000_000)
        }
        #expect(group.proposals == before)
    }

    @Test func itStopsWithTheOffice() throws {
        let group = try makeGroup()
        try insert(2_500, into: group)
        clock.advance(nanoseconds: 100_000_000_000)
        group.commits = false
        group.replica.tick()
        try group.turn()
        try group.loseOffice(losingEntries: true)
        group.commits = true
        for _ in 0..<3 {
            clock.advance(nanoseconds: 100_000_000_000)
            try tick(group)
        }
        try group.becomeLeader()
        #expect(try count(in: group) == 2_500, "what was proposed is lost, and a follower proposes nothing")
        clock.advance(nanoseconds: 100_000_000_000)
        try tick(group)
        #expect(try count(in: group) == 0)
    }
}
