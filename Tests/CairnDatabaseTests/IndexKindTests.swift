import CairnBSON
import CairnQuery
import Testing

@testable import CairnDatabase

@Suite struct HiddenIndexTests {
    private static func hidden(_ id: UInt16, _ key: Document, unique: Bool = false) -> IndexDescriptor {
        var index = IndexDescriptor.on(id, key, unique: unique)
        index.options = ["hidden": true]
        return index
    }

    @Test func thePlannerPassesItOver() throws {
        let group = try TestGroup()
        try group.start([Self.hidden(1, ["a": 1])])
        try group.insert(["_id": 1, "a": 1])
        #expect(try group.plan(["a": 1]).stage == "COLLSCAN")
        #expect(try group.plan([:], ["sort": ["a": 1]]).stage == "COLLSCAN")
        #expect(try group.error(group.request(.find, ["hint": "a_1"])).code == .badValue, "nor may it be hinted")
        try group.validate()
    }

    @Test func itIsKeptUpToDateAndUsedOnceItIsShown() throws {
        let group = try TestGroup()
        try group.start([Self.hidden(1, ["a": 1])])
        for id in 0..<20 { try group.insert(["_id": Value(id), "a": Value(id % 5)]) }
        try group.update(["_id": 3], ["$set": ["a": 77]])
        group.descriptor.epoch += 1
        group.descriptor.indexes[0].options = [:]
        try group.install()
        #expect(try group.plan(["a": 77]).index == "a_1")
        #expect(try group.ids(["a": 77]) == [3])
        try group.validate()
    }

    @Test func itStillForbidsDuplicates() throws {
        let group = try TestGroup()
        try group.start([Self.hidden(1, ["a": 1], unique: true)])
        try group.insert(["_id": 1, "a": 1])
        let reply = try group.insert(["_id": 2, "a": 1])
        #expect(reply["writeErrors"]?.asArray?[0]?.asDocument?["code"] == 11000)
    }
}

@Suite struct HashedIndexTests {
    private static func hashed(_ key: Document = ["a": "hashed"]) -> IndexDescriptor {
        var index = IndexDescriptor.on(1, key)
        index.name = "h"
        return index
    }

    @Test func equalityAndInAreAnsweredByIt() throws {
        let group = try TestGroup()
        try group.start([Self.hashed()])
        for id in 0..<50 { try group.insert(["_id": Value(id), "a": Value(id)]) }
        try group.insert(["_id": "none"], ["_id": "null", "a": nil], ["_id": "text", "a": "x"])
        #expect(try group.plan(["a": 7]).index == "h")
        #expect(try group.ids(["a": 7]) == [7])
        #expect(try group.ids(["a": 7.0]) == [7], "equal values have equal hashes")
        #expect(Set(try group.ids(["a": ["$in": [3, "x", 99]]])) == [3, "text"])
        #expect(Set(try group.ids(["a": nil])) == ["none", "null"])
        #expect(try group.plan(["a": nil]).index == "h")
        try group.validate()
    }

    @Test func rangesSortsAndPatternsAreNot() throws {
        let group = try TestGroup()
        try group.start([Self.hashed()])
        try group.insert(["_id": 1, "a": "abc"], ["_id": 2, "a": 5])
        #expect(try group.plan(["a": ["$gt": 1]]).stage == "COLLSCAN")
        #expect(try group.plan([:], ["sort": ["a": 1]]).stage == "COLLSCAN")
        #expect(try group.plan(["a": ["$regex": "^a"]]).stage == "COLLSCAN")
        #expect(try group.ids(["a": ["$regex": "^a"]]) == [1])
        #expect(try group.ids(["a": ["$gt": 1]]) == [2])
    }

    @Test func oneHashedFieldOfACompoundIndexEndsItsOrder() throws {
        let group = try TestGroup()
        try group.start([Self.hashed(["a": 1, "h": "hashed", "b": 1])])
        for id in 0..<60 {
            try group.insert(["_id": Value(id), "a": Value(id % 3), "h": Value(id % 4), "b": Value(id)])
        }
        #expect(try group.ids(["a": 1, "h": 2, "b": ["$lt": 30]], ["sort": ["_id": 1]]) == [10, 22])
        #expect(try group.plan(["a": 1, "h": 2], ["sort": ["b": 1]]).index == "h")
        #expect(try group.ids(["a": 1, "h": 2], ["sort": ["b": -1], "limit": 2]) == [58, 46])
        #expect(try group.ids(["a": 1, "h": ["$gte": 2]], ["sort": ["h": 1, "_id": 1], "limit": 2]) == [10, 22])
        try group.validate()
    }

    @Test func anArrayIsRefusedAndNothingIsWritten() throws {
        let group = try TestGroup()
        try group.start([Self.hashed(["a.b": "hashed"])])
        for document: Document in [["_id": 1, "a": ["b": [1]]], ["_id": 2, "a": [["b": 1]]]] {
            let reply = try group.insert(document)
            #expect(reply["writeErrors"]?.asArray?[0]?.asDocument?["code"] == 16766)
        }
        #expect(try group.find([:]).isEmpty)
    }

