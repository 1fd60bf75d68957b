import CairnBSON
import CairnQuery
import Testing

@testable import CairnDatabase

@Suite struct WildcardIndexTests {
    private static func wildcard(_ key: Document = ["$**": 1], projection: Document? = nil) -> IndexDescriptor {
        var index = IndexDescriptor.on(1, key)
        index.name = "w"
        if let projection { index.options = ["wildcardProjection": .document(projection)] }
        return index
    }

    private func filled(_ index: IndexDescriptor = wildcard()) throws -> TestGroup {
        let group = try TestGroup()
        try group.start([index])
        for id in 0..<30 {
            try group.insert(["_id": Value(id), "a": ["b": Value(id), "c": Value("t\(id % 3)")], "n": Value(id % 7)])
        }
        try group.insert(
            ["_id": "array", "a": [["b": 5], ["b": 50]], "tags": ["x", "y"]], ["_id": "empty", "a": [:], "tags": []],
            ["_id": "nested", "tags": [["x"]]], ["_id": "null", "n": nil])
        return group
    }

    @Test func equalityRangesAndInAreAnsweredByOnePath() throws {
        let group = try filled()
        #expect(try group.plan(["a.b": 5]).index == "w")
        #expect(Set(try group.ids(["a.b": 5])) == [5, "array"])
        #expect(Set(try group.ids(["a.b": ["$gte": 28]])) == [28, 29, "array"])
        #expect(Set(try group.ids(["a.b": ["$in": [1, 50]]])) == [1, "array"])
        #expect(try group.ids(["tags": "x"]) == ["array"])
        #expect(try group.ids(["a.c": ["$regex": "^t1"]]).count == 10)
        #expect(try group.plan(["n": 3]).index == "w")
        try group.validate()
    }

    @Test func existsFindsWhatLiesBelow() throws {
        let group = try filled()
        #expect(try group.plan(["a": ["$exists": true]]).index == "w")
        #expect(try group.ids(["a": ["$exists": true]]).count == 32)
        #expect(Set(try group.ids(["tags": ["$exists": true]])) == ["array", "empty", "nested"])
    }

    private static let unanswerable: [Document] = [
        ["n": nil], ["n": ["$exists": false]], ["n": ["$ne": 1]], ["a": ["b": 1, "c": "t1"]], ["tags": ["x", "y"]],
        ["tags": []], ["n": ["$in": [1, nil]]], ["a.0.b": 5], ["n": ["$gte": .minKey]], [:],
    ]

    @Test func whatItHasNoKeyForIsNotAskedOfIt() throws {
        let group = try filled()
        for filter in Self.unanswerable { #expect(try group.plan(filter).stage == "COLLSCAN", "\(filter)") }
        #expect(try group.error(group.request(.find, ["filter": ["n": nil], "hint": "w"])).code.rawValue == 291)
    }

    @Test func anEmptyDocumentHasAKey() throws {
        let group = try filled()
        let filter = Document([("a", .document(Document()))])
        #expect(try group.plan(filter).index == "w")
        #expect(try group.ids(filter) == ["empty"])
    }

    @Test func explainNamesThePath() throws {
        let group = try filled()
        let body = try group.run(
            group.request(.explain, ["command": ["find": ["filter": ["a.b": 5]]], "verbosity": "queryPlanner"])
        ).body
        let plan = body["queryPlanner"]?.asDocument?["winningPlan"]?.asDocument
        let scan = plan?["inputStage"]?.asDocument
        #expect(scan?["keyPattern"] == ["$_path": 1, "a.b": 1])
        #expect(scan?["indexBounds"] == ["$_path": ["[\"a.b\", \"a.b\"]"], "a.b": ["[5, 5]"]], "\(body)")
    }

    @Test func itSortsByThePathItIsScannedAt() throws {
        let group = try TestGroup()
        try group.start([Self.wildcard(["$**": -1])])
        for id in 0..<10 { try group.insert(["_id": Value(id), "n": Value(9 - id)]) }
        #expect(try group.ids(["n": ["$gt": 6]], ["sort": ["n": 1]]) == [2, 1, 0])
        #expect(try group.plan([:], ["sort": ["n": 1]]).stage == "COLLSCAN", "documents may lack the path")
    }

    @Test func aSubtreeIndexesNothingElse() throws {
        let group = try filled(Self.wildcard(["a.$**": 1]))
        #expect(try group.plan(["a.b": 5]).index == "w")
        #expect(try group.plan(["a": 5]).index == "w")
        #expect(try group.plan(["n": 5]).stage == "COLLSCAN")
        #expect(try group.plan(["ab": 5]).stage == "COLLSCAN")
        try group.update(["_id": 3], ["$set": ["a.b": 333, "n": 1]])
        #expect(try group.ids(["a.b": 333]) == [3])
        try group.validate()
    }

    @Test func aProjectionLimitsThePaths() throws {
        let included = try filled(Self.wildcard(projection: ["a.b": 1]))
        #expect(try included.plan(["a.b": 5]).index == "w")
        #expect(try included.plan(["a.c": "t1"]).stage == "COLLSCAN")
        #expect(try included.plan(["a": ["$exists": true]]).stage == "COLLSCAN")
        try included.validate()
        let excluded = try filled(Self.wildcard(projection: ["a.b": 0, "_id": 1]))
        #expect(try excluded.plan(["a.b": 5]).stage == "COLLSCAN")
        #expect(try excluded.plan(["a.c": "t1"]).index == "w")
        #expect(try excluded.plan(["a": ["$exists": true]]).stage == "COLLSCAN")
        #expect(try excluded.ids(["a.c": "t1"]).count == 10)
        #expect(try excluded.plan(["_id": ["$gt": 5]]).index == "w")
        try excluded.validate()
    }

    private static let refused: [(key: Document, projection: Document?, code: Int32)] = [
        (["$**": 1, "a": 1], nil, 238), (["$**": "hashed"], nil, 67), (["a.$**": 1], ["b": 1], 9), (["$**": 1], [:], 9),
        (["$**": 1], ["a": 1, "b": 0], 9), (["a": 1], ["a": 1], 2), (["$**": 0], nil, 67),
    ]

    @Test func whatCannotBeAWildcardIndexIsRefused() throws {
        for (key, projection, code) in Self.refused {
            let error = #expect(throws: QueryError.self) {
                try IndexKeyExtractor(pattern: key, wildcardProjection: projection)
            }
            #expect(error?.code.rawValue == code, "\(key)")
        }
    }
}
