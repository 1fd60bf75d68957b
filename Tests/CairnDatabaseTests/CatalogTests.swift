import CairnBSON
import CairnQuery
import CairnStorage
import Testing

@testable import CairnDatabase

@Suite struct CatalogTests {
    @Test func epochsAreCompared() throws {
        let group = try TestGroup()
        try group.lead()
        guard case .failure(.needsDescriptor(have: nil)) = try group.answer(group.request(.find)) else {
            Issue.record("nothing is installed")
            return
        }
        group.descriptor.epoch = 5
        try group.install()
        group.epoch = 6
        guard case .failure(.needsDescriptor(have: 5)) = try group.answer(group.request(.insert, [:], [["_id": 1]]))
        else {
            Issue.record("the group's copy is older")
            return
        }
        group.epoch = 4
        guard case .failure(.staleEpoch(current: 5)) = try group.answer(group.request(.find)) else {
            Issue.record("the sender is older")
            return
        }
        group.descriptor.epoch = 4
        try group.run(
            GroupRequest(.installDescriptor, collection: TestGroup.collection, body: group.descriptor.document))
        #expect(group.database.descriptor(of: TestGroup.collection)?.epoch == 5, "an older copy changes nothing")
    }

    @Test func C03_slotsOfOthersAreRefused() throws {
        let group = try TestGroup()
        let slot = Int(HashSlot.slot(of: "mine"))
        group.descriptor.chunks = [
            Chunk(SlotRange(0, slot), group: 2), Chunk(SlotRange(slot, slot + 1), group: 1),
            Chunk(SlotRange(slot + 1, HashSlot.count), group: 2),
        ]
        try group.start()
        try group.insert(["_id": "mine"])
        guard
            case .failure(.staleEpoch) = try group.answer(
                group.request(.insert, [:], [["_id": "mine too"], ["_id": "mine"]]))
        else {
            Issue.record("another group's slot was written")
            return
        }
        #expect(try group.find([:]) == [["_id": "mine"]])
        // A collection that nobody owns for the moment is neither read nor written.
        group.descriptor.epoch += 1
        group.descriptor.chunks = [Chunk(.all, group: .max)]
        try group.install()
        for request in [group.request(.find), group.request(.insert, [:], [["_id": "mine"]])] {
            guard case .failure(.staleEpoch) = try group.answer(request) else {
                Issue.record("\(request.operation) went through")
                return
            }
        }
        #expect(try group.run(group.request(.statistics)).body["count"] == 1)
    }

    @Test func aDroppedCollectionIsGoneAndStaysGone() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["a": 1])])
        for id in 0..<10 { try group.insert(["_id": Value(id), "a": 1]) }
        let cursor = try #require(try group.run(group.request(.find, ["batchSize": 1])).body["cursor"])
        try group.run(group.request(.dropCollection))
        try group.run(group.request(.dropCollection))
        #expect(try group.error(group.request(.getMore, ["cursor": cursor])).code == .queryPlanKilled)
        for request in [
            group.request(.find), group.request(.insert, [:], [["_id": 1]]),
            GroupRequest(.installDescriptor, collection: TestGroup.collection, body: group.descriptor.document),
        ] {
            guard case .failure(.droppedCollection) = try group.answer(request) else {
                Issue.record("\(request.operation) went through")
                return
            }
        }
        let lower = KeySpace.prefix(TestGroup.collection, .records)
        let iterator = try group.engine.makeIterator(
            lower: lower[...], upper: KeySpace.end(of: TestGroup.collection)[...])
        try iterator.seekToFirst()
        #expect(!iterator.isValid)
        try group.reopen()
        try group.lead(term: 2)
        guard case .failure(.droppedCollection) = try group.answer(group.request(.find)) else {
            Issue.record("the tombstone did not survive")
            return
        }
    }

    @Test func releaseTakesOnlyAnEmptyCollection() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 1])
        #expect(try group.run(group.request(.releaseIfEmpty)).body == ["released": false])
        try group.delete([:])
        #expect(try group.run(group.request(.releaseIfEmpty)).body == ["released": true])
        guard case .failure(.needsDescriptor(have: nil)) = try group.answer(group.request(.find)) else {
            Issue.record("still there")
            return
        }
    }

    @Test func aReadWaitsForADescriptorThatIsOnItsWay() throws {
        let group = try TestGroup()
        try group.lead()
        _ = group.evaluate(
            GroupRequest(.installDescriptor, collection: TestGroup.collection, body: group.descriptor.document))
        let read = group.evaluate(group.request(.find))
        guard case .again = read.outcome, read.restsOn > 0 else {
            Issue.record("the descriptor is proposed")
            return
        }
        #expect(try group.run(group.request(.find)).documents.isEmpty)
    }

    @Test func indexNumbersAreNotUsedTwice() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["a": 1])])
        try group.insert(["_id": 1, "a": 1])
        group.descriptor.epoch += 1
        group.descriptor.indexes = []
        try group.install()
        #expect(try group.plan(["a": 1]).stage == "COLLSCAN")
        group.descriptor.epoch += 1
        group.descriptor.indexes = [.on(1, ["a": 1])]
        let request = GroupRequest(
            .installDescriptor, collection: TestGroup.collection, body: group.descriptor.document)
        #expect(try group.error(request).code == .badValue)
    }

    @Test func statisticsCount() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["a": 1])])
        for id in 0..<4 { try group.insert(["_id": Value(id), "a": [1, 2]]) }
        let body = try group.run(group.request(.statistics)).body
        #expect(body["count"] == 4)
        #expect(body["size"] == Value(4 * (["_id": 0, "a": [1, 2]] as Document).byteCount))
        #expect(body["indexes"]?.asArray?[0]?.asDocument?["entries"] == 8)
    }
}

