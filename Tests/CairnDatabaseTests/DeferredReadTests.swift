import CairnBSON
import CairnQuery
import CairnSimulator
import CairnStorage
import Testing

@testable import CairnDatabase

/// Documents that are on the disk and not in the cache, and a thread that may not wait for them.
@Suite struct DeferredReadTests {
    let group: TestGroup
    private let count = 300

    init() throws {
        var engineOptions = EngineOptions()
        engineOptions.blockCache = BlockCache(capacityBytes: 8 << 20)
        // Small, so that few documents share the block of what a replica reads when it is opened.
        engineOptions.blockBytes = 1_024
        var options = GroupDatabaseOptions()
        options.documentsReadAtOnce = 1_000
        group = try TestGroup(options: options, engineOptions: engineOptions)
        group.options.documentsReadAtOnce = 1_000
        try group.start([.on(1, ["a": 1], unique: true)])
        for id in 0..<count { try group.insert(["_id": Value(id), "a": Value(id), "pad": Value(text)]) }
        try reopenCold()
    }

    private var text: String { String(repeating: "x", count: 200) }

    /// Everything is in tables, and no block of them in memory.
    private func reopenCold() throws {
        group.engine.requestFlush()
        group.background.runAll()
        try group.reopen()
        try group.lead(term: group.term + 1)
    }

    func evaluate(_ request: GroupRequest) -> Evaluation {
        group.database.evaluate(request, group.context, mode: .cacheOnly)
    }

    func deferred(_ request: GroupRequest) throws -> DeferredRead {
        let outcome = evaluate(request).outcome
        guard case .deferred(let read) = outcome else {
            throw DatabaseError(.malformed, "\(request.operation) was not deferred: \(outcome)")
        }
        return read
    }

    func reply(_ evaluation: Evaluation) throws -> GroupReply {
        guard case .answer(.reply(let reply)) = evaluation.outcome else {
            throw DatabaseError(.malformed, "no reply but \(evaluation.outcome)")
        }
        return reply
    }

    func conclude(_ read: DeferredRead) throws -> GroupReply {
        switch group.database.conclude(read.run(), group.context) {
        case .reply(let reply): return reply
        case .failure(let failure): throw failure
        case nil: throw DatabaseError(.malformed, "the read was a preparation")
        }
    }

    @Test func aReadOfOneDocumentWaitsForItsBlockOnceAndIsThenAnsweredFromMemory() throws {
        let find = group.request(.find, ["filter": ["_id": 7]])
        let found = try conclude(try deferred(find))
        #expect(found.documents.first?["a"] == 7)
        #expect(try reply(evaluate(find)).documents == found.documents)
    }

    @Test func aDeferredReadSeesTheStateAtItsBeginning() throws {
        let read = try deferred(group.request(.find, ["filter": ["a": ["$lt": 3]], "sort": ["_id": 1]]))
        try group.update(["_id": 1], ["$set": ["pad": "later"]])
        try group.delete(["_id": 2])
        // A minute and more of writes: what the read sees must not be compacted away.
        group.now += 200_000
        try group.insert(["_id": 1_000, "a": 1_000])
        group.engine.requestFlush()
        group.background.runAll()
        let found = try conclude(read)
        #expect(found.documents.map { $0["_id"] } == [0, 1, 2])
        #expect(found.documents.allSatisfy { $0["pad"] == Value(text) })
    }

    @Test(
        arguments: [
            (.count, [:]), (.count, ["query": ["pad": "none"]]), (.find, ["filter": ["pad": "none"]]),
            (.distinct, ["key": "a"]),
            (.aggregate, ["pipeline": [["$group": ["_id": 1]]]]), (.statistics, [:]), (.validate, [:]),
        ] as [(GroupOperation, Document)])
    func aReadEndsWithItsTime(operation: GroupOperation, body: Document) throws {
        let read = try deferred(group.request(operation, body))
        let late = group.database.conclude(read.run(isOverdue: { true }), group.context)
        guard case .failure(.error(let error))? = late else {
            Issue.record("\(operation) was carried out: \(String(describing: late))")
            return
        }
        #expect(error.code == .maxTimeMSExpired)
    }

    @Test func whatLooksAtManyDocumentsIsDeferredEvenWhenItIsInMemory() throws {
        _ = try group.find([:])
        let few = group.request(.find, ["filter": [:], "limit": 100])
        #expect(try reply(evaluate(few)).documents.count == 100)
        var options = group.options
        options.documentsReadAtOnce = 50
        group.options = options
        try group.reopen()
        try group.lead(term: group.term + 1)
        _ = try group.find([:])
        #expect(try conclude(try deferred(few)).documents.count == 100)
        #expect(try conclude(try deferred(group.request(.count, ["query": [:]]))).body["n"] == .int64(Int64(count)))
    }

