import CairnBSON
import CairnQuery
import Testing

@Suite("$graphLookup") struct GraphLookupTests {
    /// a → b → c → a, c → d, and e that nothing leads to.
    private let places = MemoryCollections([
        "p": [
            "{'_id': 'a', 'to': ['b']}", "{'_id': 'b', 'to': ['c']}", "{'_id': 'c', 'to': ['a', 'd']}",
            "{'_id': 'd', 'to': null, 'closed': true}", "{'_id': 'e', 'to': ['a']}",
        ].map(json)
    ])

    private func search(_ more: String = "", from start: String = "'$at'") -> [String] {
        [
            "{'$graphLookup': {'from': 'p', 'startWith': \(start), 'connectFromField': 'to', 'connectToField': '_id', 'as': 'r'\(more)}}",
            "{'$project': {'r': {'$map': {'input': '$r', 'in': {'$concat': ['$$this._id', {'$ifNull': [{'$toString': '$$this.d'}, '']}]}}}}}",
        ]
    }

    private func reached(_ more: String = "", from document: String) async throws -> Value? {
        try await joined(search(more), [document], places)[0]["r"]
    }

    @Test func everythingReachableIsFoundOnceAlsoInACycle() async throws {
        #expect(try await reached(from: "{'at': 'a'}") == jsonValue("['a', 'b', 'c', 'd']"))
        #expect(try await reached(from: "{'at': 'e'}") == jsonValue("['e', 'a', 'b', 'c', 'd']"))
        #expect(try await reached(from: "{'at': 'x'}") == [])
    }

    @Test func depthsAreCountedAndBounded() async throws {
        #expect(try await reached(", 'depthField': 'd'", from: "{'at': 'b'}") == jsonValue("['b0', 'c1', 'a2', 'd2']"))
        #expect(try await reached(", 'maxDepth': 1", from: "{'at': 'b'}") == jsonValue("['b', 'c']"))
        #expect(try await reached(", 'maxDepth': 0", from: "{'at': 'b'}") == jsonValue("['b']"))
    }

    @Test func startValuesOfAnArrayCountEach() async throws {
        #expect(try await reached(", 'maxDepth': 0", from: "{'at': ['d', 'e', 'd']}") == jsonValue("['d', 'e']"))
        #expect(try await reached(from: "{}") == [])
    }

    @Test func nullMeetsNullAndMissing() async throws {
        let collections = MemoryCollections([
            "p": ["{'_id': 1, 'b': null}", "{'_id': 2}", "{'_id': 3, 'b': 1}"].map(json)
        ])
        let stage =
            "{'$graphLookup': {'from': 'p', 'startWith': '$x', 'connectFromField': 'none', 'connectToField': 'b', 'as': 'r'}}"
        let results = try await joined(
            [stage, "{'$project': {'r': '$r._id'}}"], ["{'x': null}", "{}", "{'x': 1.0}"], collections)
        #expect(results == ["{'r': [1, 2]}", "{'r': []}", "{'r': [3]}"].map(json))
    }

