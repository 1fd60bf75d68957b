import CairnBSON
import CairnQuery
import Testing

@testable import CairnDatabase

@Suite struct CollatedIndexTests {
    private static let loose: Document = ["locale": "en", "strength": 1]

    private static func index(_ key: Document = ["a": 1], unique: Bool = false) throws -> IndexDescriptor {
        var index = IndexDescriptor.on(1, key, unique: unique)
        index.name = "c"
        index.options = ["collation": .document(try #require(try Collation.parse(loose)).document)]
        return index
    }

    private func filled(_ indexes: [IndexDescriptor]) throws -> TestGroup {
        let group = try TestGroup()
        try group.start(indexes)
        for (id, text) in ["a", "B", "A", "á", "b", "c", "Z"].enumerated() {
            try group.insert(["_id": Value(id), "a": .string(BSONString(text))])
        }
        try group.insert(["_id": "n", "a": 5])
        return group
    }

    private static func with(_ more: Document = [:]) -> Document {
        var body = more
        body.set("collation", .document(loose))
        return body
    }

    @Test func itIsUsedForStringsOnlyUnderItsOwnCollation() throws {
        let group = try filled([Self.index()])
        #expect(try group.plan(["a": "A"], Self.with()).index == "c")
        #expect(try group.plan(["a": "A"]).stage == "COLLSCAN")
        let other: Document = ["collation": ["locale": "en", "strength": 2]]
        #expect(try group.plan(["a": "A"], other).stage == "COLLSCAN")
        #expect(try group.plan(["a": 5]).index == "c", "numbers compare alike everywhere")
        #expect(Set(try group.ids(["a": "A"], Self.with())) == [0, 2, 3])
        #expect(try group.ids(["a": "A"]) == [2])
        #expect(Set(try group.ids(["a": "A"], other)) == [0, 2])
        try group.validate()
    }

    @Test func rangesAndSortsFollowIt() throws {
        let group = try filled([Self.index()])
        #expect(try group.plan([:], Self.with(["sort": ["a": 1]])).index == "c")
        #expect(try group.plan([:], ["sort": ["a": 1]]).stage == "COLLSCAN")
        #expect(Set(try group.ids(["a": ["$gte": "b", "$lt": "C"]], Self.with())) == [1, 4])
        let found = try group.ids([:], Self.with(["sort": ["a": -1]]))
        #expect(Array(found.prefix(2)) == [6, 5])
        #expect(found.last == "n")
        let unindexed = try filled([])
        let sorted = try unindexed.ids([:], Self.with(["sort": ["a": 1, "_id": 1]]))
        #expect(sorted == ["n", 0, 2, 3, 1, 4, 5, 6])
        #expect(Set(try group.ids(["a": ["$regex": "^A"]], Self.with())) == [2], "patterns know no collation")
    }

    @Test func uniquenessFollowsIt() throws {
        let group = try TestGroup()
        try group.start([Self.index(unique: true)])
        try group.insert(["_id": 1, "a": "Straße"])
        let error = try group.insert(["_id": 2, "a": "STRASSE"])["writeErrors"]?.asArray?[0]?.asDocument
        #expect(error?["code"] == 11000)
        #expect(error?["keyValue"] == ["a": "STRASSE"])
    }

    @Test func hashedAndWildcardIndexesFollowIt() throws {
        for key: Document in [["a": "hashed"], ["$**": 1]] {
            let group = try filled([Self.index(key)])
            #expect(try group.plan(["a": "A"], Self.with()).index == "c")
            #expect(Set(try group.ids(["a": "A"], Self.with())) == [0, 2, 3], "\(key)")
            #expect(try group.plan(["a": "A"]).stage == "COLLSCAN")
            try group.validate()
        }
    }

    @Test func aCollectionsDefaultHoldsUntilACommandSaysOtherwise() throws {
        let group = try TestGroup()
        group.descriptor.options = ["collation": .document(Self.loose)]
        try group.lead()
        group.descriptor.indexes = [try Self.index()]
        group.descriptor.nextIndexID = 2
        try group.install()
        for (id, text) in ["a", "B", "A"].enumerated() {
            try group.insert(["_id": Value(id), "a": .string(BSONString(text))])
        }
        #expect(try group.plan(["a": "A"]).index == "c")
        #expect(Set(try group.ids(["a": "A"])) == [0, 2])
        #expect(try group.ids(["a": "A"], ["collation": ["locale": "simple"]]) == [2])
        #expect(try group.run(group.request(.count, ["query": ["a": "A"]])).body["n"] == 2)
        #expect(try group.run(group.request(.distinct, ["key": "a"])).body["values"]?.asArray?.count == 2)
        try group.update(["a": "b"], ["$set": ["hit": true]])
        #expect(try group.ids(["hit": true]) == [1])
        try group.delete(["a": "A"])
        #expect(try group.ids([:]) == [1])
        try group.validate()
    }

    @Test func anIDUnderACollationIsNotLookedUp() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": "a"], ["_id": "A"], ["_id": 1])
        #expect(try group.plan(["_id": "a"]).stage == "IDHACK")
        #expect(try group.plan(["_id": "a"], Self.with()).stage == "COLLSCAN")
        #expect(Set(try group.ids(["_id": "a"], Self.with())) == ["a", "A"])
        #expect(try group.plan(["_id": 1], Self.with()).stage == "IDHACK")
    }

    @Test func explainShowsTheIndexesCollation() throws {
        let group = try filled([Self.index()])
        let command = Self.with(["filter": ["a": "x"]])
        let body = try group.run(
            group.request(.explain, ["command": ["find": .document(command)], "verbosity": "queryPlanner"])
        ).body
        let plan = body["queryPlanner"]?.asDocument?["winningPlan"]?.asDocument
        #expect(plan?["inputStage"]?.asDocument?["collation"]?.asDocument?["strength"] == 1, "\(body)")
    }
}