@Suite struct BuildIndexTests {
    func build(_ group: TestGroup, _ id: Int, steps: Int = 7) throws -> Int {
        var body: Document = ["index": Value(id), "steps": Value(steps)]
        for count in 1... {
            let reply = try group.run(group.request(.buildIndex, body)).body
            if reply["done"] == true { return count }
            body = ["index": Value(id), "steps": Value(steps), "resume": try #require(reply["resume"])]
        }
        return 0
    }

    @Test func anIndexIsUsedOnceItIsBuilt() throws {
        let group = try TestGroup()
        try group.start()
        for id in 0..<50 { try group.insert(["_id": Value(id), "a": Value(id % 5)]) }
        let version = group.database.appliedVersion
        try group.addIndex(.on(1, ["a": 1]))
        #expect(try group.plan(["a": 1]).stage == "COLLSCAN")
        // Writes between the steps are in it too.
        let first = try group.run(group.request(.buildIndex, ["index": 1, "steps": 10])).body
        #expect(first["done"] == false)
        for id in 50..<80 { try group.insert(["_id": Value(id), "a": Value(id % 5)]) }
        try group.delete(["_id": ["$in": [1, 2, 3, 40]]])
        try group.update(["a": 4], ["$set": ["a": 100]], ["multi": true])
        #expect(try build(group, 1) > 5)
        #expect(try group.plan(["a": 1]).index == "a_1")
        #expect(try group.find(["a": 1]).count == group.find(["a": 1], ["hint": ["$natural": 1]]).count)
        try group.validate()
        var old = group.request(.find, ["filter": ["a": 4]])
        old.readVersion = version
        #expect(try group.run(old).documents.count == 10, "a reader of before the build does not use it")
        let again = try group.run(group.request(.buildIndex, ["index": 1])).body
        #expect(again["done"] == true)
    }

    @Test func anIndexOnAnEmptyCollectionIsReadyAtOnce() throws {
        let group = try TestGroup()
        try group.start()
        try group.addIndex(.on(1, ["a": 1]))
        #expect(try group.plan(["a": 1]).index == "a_1")
    }

    @Test(arguments: [1, 3, 100])
    func C20_aUniqueBuildFindsDuplicates(steps: Int) throws {
        let group = try TestGroup()
        try group.start()
        for id in 0..<30 { try group.insert(["_id": Value(id), "a": Value(id == 29 ? 4 : id)]) }
        try group.addIndex(.on(1, ["a": 1], unique: true))
        var code: ErrorCode?
        do { _ = try build(group, 1, steps: steps) } catch GroupFailure.error(let error) { code = error.code }
        #expect(code == .duplicateKey)
        // The catalog takes the index away again.
        group.descriptor.epoch += 1
        group.descriptor.indexes = []
        try group.install()
        try group.validate()
        #expect(try group.find([:]).count == 30)
    }

    @Test func aBuildGoesOnUnderAnotherLeader() throws {
        let group = try TestGroup()
        try group.start()
        for id in 0..<40 { try group.insert(["_id": Value(id), "a": [Value(id), Value(id + 1)]]) }
        try group.addIndex(.on(1, ["a": 1]))
        let step = try group.run(group.request(.buildIndex, ["index": 1, "steps": 10])).body
        try group.reopen()
        try group.lead(term: 2)
        let body: Document = ["index": 1, "steps": 1_000, "resume": step["resume"]!]
        #expect(try group.run(group.request(.buildIndex, body)).body["done"] == true)
        try group.validate()
        #expect(try group.find(["a": 5]).count == 2)
    }
}