    @Test func explainShowsTheHash() throws {
        let group = try TestGroup()
        try group.start([Self.hashed()])
        let body = try group.run(
            group.request(.explain, ["command": ["find": ["filter": ["a": 5]]], "verbosity": "queryPlanner"])
        ).body
        let plan = body["queryPlanner"]?.asDocument?["winningPlan"]?.asDocument
        let scan = plan?["inputStage"]?.asDocument
        let hash = Value.int64(IndexKeyExtractor.hash(5))
        #expect(scan?["indexBounds"] == ["a": [Value("[\(hash), \(hash)]")]], "\(body)")
    }
}

@Suite struct PartialIndexTests {
    private static let cases: [(own: Document, query: Document, isImplied: Bool)] = [
        (["a": ["$gt": 5]], ["a": 6], true), (["a": ["$gt": 5]], ["a": 5], false),
        (["a": ["$gt": 5]], ["a": ["$gte": 6]], true), (["a": ["$gte": 5]], ["a": ["$gt": 5]], true),
        (["a": ["$gt": 5]], ["a": ["$gte": 5]], false), (["a": ["$gt": 5]], ["a": ["$gt": "x"]], false),
        (["a": ["$exists": true]], ["a": 1], true), (["a": ["$exists": true]], ["a": nil], false),
        (["a": ["$exists": true]], ["a": ["$in": [1, 2]]], true),
        (["a": ["$exists": true]], ["a": ["$in": [1, nil]]], false),
        (["a": ["$type": "string"]], ["a": "x"], false), (["a": ["$type": "number"]], ["a": 1], true),
        (["a": ["$type": "date"]], ["a": ["$lt": .date(milliseconds: 0)]], true),
        (["a": ["$in": [1, 2, 3]]], ["a": ["$in": [2.0, 3]]], true), (["a": ["$in": [1, 2]]], ["a": 3], false),
        (["a": 1, "b": ["$lt": 3]], ["b": 2, "a": 1, "c": 9], true), (["a": 1, "b": 2], ["a": 1], false),
        (["$or": [["a": 1], ["b": 1]]], ["b": 1, "c": 1], true),
        (["a": ["$gt": 0]], ["$or": [["a": 1], ["a": ["$gt": 7]]]], true),
        (["a": ["$gt": 0]], ["$or": [["a": 1], ["b": 7]]], false),
        (["a": ["$lt": 10]], ["a": ["$not": ["$gte": 5]]], false),
    ]

    @Test func anIndexIsUsedOnlyWhenTheFilterImpliesItsOwn() throws {
        for (own, query, isImplied) in Self.cases {
            #expect(try Filter(parsing: query).implies(Filter(parsing: own)) == isImplied, "\(query) within \(own)")
        }
    }

    @Test func whatItLeavesOutIsNotMissed() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["a": 1], partial: ["a": ["$gt": 5]])])
        for id in 0..<12 { try group.insert(["_id": Value(id), "a": Value(id)]) }
        #expect(try group.plan(["a": ["$gte": 8]]).index == "a_1")
        #expect(try group.plan(["a": ["$gte": 3]]).stage == "COLLSCAN")
        #expect(try group.ids(["a": ["$gte": 3, "$lt": 5]]).count == 2)
        #expect(try group.plan([:], ["sort": ["a": 1]]).stage == "COLLSCAN")
        try group.update(["_id": 1], ["$set": ["a": 100]])
        try group.update(["_id": 11], ["$set": ["a": 0]])
        #expect(try group.ids(["a": ["$gt": 9]], ["sort": ["a": 1]]) == [10, 1])
        try group.validate()
    }

    @Test(arguments: ["$ne", "$nin", "$not", "$regex", "$size", "$all"])
    func whatCannotBeReasonedAboutIsRefused(name: String) throws {
        let operands: [String: Value] = ["$nin": [1], "$not": ["$gt": 1], "$regex": "x", "$all": [1, 2]]
        let filter = Document([("a", .document(Document([(name, operands[name] ?? 1)])))])
        let error = #expect(throws: QueryError.self) { try Filter(parsing: filter).checkPartialIndex() }
        #expect(error?.code == .cannotCreateIndex)
    }

    @Test func aSparseIndexLosesDocumentsOnlyWhereItIsHinted() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["s": 1], sparse: true)])
        try group.insert(["_id": 1, "s": 1], ["_id": 2])
        #expect(try group.run(group.request(.count, ["query": [:]])).body["n"] == 2)
        #expect(try group.run(group.request(.count, ["query": [:], "hint": "s_1"])).body["n"] == 1)
        #expect(try group.ids([:], ["sort": ["s": 1]]) == [2, 1])
        #expect(try group.plan(["s": ["$exists": false]]).stage == "COLLSCAN")
        #expect(try group.plan(["s": ["$ne": 1]]).stage == "COLLSCAN")
        #expect(try group.plan(["s": ["$in": [1, nil]]]).stage == "COLLSCAN")
    }
}
