import CairnBSON
import CairnQuery
import CairnSimulator
import CairnStorage
import Testing

@testable import CairnDatabase

@Suite struct TermTests {
    @Test func A31_theTipDiesWithTheTerm() throws {
        let group = try TestGroup()
        try group.start()
        let first = group.evaluate(group.request(.insert, [:], [["_id": 1, "n": 1]]))
        #expect(first.restsOn > 0)
        let second = group.evaluate(
            group.request(.update, [:], [["q": ["_id": 1], "u": ["$inc": ["n": 1]]]]))
        guard case .answer(.reply(let reply)) = second.outcome else {
            Issue.record("no reply")
            return
        }
        #expect(reply.body == ["n": 1, "nModified": 1], "the update sees the insert in the tip")
        _ = group.database.takeProposal(nowMilliseconds: group.now)
        // Nothing of it got into the log.
        group.database.endTerm()
        try group.lead(term: 2)
        #expect(try group.update(["_id": 1], ["$inc": ["n": 1]]) == ["n": 0, "nModified": 0])
        #expect(try group.find([:]).isEmpty)
    }

    @Test func A31_anErrorThatRestsOnTheTipWaitsForItsCommit() throws {
        let group = try TestGroup()
        try group.start()
        let insert = group.request(.insert, [:], [["_id": 1]])
        _ = group.evaluate(insert)
        group.propose()
        let duplicate = group.evaluate(insert)
        #expect(duplicate.restsOn > group.database.appliedPosition)
        #expect(!duplicate.wrote)
        let nothing = group.evaluate(group.request(.delete, [:], [["q": ["_id": 9], "limit": 1]]))
        #expect(nothing.restsOn == duplicate.restsOn, "so does what found nothing")
        try group.applyAll()
        #expect(duplicate.restsOn <= group.database.appliedPosition)
        let later = group.evaluate(insert)
        #expect(later.restsOn == 0, "with everything applied, nothing has to be waited for")
    }

    @Test func readsSeeOnlyWhatIsApplied() throws {
        let group = try TestGroup()
        try group.start()
        _ = group.evaluate(group.request(.insert, [:], [["_id": 1]]))
        group.propose()
        let read = group.evaluate(group.request(.find, ["filter": ["_id": 1]]))
        #expect(read.restsOn == 0)
        guard case .answer(.reply(let reply)) = read.outcome else {
            Issue.record("no reply")
            return
        }
        #expect(reply.documents.isEmpty)
        try group.applyAll()
        #expect(try group.find(["_id": 1]).count == 1)
    }