    @Test func aCursorThatBeganInMemoryGoesOnAmongTheReaders() throws {
        _ = try group.find(["_id": ["$lt": 50]])
        let first = try reply(evaluate(group.request(.find, ["filter": [:], "batchSize": 20])))
        var ids = first.documents.compactMap { $0["_id"] }
        let cursor = try #require(first.body["cursor"])
        while ids.count < count {
            let next = try conclude(try deferred(group.request(.getMore, ["cursor": cursor, "batchSize": 33])))
            ids += next.documents.compactMap { $0["_id"] }
        }
        #expect(Set(ids.map { "\($0)" }).count == count)
        #expect(group.database.openCursorCount == 0)
    }

    @Test func aCursorOpenedUnderTheLimitIsFreeOfItAfterwards() throws {
        // Brings the blocks of the first documents into memory, so that the same batch is then read on the spot.
        let find = group.request(.find, ["filter": [:], "batchSize": 10])
        _ = try conclude(try deferred(find))
        let first = try reply(evaluate(find))
        #expect(first.documents.count == 10)
        let cursor = try #require(first.body["cursor"])
        let rest = try conclude(try deferred(group.request(.getMore, ["cursor": cursor])))
        #expect(rest.documents.count == count - 10)
    }

    @Test func aWriteIsPutAsideUntilItsDocumentsAreInMemory() throws {
        let update = group.request(.update, [:], [["q": ["_id": 9], "u": ["$inc": ["n": 1]]]])
        let read = try deferred(update)
        #expect(!group.database.hasProposal, "nothing was written")
        #expect(group.database.conclude(read.run(), group.context) == nil)
        #expect(try reply(evaluate(update)).body == ["n": 1, "nModified": 1], "the second time it is there")
        group.propose()
        try group.applyAll()
        #expect(try group.find(["_id": 9]).first?["n"] == 1, "it was carried out once")
    }

    @Test func theStatementsOfABulkWriteAreLookedForTogether() throws {
        let statements = (0..<20).map { id -> Document in
            ["q": ["_id": Value(id * 13)], "u": ["$inc": ["n": 1]]]
        }
        let update = group.request(.update, [:], statements)
        _ = try group.find(["_id": 0])
        let read = try deferred(update)
        #expect(group.database.conclude(read.run(), group.context) == nil)
        #expect(try reply(evaluate(update)).body == ["n": 20, "nModified": 20])
        let deletes = (0..<20).map { id -> Document in ["q": ["_id": Value(id * 13)], "limit": 1] }
        #expect(try reply(evaluate(group.request(.delete, [:], deletes))).body == ["n": 20])
    }

    @Test func anInsertionThatMayCollideOnTheDiskIsPutAside() throws {
        let insert = group.request(.insert, [:], [["_id": 5, "a": 9_999], ["_id": 5_000, "a": 5_000]])
        let read = try deferred(insert)
        #expect(group.database.conclude(read.run(), group.context) == nil)
        let body = try reply(evaluate(insert)).body
        #expect(body["n"] == 0 && body["writeErrors"]?.asArray?[0]?.asDocument?["code"] == 11000)
        let unique = group.request(.insert, [:], [["_id": 6_000, "a": 17]])
        let again = try deferred(unique)
        #expect(group.database.conclude(again.run(), group.context) == nil)
        #expect(try reply(evaluate(unique)).body["n"] == 0)
    }

    @Test func aReadThatIsNotRunLetsItsVersionGo() throws {
        let version = group.engine.lastVersion
        let read = try deferred(group.request(.find, ["filter": ["_id": 3]]))
        group.database.abandon(read)
        let other = try deferred(group.request(.find, ["filter": ["_id": 3]]))
        _ = try conclude(other)
        group.now += 1_000_000
        try group.insert(["_id": 1_001, "a": 1_001])
        group.now += 1_000_000
        try group.insert(["_id": 1_002, "a": 1_002])
        #expect(throws: StorageError.self) { try group.engine.retain(version) }
    }

    @Test func aSnapshotThatCameMeanwhileEndsTheReadWithAnError() throws {
        group.database.endTerm()
        let read = try deferred(group.request(.find, ["filter": ["_id": 3]]))
        let other = try TestGroup(seed: 2)
        try group.database.replaceEngine(other.engine)
        guard case .failure(.unavailable)? = group.database.conclude(read.run(), group.context) else {
            Issue.record("no failure")
            return
        }
    }
}