    @Test func whatIsRestrictedIsNotPassedThrough() async throws {
        #expect(
            try await reached(", 'restrictSearchWithMatch': {'_id': {'$ne': 'c'}}", from: "{'at': 'a'}")
                == jsonValue("['a', 'b']"))
        #expect(
            try await reached(", 'restrictSearchWithMatch': {'closed': true}", from: "{'at': 'd'}")
                == jsonValue("['d']"))
    }

    @Test func searchesOfManyDocumentsShareTheirQuestions() async throws {
        let before = places.requests
        let documents = (0..<60).map { "{'at': '\(["a", "b", "c", "e"][$0 % 4])'}" }
        let results = try await joined(search(), documents, places)
        #expect(results.count == 60)
        #expect(results[3]["r"] == jsonValue("['e', 'a', 'b', 'c', 'd']"))
        // One a level.
        #expect(places.requests - before <= 4)
    }

    @Test func aSearchThatNeedsTooMuchMemoryEndsInAnError() async throws {
        let text = String(repeating: "x", count: 200)
        let chain = (0..<100).map { ["_id": .int32($0), "to": .int32($0 + 1), "t": .text(text)] as Document }
        let collections = MemoryCollections(["p": chain])
        var context = QueryContext()
        context.memoryBytesMax = 10_000
        let stage = search(from: "'$at'")[0]
        func run(_ documents: [String], maxDepth: Int) async -> ErrorCode? {
            do {
                let bounded = stage.replacing("'as'", with: "'maxDepth': \(maxDepth), 'as'")
                _ = try await joined([bounded], documents, collections, context: context)
                return nil
            } catch { return (error as? QueryError)?.code }
        }
        #expect(await run(["{'at': 0}"], maxDepth: 1000) == ErrorCode(40099))
        // Each fits, and together they do not.
        #expect(await run((0..<10).map { "{'at': \($0 * 10)}" }, maxDepth: 9) == nil)
    }

    @Test(arguments: [
        ("1", 9), ("{}", 40105), ("{'from': 'p', 'as': 'r', 'startWith': 1, 'connectFromField': 'a'}", 40105),
        ("{'from': 1}", 40103), ("{'maxDepth': 'x'}", 40100), ("{'maxDepth': -1}", 40101), ("{'maxDepth': 1.5}", 40102),
        ("{'restrictSearchWithMatch': 1}", 40185), ("{'depth': 1}", 40104),
        ("{'from': 'p', 'as': '$r', 'startWith': 1, 'connectFromField': 'a', 'connectToField': 'b'}", 16410),
    ])
    func mistakesHaveMongoDBsCodes(stage: String, expected: Int32) {
        #expect(
            code { _ = try Pipeline(parsing: [json("{'$graphLookup': \(stage)}")]) } == ErrorCode(expected), "\(stage)")
    }
}

@Suite("$unionWith") struct UnionTests {
    private let people = MemoryCollections(["p": ["{'_id': 1, 'n': 'ann'}", "{'_id': 2, 'n': 'bob'}"].map(json)])

    @Test func theOtherSideComesAfterThisOne() async throws {
        #expect(
            try await joined(["{'$unionWith': 'p'}"], ["{'_id': 9}"], people)
                == ["{'_id': 9}", "{'_id': 1, 'n': 'ann'}", "{'_id': 2, 'n': 'bob'}"].map(json))
        #expect(try await joined(["{'$unionWith': 'nobody'}"], [], people) == [])
    }

    @Test func insideOfALookupItSeesTheVariables() async throws {
        let stage =
            "{'$lookup': {'from': 'p', 'let': {'w': '$who'}, 'pipeline': [{'$limit': 1}, {'$unionWith': {'coll': 'p', 'pipeline': [{'$match': {'$expr': {'$eq': ['$_id', '$$w']}}}]}}], 'as': 'm'}}"
        let results = try await joined(
            [stage, "{'$project': {'m': '$m._id'}}"], ["{'_id': 1, 'who': 2}", "{'_id': 2, 'who': 1}"], people)
        #expect(results == ["{'_id': 1, 'm': [1, 2]}", "{'_id': 2, 'm': [1, 1]}"].map(json))
    }

    @Test(arguments: [
        ("1", 9), ("{'coll': 1}", 14), ("{'coll': 'p', 'x': 1}", 40415), ("{'pipeline': []}", 9),
        ("{'coll': 'p', 'pipeline': [{'$out': 'x'}]}", 31441), ("{'coll': 'p', 'pipeline': [{'$merge': 'x'}]}", 31441),
    ])
    func mistakesHaveMongoDBsCodes(stage: String, expected: Int32) {
        #expect(
            code { _ = try Pipeline(parsing: [json("{'$unionWith': \(stage)}")]) } == ErrorCode(expected), "\(stage)")
    }
}