    @Test func A22_versionsGrowOverLeadersWhateverTheirClocksSay() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 1])
        let before = group.database.appliedVersion
        group.database.endTerm()
        group.now -= 3_600_000
        try group.lead(term: 2)
        try group.insert(["_id": 2])
        #expect(group.database.appliedVersion > before)
    }

    @Test func A22_nothingCommitsAtOrBelowAPromisedVersion() throws {
        let group = try TestGroup()
        try group.start()
        let promise = try group.run(GroupRequest(.promiseReadVersion, collection: .system)).body["version"]
        let version = Version(rawValue: UInt64(bitPattern: try #require(promise?.int64Exactly)))
        #expect(group.database.ceiling >= version)
        // The next leader knows only the log, and its clock is an hour behind.
        try group.reopen()
        #expect(group.database.ceiling >= version)
        group.now -= 3_600_000
        try group.lead(term: 2)
        try group.insert(["_id": 1])
        #expect(group.database.appliedVersion > version)
        var read = group.request(.find)
        read.readVersion = version
        #expect(try group.run(read).documents.isEmpty)
    }

    @Test func A22_aReadAtAVersionWaitsForWritesBelowIt() throws {
        let group = try TestGroup()
        try group.start()
        try group.run(GroupRequest(.promiseReadVersion, collection: .system))
        _ = group.evaluate(group.request(.insert, [:], [["_id": 1]]))
        group.now += 10
        let proposal = try #require(group.database.takeProposal(nowMilliseconds: group.now))
        group.log.append((1, proposal.payload))
        var read = group.request(.find)
        read.readVersion = proposal.version
        guard case .again = group.evaluate(read).outcome else {
            Issue.record("the write at that version is not applied yet")
            return
        }
        #expect(try group.run(read).documents.count == 1)
        read.readVersion = VersionClock.version(milliseconds: group.now + 100_000)
        #expect(try group.error(read).code == .badValue, "a version from the far future is refused")
    }

    @Test func A22_anAnswerIsTheSameUpToTheVersionAtWhichItIsSettled() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 1])
        let ask = group.request(.find, ["settled": true])
        func settled(_ reply: GroupReply) -> Version? {
            reply.body["settled"]?.int64Exactly.map { Version(rawValue: UInt64(bitPattern: $0)) }
        }
        #expect(settled(try group.run(ask)) == nil, "no promise is in the log")
        try group.run(GroupRequest(.promiseReadVersion, collection: .system))
        let first = try #require(settled(try group.run(ask)))
        #expect(first >= group.database.appliedVersion)
        try group.insert(["_id": 2])
        #expect(group.database.appliedVersion > first)
        var read = group.request(.find)
        read.readVersion = first
        #expect(try group.run(read).documents == [["_id": 1]])
        // A write on its way has a version already.
        _ = group.evaluate(group.request(.insert, [:], [["_id": 3]]))
        let proposal = try #require(group.database.takeProposal(nowMilliseconds: group.now))
        group.log.append((1, proposal.payload))
        guard case .answer(.reply(let reply)) = group.evaluate(ask).outcome else {
            Issue.record("a read of the newest state waits for nothing")
            return
        }
        #expect(reply.documents.count == 2)
        #expect(settled(reply)?.rawValue == proposal.version.rawValue - 1)
        // Nor is anything said that goes beyond the promise.
        try group.applyAll()
        #expect(try group.run(ask).documents.count == 3)
        group.now += 100_000
        #expect(settled(try group.run(ask)) == nil)
    }

    @Test func A22_readsAtAVersionDoNotChange() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["a": 1])])
        try group.insert(["_id": 1, "a": 1])
        let version = group.database.appliedVersion
        try group.update(["_id": 1], ["$set": ["a": 2]])
        try group.insert(["_id": 2, "a": 1])
        var read = group.request(.find, ["filter": ["a": 1]])
        read.readVersion = version
        #expect(try group.run(read).documents == [["_id": 1, "a": 1]])
    }

    @Test func A30_anEntryIsAppliedOnce() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 1])
        let hash = try group.database.contentHash()
        let index = group.database.appliedIndex
        for position in 1...group.log.count where !group.log[position - 1].payload.isEmpty {
            try group.database.apply(index: UInt64(position), term: 1, payload: group.log[position - 1].payload[...])
        }
        #expect(group.database.appliedIndex == index)
        #expect(try group.database.contentHash() == hash)
    }

    @Test func A30_anApplyThatFailsForLackOfSpaceIsRepeated() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["a": 1])])
        let request = group.request(.insert, [:], [["_id": 1, "a": 1]])
        let evaluation = group.evaluate(request)
        group.propose()
        let index = group.database.appliedIndex
        _ = group.files.inject(DiskFault(.error(.outOfSpace), on: .write, lasts: true))
        #expect(throws: DatabaseError.self) { try group.applyAll() }
        #expect(group.database.appliedIndex == index)
        #expect(evaluation.restsOn > group.database.appliedPosition, "nothing is answered")
        group.files.removeFaults()
        try group.applyAll()
        #expect(evaluation.restsOn <= group.database.appliedPosition)
        #expect(try group.find(["a": 1]).count == 1)
        try group.validate()
    }

    @Test func replicasThatApplyTheSamePayloadsAreEqual() throws {
        let group = try TestGroup()
        let follower = try TestGroup(seed: 2)
        try group.start([.on(1, ["a": 1]), .on(2, ["b": -1], unique: true)])
        for id in 0..<40 {
            try group.run(
                group.request(
                    .insert, [:], [["_id": Value(id), "a": [Value(id % 5), Value(id % 3)], "b": Value(id * 7 % 41)]],
                    session: .test(UInt64(id % 3), Int64(id))))
        }
        try group.update(["a": 2], ["$inc": ["b": 1_000]], ["multi": true])
        try group.delete(["a": 4])
        try group.applyAll(to: follower.database)
        #expect(try follower.database.contentHash() == group.database.contentHash())
        #expect(follower.database.appliedTerm == 1)
        #expect(follower.database.descriptor(of: TestGroup.collection) == group.descriptor)
        #expect(try follower.find(["a": 2]).count == group.find(["a": 2]).count, "followers answer reads")
        guard case .failure(.notLeader) = try follower.answer(group.request(.insert, [:], [["_id": 99]])) else {
            Issue.record("a follower took a write")
            return
        }
    }

    @Test func corruptPayloadsAreRefusedWhole() throws {
        let group = try TestGroup()
        try group.start()
        let index = group.database.appliedIndex + 1
        #expect(throws: DatabaseError.self) { try group.database.apply(index: index, term: 1, payload: [1, 2, 3]) }
        #expect(group.database.appliedIndex == index - 1)
    }
}
