import CairnBSON
import CairnQuery
import Testing

@testable import CairnDatabase

@Suite struct ExpiryTests {
    private static func expiring(
        _ key: Document = ["t": 1], after seconds: Int64 = 0, partial: Document? = nil
    ) -> IndexDescriptor {
        var index = IndexDescriptor.on(1, key, partial: partial)
        index.options = ["expireAfterSeconds": .int64(seconds)]
        return index
    }

    private func step(_ group: TestGroup, before: Int64, limit: Int = 1_000, index: Int = 1) throws -> Document {
        let body: Document = [
            "index": Value(index), "before": .date(milliseconds: before), "limit": Value(limit),
        ]
        return try group.run(group.request(.expireDocuments, body)).body
    }

    @Test(arguments: [1, -1])
    func whatIsPastGoesAndTheRestStays(direction: Int) throws {
        let group = try TestGroup()
        try group.start([Self.expiring(["t": Value(direction)]), .on(2, ["n": 1])])
        for id in 0..<20 {
            try group.insert(["_id": Value(id), "t": .date(milliseconds: Int64(id) * 1_000), "n": Value(id)])
        }
        #expect(try step(group, before: 9_000) == ["n": 10, "more": false])
        #expect(try group.ids([:], ["sort": ["_id": 1]]) == (10..<20).map { Value($0) })
        #expect(try step(group, before: 9_000) == ["n": 0, "more": false])
        try group.validate()
    }

    @Test func anArrayGoesByItsEarliestDate() throws {
        let group = try TestGroup()
        try group.start([Self.expiring()])
        try group.insert(
            ["_id": 1, "t": [.date(milliseconds: 9_000), .date(milliseconds: 100), "text"]],
            ["_id": 2, "t": [.date(milliseconds: 9_000), .date(milliseconds: 8_000)]])
        #expect(try step(group, before: 1_000)["n"] == 1)
        #expect(try group.ids([:]) == [2])
    }

    @Test func whatIsNoDateNeverExpires() throws {
        let group = try TestGroup()
        try group.start([Self.expiring()])
        try group.insert(
            ["_id": 1, "t": 5], ["_id": 2, "t": nil], ["_id": 3], ["_id": 4, "t": "1970"], ["_id": 5, "t": []],
            ["_id": 6, "t": .timestamp(Timestamp(rawValue: 1))], ["_id": 7, "t": [1, "x"]])
        #expect(try step(group, before: .max) == ["n": 0, "more": false])
        #expect(try group.find([:]).count == 7)
    }

    @Test func aStepIsBounded() throws {
        let group = try TestGroup()
        try group.start([Self.expiring()])
        for id in 0..<25 { try group.insert(["_id": Value(id), "t": .date(milliseconds: 1)]) }
        #expect(try step(group, before: 5, limit: 10) == ["n": 10, "more": true])
        #expect(try step(group, before: 5, limit: 10) == ["n": 10, "more": true])
        #expect(try step(group, before: 5, limit: 10) == ["n": 5, "more": false])
        #expect(try group.find([:]).isEmpty)
    }

    @Test func aPartialIndexExpiresOnlyWhatIsInIt() throws {
        let group = try TestGroup()
        try group.start([Self.expiring(partial: ["done": true])])
        try group.insert(
            ["_id": 1, "t": .date(milliseconds: 1), "done": true], ["_id": 2, "t": .date(milliseconds: 1)])
        #expect(try step(group, before: 5)["n"] == 1)
        #expect(try group.ids([:]) == [2])
    }

    @Test func aHiddenIndexStillExpires() throws {
        let group = try TestGroup()
        var index = Self.expiring(after: 7)
        index.options.set("hidden", true)
        try group.start([index])
        try group.insert(["_id": 1, "t": .date(milliseconds: 1)])
        #expect(group.database.expiringIndexes.map(\.afterSeconds) == [7])
        #expect(try step(group, before: 5)["n"] == 1)
    }

    @Test func anIndexThatDeletesNothingIsLeftAlone() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["t": 1])])
        try group.insert(["_id": 1, "t": .date(milliseconds: 1)])
        #expect(group.database.expiringIndexes.isEmpty)
        #expect(try step(group, before: 5) == ["n": 0, "more": false])
        #expect(try step(group, before: 5, index: 9) == ["n": 0, "more": false], "nor is one that is gone")
        #expect(try group.find([:]).count == 1)
    }

    @Test func aFollowerDeletesNothing() throws {
        let group = try TestGroup()
        try group.start([Self.expiring()])
        try group.insert(["_id": 1, "t": .date(milliseconds: 1)])
        group.database.endTerm()
        let request = group.request(.expireDocuments, ["index": 1, "before": .date(milliseconds: 5)])
        guard case .failure(.notLeader) = try group.answer(request) else {
            Issue.record("a follower took a write")
            return
        }
    }
}
