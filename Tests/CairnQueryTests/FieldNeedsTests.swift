import CairnBSON
import Testing

@testable import CairnQuery

@Suite struct FieldNeedsTests {
    /// What travels to the place where documents of several groups meet.
    @Test(arguments: [
        (
            ["{'$lookup': {'from': 'f', 'localField': 'a.x', 'foreignField': 'y', 'as': 'm'}}", "{'$count': 'n'}"],
            "{'a': 1, 'm': 1, '_id': 0}"
        ),
        (
            [
                "{'$lookup': {'from': 'f', 'let': {'v': {'$add': ['$a', '$b.c']}}, 'pipeline': [], 'as': 'm'}}",
                "{'$unwind': '$m'}", "{'$group': {'_id': '$m.name', 'n': {'$sum': '$c'}}}",
            ],
            "{'a': 1, 'b': 1, 'm': 1, 'c': 1, '_id': 0}"
        ),
        (["{'$sort': {'a.b': 1}}", "{'$limit': 5}", "{'$project': {'c': 1}}"], "{'a': 1, 'c': 1, '_id': 1}"),
        (
            ["{'$limit': 5}", "{'$match': {'$or': [{'a': 1}, {'b.c': 2}]}}", "{'$project': {'x': '$y'}}"],
            "{'a': 1, 'b': 1, 'y': 1, '_id': 1}"
        ),
        (["{'$limit': 5}", "{'$set': {'x': '$a'}}", "{'$replaceWith': {'y': '$x'}}"], "{'a': 1, 'x': 1, '_id': 0}"),
        (["{'$limit': 5}", "{'$set': {'x.z': '$a'}}", "{'$replaceWith': {'y': '$x'}}"], "{'x': 1, 'a': 1, '_id': 0}"),
        (["{'$limit': 5}", "{'$replaceWith': {'y': 1}}"], "{'_id': 1}"),
        (
            ["{'$limit': 5}", "{'$group': {'_id': null, 't': {'$top': {'sortBy': {'a.b': 1}, 'output': '$c'}}}}"],
            "{'c': 1, 'a': 1, '_id': 0}"
        ),
    ])
    func areTheFieldsThatAreLookedAt(stages: [String], expected: String) throws {
        let split = try Pipeline(parsing: stages.map(json)).split()
        #expect(split.shard.last == ["$project": .document(json(expected))])
    }

    @Test(arguments: [
        ["{'$limit': 5}"], ["{'$limit': 5}", "{'$set': {'a': 1}}"],
        ["{'$limit': 5}", "{'$group': {'_id': null, 'all': {'$push': '$$ROOT'}}}"],
        ["{'$limit': 5}", "{'$match': {'$expr': {'$eq': ['$a', 1]}}}", "{'$project': {'a': 1}}"],
        ["{'$sort': {'a': 1}}", "{'$facet': {'x': []}}"],
        ["{'$limit': 5}", "{'$project': {'x': {'$getField': 'a.b'}}}"],
        ["{'$project': {'a': 1}}", "{'$limit': 5}", "{'$project': {'b': 1}}"],
    ])
    func areEverythingWhereAnyMayBeLookedAt(stages: [String]) throws {
        let split = try Pipeline(parsing: stages.map(json)).split()
        #expect(split.shard.last?.first?.name != "$project")
    }
}
