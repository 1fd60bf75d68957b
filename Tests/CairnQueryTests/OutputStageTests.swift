import CairnBSON
import CairnQuery
import Testing

@Suite("$out and $merge") struct OutputStageTests {
    private func merge(_ stage: String) throws -> MergeSpecification {
        let pipeline = try Pipeline(parsing: [json("{'$match': {}}"), json("{'$merge': \(stage)}")])
        guard case .merge(let merge)? = pipeline.output else {
            Issue.record("no output: \(stage)")
            throw CancellationError()
        }
        return merge
    }

    private func statement(_ stage: String, _ result: String) throws -> Document {
        try merge(stage).statement(for: json(result))
    }

    @Test func anOutputIsNoStepOfThePipeline() throws {
        let pipeline = try Pipeline(parsing: [json("{'$match': {'a': 1}}"), json("{'$out': 'x'}")])
        #expect(pipeline.source == [json("{'$match': {'a': 1}}")])
        guard case .replace(nil, "x")? = pipeline.output else {
            return #expect(Bool(false), "\(pipeline.output as Any)")
        }
        let other = try Pipeline(parsing: [json("{'$out': {'db': 'd', 'coll': 'x'}}")])
        guard case .replace("d", "x")? = other.output else { return #expect(Bool(false), "\(other.output as Any)") }
    }

    @Test func eachModeIsAnUpdate() throws {
        let result = "{'_id': 1, 'a': 2}"
        #expect(
            try statement("{'into': 't', 'whenMatched': 'replace'}", result)
                == json("{'q': {'_id': 1}, 'u': {'_id': 1, 'a': 2}, 'upsert': true}"))
        #expect(
            try statement("'t'", result)
                == json(
                    "{'q': {'_id': 1}, 'u': [{'$replaceWith': {'$mergeObjects': ['$$ROOT', '$$new']}}], 'c': {'new': {'_id': 1, 'a': 2}}, 'upsert': true, 'upsertSupplied': true}"
                ))
        #expect(
            try statement("{'into': 't', 'whenMatched': 'keepExisting'}", result)
                == json(
                    "{'q': {'_id': 1}, 'u': [], 'c': {'new': {'_id': 1, 'a': 2}}, 'upsert': true, 'upsertSupplied': true}"
                ))
        #expect(
            try statement("{'into': 't', 'whenMatched': 'replace', 'whenNotMatched': 'discard'}", result)
                == json("{'q': {'_id': 1}, 'u': {'_id': 1, 'a': 2}}"))
        #expect(try merge("{'into': 't', 'whenMatched': 'fail'}").isInsert)
        #expect(try merge("{'into': 't', 'whenNotMatched': 'fail'}").demandsMatch)
    }

    @Test func aPipelineSeesTheResultAndItsVariables() throws {
        #expect(
            try statement(
                "{'into': 't', 'on': 'k', 'let': {'x': {'$add': ['$a', 1]}}, 'whenMatched': [{'$set': {'n': {'$add': ['$$new.a', '$$x']}}}], 'whenNotMatched': 'discard'}",
                "{'k': {'j': 1}, 'a': 2}")
                == json(
                    "{'q': {'k': {'$eq': {'j': 1}}}, 'u': [{'$set': {'n': {'$add': ['$$new.a', '$$x']}}}], 'c': {'x': 3, 'new': {'k': {'j': 1}, 'a': 2}}}"
                ))
    }

    @Test func namesThatLookLikeOperatorsAreNotTakenForThem() throws {
        #expect(
            try statement(
                "{'into': 't', 'whenMatched': 'replace', 'whenNotMatched': 'discard'}", "{'_id': 1, '$set': 1}")["u"]
                == [["$replaceWith": "$$new"]])
    }

    @Test(arguments: [("{'a': 1}", 51132), ("{'k': null}", 51132), ("{'k': [1]}", 51185)])
    func aResultHasToSayWhatItMeets(result: String, expected: Int32) {
        #expect(code { _ = try statement("{'into': 't', 'on': 'k'}", result) } == ErrorCode(expected), "\(result)")
    }

    @Test(arguments: [
        ("{'$out': 1}", 16990), ("{'$out': {'coll': 'x'}}", 40414),
        ("{'$out': {'db': 'd', 'coll': 'x', 'y': 1}}", 40415),
        ("{'$out': ''}", 73), ("{'$out': 'system.x'}", 17385), ("{'$out': {'db': 'config', 'coll': 'x'}}", 31321),
        ("{'$merge': 1}", 14), ("{'$merge': {}}", 40414), ("{'$merge': {'into': 1}}", 51178),
        ("{'$merge': {'into': 't', 'x': 1}}", 40415), ("{'$merge': {'into': 't', 'on': 1}}", 51186),
        ("{'$merge': {'into': 't', 'on': []}}", 51187), ("{'$merge': {'into': 't', 'on': [1]}}", 51134),
        ("{'$merge': {'into': 't', 'on': ['a', 'a']}}", 31465), ("{'$merge': {'into': 't', 'whenMatched': 1}}", 51191),
        ("{'$merge': {'into': 't', 'whenMatched': 'x'}}", 2), ("{'$merge': {'into': 't', 'whenNotMatched': 'x'}}", 2),
        ("{'$merge': {'into': 't', 'whenMatched': 'keepExisting', 'whenNotMatched': 'discard'}}", 51181),
        ("{'$merge': {'into': 't', 'whenMatched': 'fail', 'whenNotMatched': 'fail'}}", 51181),
        ("{'$merge': {'into': 't', 'let': {'x': 1}}}", 51199),
        ("{'$merge': {'into': 't', 'whenMatched': [], 'let': {'new': 1}}}", 51273),
        ("{'$merge': {'into': 't', 'whenMatched': [{'$group': {'_id': 1}}]}}", 72),
        ("{'$merge': {'into': 't', 'whenMatched': [{'$set': {'a': '$$b'}}]}}", 17276),
        ("{'$merge': {'into': {'db': 'admin', 'coll': 't'}}}", 31320),
        ("{'$facet': {'a': [{'$merge': 't'}]}}", 40600),
        ("{'$lookup': {'from': 'x', 'pipeline': [{'$out': 't'}], 'as': 'y'}}", 51047),
    ])
    func mistakesHaveMongoDBsCodes(stage: String, expected: Int32) {
        #expect(code { _ = try Pipeline(parsing: [json(stage)]) } == ErrorCode(expected), "\(stage)")
    }

    @Test func nothingFollowsAnOutput() {
        #expect(
            code { _ = try Pipeline(parsing: [json("{'$out': 'x'}"), json("{'$match': {}}")]) } == ErrorCode(40601))
        #expect(
            code { _ = try Pipeline(parsing: [json("{'$merge': 'x'}"), json("{'$out': 'x'}")]) } == ErrorCode(40601))
    }
}
