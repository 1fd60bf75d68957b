import CairnBSON
import CairnQuery
import CairnSharding
import CairnTestSupport
import Testing

@MainActor @Suite("$out and $merge")
struct AggregateOutputTests {
    let cluster: TestCluster

    init() throws {
        cluster = try TestCluster(groups: 4, routers: 2)
    }

    private func aggregate(_ collection: String, _ stages: [Document], router: Int = 0) async throws {
        let reply = try await cluster.ok(
            [
                "aggregate": .text(collection), "pipeline": .array(BSONArray(stages.map(Value.document))),
                "cursor": .document([:]),
            ], router: router)
        #expect(reply["cursor"]?.asDocument?["id"] == .int64(0))
        #expect(reply["cursor"]?.asDocument?["firstBatch"] == [])
    }

    private func fails(_ code: Int32, _ collection: String, _ stages: [Document]) async throws {
        try await cluster.fails(
            ErrorCode(code),
            [
                "aggregate": .text(collection), "pipeline": .array(BSONArray(stages.map(Value.document))),
                "cursor": .document([:]),
            ])
    }

    private func fill(_ collection: String, _ ids: Range<Int32>) async throws {
        _ = try await cluster.insert(collection, ids.map { ["_id": .int32($0), "v": .int32($0 % 3)] })
    }

    private func sorted(_ collection: String, router: Int = 0) async throws -> [Document] {
        try await cluster.all(collection, with: ["sort": ["_id": 1]], router: router)
    }

    private func collections() async throws -> [String] {
        let reply = try await cluster.ok(["listCollections": 1, "nameOnly": true])
        let batch = reply["cursor"]?.asDocument?["firstBatch"]?.asArray ?? []
        return batch.compactMap { $0.asDocument?["name"]?.stringValue }.sorted()
    }

    @Test func outMakesTheCollectionAndReplacesItWholly() async throws {
        try await fill("s", 0..<200)
        try await aggregate("s", [["$match": ["_id": ["$lt": 100]]], ["$out": "t"]])
        #expect(try await sorted("t").count == 100)
        // Another router has the old one in mind.
        #expect(try await sorted("t", router: 1).count == 100)
        try await aggregate("s", [["$group": ["_id": "$v", "n": ["$sum": 1]]], ["$out": "t"]])
        let expected: [Document] = [["_id": 0, "n": 67], ["_id": 1, "n": 67], ["_id": 2, "n": 66]]
        #expect(try await sorted("t") == expected)
        #expect(try await sorted("t", router: 1) == expected)
        #expect(try await collections() == ["s", "t"])
        try await aggregate("s", [["$match": ["_id": 1000]], ["$out": "t"]])
        #expect(try await sorted("t").isEmpty)
        #expect(try await collections() == ["s", "t"])
    }

    @Test func outKeepsIndexesAndAnErrorLeavesTheTargetAlone() async throws {
        try await cluster.ok([
            "createIndexes": "t", "indexes": [["key": ["v": 1], "name": "v_1", "unique": true]],
        ])
        _ = try await cluster.insert("t", [["_id": "old", "v": 9]])
        try await fill("s", 0..<10)
        try await fails(11000, "s", [["$out": "t"]])
        #expect(try await sorted("t") == [["_id": "old", "v": 9]])
        #expect(try await collections() == ["s", "t"])
        try await aggregate("s", [["$limit": 1], ["$project": ["v": "x"]], ["$out": "t"]])
        #expect(try await sorted("t").map { $0["v"] } == ["x"])
        let indexes = try await cluster.ok(["listIndexes": "t"])
        #expect(indexes["cursor"]?.asDocument?["firstBatch"]?.asArray?.count == 2)
    }

    @Test func aCollectionCanReplaceItself() async throws {
        try await fill("s", 0..<50)
        try await aggregate("s", [["$match": ["v": 1]], ["$out": "s"]])
        #expect(try await sorted("s").count == 17)
        try await aggregate("s", [["$set": ["w": 1]], ["$merge": "s"]])
        #expect(try await sorted("s").allSatisfy { $0["w"] == 1 && $0["v"] == 1 })
    }

    @Test func renamingOverACollectionIsOneStepForReaders() async throws {
        try await fill("a", 0..<10)
        try await fill("b", 0..<20)
        try await cluster.ok(
            ["renameCollection": "test.a", "to": "test.b", "dropTarget": true], database: "admin")
        #expect(try await sorted("b").count == 10)
        #expect(try await sorted("b", router: 1).count == 10)
        #expect(try await collections() == ["b"])
    }

