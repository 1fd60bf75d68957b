import CairnBSON
import CairnDatabase
import CairnReplication
import CairnSharding
import CairnTestSupport
import Testing

/// The same documents in one group and in six must give the same answers.
@MainActor @Suite("One group and six agree")
struct DifferentialTests {
    private func documents(_ random: inout SeededGenerator, count: Int) -> [Document] {
        (0..<count).map { number in
            var builder = DocumentBuilder()
            builder.append("_id", .int32(Int32(number)))
            builder.append(
                "carrier", .string(BSONString(["AA", "UA", "DL", "B6", "WN"].randomElement(using: &random)!)))
            if !random.oneIn(10) { builder.append("delay", .int32(Int32.random(in: -20...200, using: &random))) }
            builder.append("distance", .double(Double(Int.random(in: 100...4000, using: &random))))
            builder.append("month", .int32(Int32.random(in: 1...12, using: &random)))
            let tags = (0..<Int.random(in: 0...3, using: &random)).map { _ in
                Value.string(BSONString(["a", "b", "c", "d"].randomElement(using: &random)!))
            }
            builder.append("tags", .array(BSONArray(tags)))
            return builder.finish()
        }
    }

    private static let pipelines: [[Document]] = [
        [["$match": ["month": ["$lte": 6]]], ["$count": "n"]],
        [["$group": ["_id": "$carrier", "n": ["$sum": 1], "total": ["$sum": "$distance"]]], ["$sort": ["_id": 1]]],
        [
            [
                "$group": [
                    "_id": ["c": "$carrier", "m": "$month"], "low": ["$min": "$delay"], "high": ["$max": "$delay"],
                    "mean": ["$avg": "$delay"],
                ]
            ], ["$sort": ["_id.c": 1, "_id.m": 1]], ["$limit": 20],
        ],
        [["$sort": ["distance": -1, "_id": 1]], ["$skip": 7], ["$limit": 13], ["$project": ["distance": 1]]],
        [["$unwind": "$tags"], ["$group": ["_id": "$tags", "n": ["$sum": 1]]], ["$sort": ["n": -1, "_id": 1]]],
        [
            ["$match": ["delay": ["$gt": 100]]], ["$addFields": ["km": ["$multiply": ["$distance", 2]]]],
            ["$sort": ["km": 1, "_id": 1]], ["$limit": 5], ["$unset": "tags"],
        ],
        [
            ["$group": ["_id": .null, "carriers": ["$addToSet": "$carrier"]]],
            ["$project": ["n": ["$size": "$carriers"]]],
        ],
        [
            ["$lookup": ["from": "carriers", "localField": "carrier", "foreignField": "code", "as": "who"]],
            ["$unwind": "$who"], ["$group": ["_id": "$who.name", "n": ["$sum": 1]]], ["$sort": ["_id": 1]],
        ],
        [["$match": ["_id": 17]], ["$project": ["carrier": 1, "_id": 0]]],
        [["$sort": ["_id": 1]], ["$group": ["_id": "$month", "first": ["$first": "$_id"]]], ["$sort": ["_id": 1]]],
    ]

