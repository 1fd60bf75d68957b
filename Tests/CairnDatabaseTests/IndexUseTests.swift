import CairnBSON
import CairnQuery
import Testing

@testable import CairnDatabase

@Suite struct IndexUseTests {
    private let group: TestGroup

    init() throws {
        group = try TestGroup()
        try group.start([.on(1, ["a": 1])])
        for id in 0..<20 { try group.insert(["_id": Value(id), "a": Value(id % 5)]) }
    }

    private func uses() throws -> [String: Int] {
        let reply = try group.run(group.request(.statistics, ["usage": true]))
        var uses: [String: Int] = [:]
        for index in try #require(reply.body["indexes"]?.asArray) {
            let index = try #require(index.asDocument)
            uses[try #require(index["name"]?.stringValue)] = index["ops"]?.intExactly
        }
        return uses
    }

    private func change(_ body: () throws -> Void) throws -> [Int] {
        let before = try uses()
        try body()
        return try uses().sorted { $0.key < $1.key }.map { $0.value - (before[$0.key] ?? 0) }
    }

    @Test func aQueryCountsOnceForTheIndexThatItGoesBy() throws {
        // In order of their names: the one on _id, the other.
        #expect(try change { _ = try group.find(["_id": 3]) } == [1, 0])
        #expect(try change { _ = try group.find(["a": 3]) } == [0, 1])
        #expect(try change { _ = try group.find(["_id": ["$in": [1, 2]]]) } == [1, 0])
        #expect(try change { _ = try group.run(group.request(.count, ["query": ["a": 1]])) } == [0, 1])
        #expect(
            try change { _ = try group.run(group.request(.aggregate, ["pipeline": [["$match": ["a": 1]]]])) } == [0, 1])
        #expect(try change { _ = try group.run(group.request(.distinct, ["key": "a", "query": ["a": 1]])) } == [0, 1])
        #expect(try change { _ = try group.find([:]) } == [0, 0])
        #expect(try change { _ = try group.plan(["a": 1]) } == [0, 0])
    }

    @Test func countsOutliveAChangeOfTheCollection() throws {
        _ = try group.find(["a": 3])
        let before = try uses()
        try group.addIndex(.on(2, ["b": 1]))
        let after = try uses()
        #expect(before.allSatisfy { after[$0.key] == $0.value })
        #expect(after.count == before.count + 1)
    }
}

extension DeferredReadTests {
    @Test func aReadThatNobodyWaitsForEnds() throws {
        let read = try deferred(group.request(.find, ["filter": ["pad": "none"]]))
        try #require(read.interruption).raise()
        do {
            _ = try conclude(read)
            Issue.record("the read was carried out")
        } catch GroupFailure.error(let error) {
            #expect(error.code == .interrupted)
        }
    }

    @Test func aCursorEndsWithTheReadOfItThatNobodyWaitsFor() throws {
        _ = try group.find(["_id": ["$lt": 50]])
        let first = try reply(evaluate(group.request(.find, ["filter": [:], "batchSize": 20])))
        let cursor = try #require(first.body["cursor"])
        let read = try deferred(group.request(.getMore, ["cursor": cursor, "batchSize": 300]))
        try #require(read.interruption).raise()
        #expect(throws: GroupFailure.self) { try conclude(read) }
        #expect(group.database.openCursorCount == 0)
    }
}