    @Test func mergeInEveryMode() async throws {
        func reset() async throws {
            try await cluster.ok(["drop": "t"])
            _ = try await cluster.insert("t", [["_id": 1, "a": 1, "keep": true], ["_id": 9, "a": 9]])
        }
        _ = try await cluster.insert("s", [["_id": 1, "a": 10], ["_id": 2, "a": 20]])
        let other: Document = ["_id": 9, "a": 9]
        let old: Document = ["_id": 1, "a": 1, "keep": true]
        let new: Document = ["_id": 2, "a": 20]
        let cases: [(Document, [Document])] = [
            (["into": "t"], [["_id": 1, "a": 10, "keep": true], new, other]),
            (["into": "t", "whenMatched": "replace"], [["_id": 1, "a": 10], new, other]),
            (["into": "t", "whenMatched": "keepExisting"], [old, new, other]),
            (["into": "t", "whenNotMatched": "discard"], [["_id": 1, "a": 10, "keep": true], other]),
            (["into": "t", "whenMatched": "replace", "whenNotMatched": "discard"], [["_id": 1, "a": 10], other]),
            (
                [
                    "into": "t", "whenMatched": [["$set": ["a": ["$add": ["$a", "$$new.a", "$$k"]]]]],
                    "let": ["k": 100],
                ],
                [["_id": 1, "a": 111, "keep": true], new, other]
            ),
            (
                ["into": "t", "whenMatched": [["$set": ["a": "$$new.a"]]], "whenNotMatched": "discard"],
                [["_id": 1, "a": 10, "keep": true], other]
            ),
        ]
        for (merge, expected) in cases {
            try await reset()
            try await aggregate("s", [["$merge": .document(merge)]])
            #expect(try await sorted("t") == expected, "\(merge)")
        }
        try await reset()
        try await fails(11000, "s", [["$merge": ["into": "t", "whenMatched": "fail"]]])
        #expect(try await cluster.all("t", filter: ["_id": 1]) == [old])
        try await reset()
        try await fails(13113, "s", [["$merge": ["into": "t", "whenNotMatched": "fail"]]])
        try await aggregate(
            "s",
            [["$match": ["_id": 1]], ["$merge": ["into": "t", "whenMatched": "replace", "whenNotMatched": "fail"]]])
        #expect(try await cluster.all("t", filter: ["_id": 1]) == [["_id": 1, "a": 10]])
    }

    @Test func mergeByOtherFieldsNeedsAnIndexThatKeepsThemUnique() async throws {
        _ = try await cluster.insert("s", [["_id": 1, "k": "x", "n": 1], ["_id": 2, "k": "y", "n": 2]])
        let stages: [Document] = [["$project": ["_id": 0]], ["$merge": ["into": "t", "on": "k"]]]
        try await fails(51183, "s", stages)
        try await cluster.ok(["createIndexes": "t", "indexes": [["key": ["k": 1], "name": "k_1", "unique": true]]])
        _ = try await cluster.insert("t", [["_id": "old", "k": "x", "m": 5]])
        try await aggregate("s", stages)
        #expect(try await cluster.all("t", filter: ["k": "x"]) == [["_id": "old", "k": "x", "m": 5, "n": 1]])
        #expect(try await cluster.all("t", filter: ["k": "y"])[0]["_id"]?.asObjectID != nil)
        // The result's own _id is not that of the document it meets.
        try await fails(66, "s", [["$merge": ["into": "t", "on": "k", "whenMatched": "replace"]]])
        try await fails(51132, "s", [["$project": ["k": 0]], ["$merge": ["into": "t", "on": "k"]]])
    }

    @Test func resultsWithoutIDsGetThem() async throws {
        try await fill("s", 0..<5)
        try await aggregate("s", [["$project": ["_id": 0]], ["$merge": "t"]])
        try await aggregate("s", [["$project": ["_id": 0]], ["$out": "u"]])
        #expect(try await sorted("t").count == 5)
        #expect(try await sorted("u").count == 5)
    }

    @Test func outWithoutACollectionToRead() async throws {
        let pipeline: [Value] = [["$documents": [["a": 1], ["a": 2]]], ["$out": "t"]]
        try await cluster.ok(["aggregate": 1, "pipeline": .array(BSONArray(pipeline)), "cursor": .document([:])])
        #expect(try await cluster.all("t").count == 2)
    }

    @Test func unionsComeInPiecesAndTakeTheCommandsVariables() async throws {
        try await fill("s", 0..<3000)
        let reply = try await cluster.ok([
            "aggregate": "none", "cursor": .document([:]), "let": ["v": 1],
            "pipeline": [
                ["$unionWith": ["coll": "s", "pipeline": [["$match": ["$expr": ["$eq": ["$v", "$$v"]]]]]]],
                ["$count": "n"],
            ],
        ])
        #expect(reply["cursor"]?.asDocument?["firstBatch"] == [["n": 1000]])
        let graph = try await cluster.ok([
            "aggregate": "s", "cursor": .document([:]),
            "pipeline": [
                ["$match": ["_id": 1]],
                [
                    "$graphLookup": [
                        "from": "s", "startWith": "$v", "connectFromField": "_id", "connectToField": "v", "as": "r",
                        "maxDepth": 0,
                    ]
                ], ["$project": ["n": ["$size": "$r"]]],
            ],
        ])
        #expect(graph["cursor"]?.asDocument?["firstBatch"] == [["_id": 1, "n": 1000]])
    }

    @Test func aStageThatStopsEarlyLetsGoOfTheOtherCollection() async throws {
        try await fill("s", 0..<5000)
        _ = try await cluster.insert("few", (0..<40).map { ["_id": .int32($0)] })
        let reply = try await cluster.ok([
            "aggregate": "few", "cursor": .document([:]),
            "pipeline": [
                [
                    "$lookup": [
                        "from": "few", "let": ["i": "$_id"], "as": "r",
                        "pipeline": [
                            ["$match": ["$expr": ["$lt": ["$_id", ["$subtract": ["$$i", 1000]]]]]], ["$unionWith": "s"],
                            ["$set": ["i": "$$i"]], ["$limit": 3],
                        ],
                    ]
                ], ["$project": ["n": ["$size": "$r"], "i": ["$setUnion": "$r.i"]]], ["$sort": ["_id": 1]],
            ],
        ])
        let rows = reply["cursor"]?.asDocument?["firstBatch"]?.asArray ?? []
        #expect(rows.compactMap(\.asDocument) == (0..<40).map { ["_id": .int32($0), "n": 3, "i": [.int32($0)]] })
        #expect(cluster.requests[.killCursors] ?? 0 > 0)
    }
}