    @Test(arguments: [1, 2, 3] as [UInt64])
    func aggregatesAndQueries(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let documents = documents(&random, count: 400)
        let one = try TestCluster(groups: 1, seed: seed)
        let six = try TestCluster(groups: 6, seed: seed)
        for cluster in [one, six] {
            #expect(try await cluster.insert("flights", documents)["n"] == 400)
            _ = try await cluster.insert(
                "carriers",
                [
                    ["_id": 1, "code": "AA", "name": "American"], ["_id": 2, "code": "UA", "name": "United"],
                    ["_id": 3, "code": "DL", "name": "Delta"],
                ])
        }
        for pipeline in Self.pipelines {
            let body: Document = [
                "aggregate": "flights", "pipeline": .array(BSONArray(pipeline.map { .document($0) })), "cursor": [:],
            ]
            let expected = try await one.drain(body)
            let actual = try await six.drain(body)
            #expect(actual == expected, "seed \(seed): \(pipeline)")
            #expect(!expected.isEmpty, "a comparison of nothing shows nothing: \(pipeline)")
        }
        for _ in 0..<25 {
            let low = Int32.random(in: -20...150, using: &random)
            let filter: Document = [
                "delay": ["$gte": .int32(low), "$lt": .int32(low + 60)],
                "month": ["$ne": .int32(Int32.random(in: 1...12, using: &random))],
            ]
            let more: Document = [
                "sort": ["month": .int32(random.oneIn(2) ? 1 : -1), "_id": 1],
                "skip": .int32(Int32.random(in: 0...10, using: &random)),
                "limit": .int32(Int32.random(in: 0...40, using: &random)), "projection": ["delay": 1],
            ]
            let expected = try await one.all("flights", filter: filter, with: more, batchSize: 7)
            let actual = try await six.all("flights", filter: filter, with: more, batchSize: 5)
            #expect(actual == expected, "seed \(seed): \(filter) \(more)")
            let count: Document = ["count": "flights", "query": .document(filter)]
            #expect(try await one.ok(count)["n"] == six.ok(count)["n"])
            let distinct: Document = ["distinct": "flights", "key": "tags", "query": .document(filter)]
            #expect(try await one.ok(distinct)["values"] == six.ok(distinct)["values"])
        }
        for update: Document in [
            ["q": ["carrier": "AA"], "u": ["$inc": ["delay": 1]], "multi": true],
            ["q": ["tags": "a"], "u": ["$push": ["tags": "z"]], "multi": true],
            ["q": ["_id": ["$in": [1, 2, 3, 500]]], "u": ["$set": ["seen": true]], "multi": true],
        ] {
            let body: Document = ["update": "flights", "updates": .array([.document(update)])]
            let expected = try await one.ok(body)
            let actual = try await six.ok(body)
            #expect(actual == expected)
        }
        let all: Document = ["sort": ["_id": 1]]
        #expect(try await one.all("flights", with: all) == six.all("flights", with: all))
    }

    @Test func aggregatesWithoutACollection() async throws {
        let cluster = try TestCluster(groups: 3)
        #expect(
            try await cluster.drain(["aggregate": "nothing", "pipeline": [["$match": ["a": 1]]], "cursor": [:]]).isEmpty
        )
        let made = try await cluster.ok([
            "aggregate": 1, "pipeline": [["$documents": [["a": 1], ["a": 2]]], ["$match": ["a": 2]]], "cursor": [:],
        ])
        #expect(made["cursor"]?.asDocument?["firstBatch"] == [["a": 2]])
        try await cluster.fails(.failedToParse, ["aggregate": "a", "pipeline": []])
        try await cluster.fails(.unrecognizedStage, ["aggregate": "a", "pipeline": [["$nonsense": 1]], "cursor": [:]])
        try await cluster.fails(
            .unrecognizedStage, ["aggregate": "a", "pipeline": [["$_internalGroupMerge": [:]]], "cursor": [:]])
    }

    @Test func explainSaysWhichGroupsAndIndexes() async throws {
        let cluster = try TestCluster(groups: 3)
        _ = try await cluster.insert("a", (0..<200).map { ["_id": .int32($0), "x": .int32($0 % 20)] })
        try await cluster.ok(["createIndexes": "a", "indexes": [["key": ["x": 1], "name": "x_1"]]])
        var reply = try await cluster.ok(["explain": ["find": "a", "filter": ["x": 3]], "verbosity": "executionStats"])
        let plan = try #require(reply["queryPlanner"]?.asDocument?["winningPlan"]?.asDocument)
        #expect(plan["stage"] == "SHARD_MERGE")
        #expect(plan["shards"]?.asArray?.count == 3)
        #expect("\(plan)".contains("IXSCAN"))
        #expect(reply["executionStats"]?.asDocument?["nReturned"] == 10)
        reply = try await cluster.ok(["explain": ["find": "a", "filter": ["_id": 3]], "verbosity": "queryPlanner"])
        #expect(reply["queryPlanner"]?.asDocument?["winningPlan"]?.asDocument?["stage"] != "SHARD_MERGE")
        reply = try await cluster.ok(["explain": ["count": "a", "query": ["y": 1]]])
        #expect("\(reply)".contains("COLLSCAN"))
        reply = try await cluster.ok(["explain": ["find": "nothing"]])
        #expect("\(reply)".contains("EOF"))
    }
}
