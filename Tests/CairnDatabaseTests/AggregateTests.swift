import CairnBSON
import CairnQuery
import CairnStorage
import Testing

@testable import CairnDatabase

@Suite struct AggregateTests {
    private func group() throws -> TestGroup {
        let group = try TestGroup()
        try group.start([.on(1, ["k": 1, "n": 1])])
        for id in 0..<40 { try group.insert(["_id": Value(id), "k": Value(id % 4), "n": Value(id)]) }
        return group
    }

    @Test func pipelinesRunOverAPlan() throws {
        let group = try group()
        let body: Document = [
            "pipeline": [
                ["$match": ["k": ["$in": [1, 2]]]], ["$group": ["_id": "$k", "sum": ["$sum": "$n"]]],
                ["$sort": ["_id": 1]],
            ]
        ]
        let reply = try group.run(group.request(.aggregate, body))
        #expect(reply.documents == [["_id": 1, "sum": 190], ["_id": 2, "sum": 200]])
        #expect(reply.body["exhausted"] == true)
        let explained = try group.run(
            group.request(.explain, ["command": ["aggregate": .document(body)], "verbosity": "executionStats"])
        ).body
        #expect(explained["executionStats"]?.asDocument?["totalDocsExamined"] == 20)
    }

    @Test func theShardPartAndTheMergePartGiveTheWhole() throws {
        let group = try group()
        let stages: [Document] = [
            ["$match": ["n": ["$lt": 30]]], ["$group": ["_id": "$k", "average": ["$avg": "$n"]]], ["$sort": ["_id": 1]],
        ]
        let whole = try Pipeline(parsing: stages)
        let split = whole.split()
        let parts = try group.run(
            group.request(.aggregate, ["pipeline": .array(BSONArray(split.shard.map(Value.document)))])
        ).documents
        let merged = try Pipeline(parsing: split.merge, allowsInternal: true).makeExecutor().run(parts)
        #expect(
            merged
                == (try group.run(
                    group.request(.aggregate, ["pipeline": .array(BSONArray(stages.map(Value.document)))])
                ).documents))
        #expect(merged.count == 4)
    }

    @Test func cursorsOfPipelinesStayAtTheirVersion() throws {
        let group = try group()
        let body: Document = ["pipeline": [["$sort": ["k": 1, "n": 1]], ["$project": ["n": 1]]], "batchSize": 7]
        var reply = try group.run(group.request(.aggregate, body))
        var documents = reply.documents
        while reply.body["exhausted"] == false {
            try group.delete(["n": ["$gte": 20]])
            reply = try group.run(group.request(.getMore, ["cursor": reply.body["cursor"]!, "batchSize": 7]))
            documents += reply.documents
        }
        #expect(documents.count == 40)
        #expect(try group.find([:]).count == 20)
    }
}
