import CairnBSON
import CairnQuery
import CairnStorage
import Testing

@testable import CairnDatabase

@Suite struct SessionTests {
    @Test func C11_aRetryIsAnsweredAndNotExecuted() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 1, "n": 0])
        let statements: [Document] = [
            ["q": ["_id": 1], "u": ["$inc": ["n": 1]]], ["q": ["_id": 2], "u": ["$inc": ["n": 1]], "upsert": true],
            ["q": ["_id": 77], "u": ["$inc": ["n": 1]]],
        ]
        let request = group.request(.update, [:], statements, session: .test(1, 10))
        let first = try group.run(request).body
        #expect(first == ["n": 2, "nModified": 1, "upserted": [["index": 1, "_id": 2]]])
        #expect(try group.run(request).body == first)
        #expect(try group.find(["_id": 1])[0]["n"] == 1)
        #expect(try group.find(["_id": 2])[0]["n"] == 1)
    }

    @Test func C11_aRetryMeetsTheFirstTryInTheTip() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 1, "n": 0])
        let request = group.request(
            .update, [:], [["q": ["_id": 1], "u": ["$inc": ["n": 1]]]], session: .test(1, 1))
        let first = group.evaluate(request)
        group.propose()
        let retry = group.evaluate(request)
        #expect(retry.restsOn == first.restsOn, "the retry's answer waits for the first try's commit")
        #expect(retry.restsOn > group.database.appliedPosition)
        #expect(!retry.wrote)
        try group.applyAll()
        #expect(try group.find(["_id": 1])[0]["n"] == 1)
    }

    @Test func C11_aRetryOverFailOverIsExecutedOnce() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 1, "n": 0])
        let request = group.request(
            .update, [:], [["q": ["_id": 1], "u": ["$inc": ["n": 1]]]], session: .test(1, 1))
        _ = group.evaluate(request)
        group.propose()
        // Committed, but the leader loses office before it answers.
        group.database.endTerm()
        try group.lead(term: 2)
        #expect(try group.run(request).body == ["n": 1, "nModified": 1])
        #expect(try group.find(["_id": 1])[0]["n"] == 1)
        // Never committed: the retry is the first execution.
        let second = group.request(
            .update, [:], [["q": ["_id": 1], "u": ["$inc": ["n": 1]]]], session: .test(1, 2))
        _ = group.evaluate(second)
        group.database.endTerm()
        try group.lead(term: 3)
        #expect(try group.run(second).body == ["n": 1, "nModified": 1])
        #expect(try group.find(["_id": 1])[0]["n"] == 2)
    }

    @Test func C11_aPurgedRecordIsAnErrorNotASecondExecution() throws {
        let group = try TestGroup()
        try group.start()
        let request = group.request(.insert, [:], [["_id": 1]], session: .test(1, 1))
        try group.run(request)
        group.now += 3_600_000
        let before = Int64(group.now) - 1_800_000
        let expired = try group.run(
            GroupRequest(.expireSessions, collection: .system, body: ["before": .int64(before), "forget": .int64(0)]))
        #expect(expired.body == ["expired": 1, "forgotten": 0])
        try group.delete(["_id": 1])
        #expect(try group.error(request).code == .incompleteTransactionHistory)
        #expect(try group.find([:]).isEmpty)
        let forgotten = try group.run(
            GroupRequest(
                .expireSessions, collection: .system, body: ["before": .int64(before), "forget": .int64(before)]))
        #expect(forgotten.body == ["expired": 0, "forgotten": 1])
    }

    @Test func anOlderTransactionNumberIsTooOld() throws {
        let group = try TestGroup()
        try group.start()
        try group.run(group.request(.insert, [:], [["_id": 1]], session: .test(1, 5)))
        #expect(
            try group.error(group.request(.insert, [:], [["_id": 2]], session: .test(1, 4))).code == .transactionTooOld)
        try group.run(group.request(.insert, [:], [["_id": 2]], session: .test(2, 4)))
        try group.run(group.request(.insert, [:], [["_id": 3]], session: .test(1, 6)))
        #expect(try group.find([:]).count == 3)
    }

    @Test func statementsThatFailedAreTriedAgain() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 2])
        let request = group.request(
            .insert, ["ordered": false], [["_id": 1], ["_id": 2], ["_id": 3]], session: .test(1, 1),
            statements: [7, 8, 9])
        #expect(try group.run(request).body["n"] == 2)
        try group.delete(["_id": 2])
        #expect(try group.run(request).body == ["n": 3])
        #expect(try group.find([:]).count == 3)
    }

    @Test func checkExecutedTellsWhatWasDone() throws {
        let group = try TestGroup()
        try group.start()
        try group.run(group.request(.insert, [:], [["_id": 1], ["_id": 2]], session: .test(1, 3), statements: [0, 4]))
        let check = GroupRequest(
            .checkExecuted, collection: .system, session: .test(1, 3), statementIDs: [0, 1, 4])
        let executed = try group.run(check).body["executed"]?.asArray
        #expect(executed?.map { $0.asDocument?["stmtId"] } == [0, 4])
        let other = GroupRequest(.checkExecuted, collection: .system, session: .test(1, 4))
        #expect(try group.run(other).body["executed"] == [])
    }

    @Test func recordsSurviveARestart() throws {
        let group = try TestGroup()
        try group.start()
        let request = group.request(.insert, [:], [["_id": 1]], session: .test(1, 1))
        try group.run(request)
        try group.reopen()
        try group.lead(term: 2)
        #expect(try group.run(request).body == ["n": 1])
    }
}
