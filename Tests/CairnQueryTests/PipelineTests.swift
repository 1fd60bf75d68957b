import CairnBSON
import CairnQuery
import CairnTestSupport
import Testing

@Suite struct PipelineTests {
    private let sales = [
        "{'_id': 1, 'k': 'a', 'v': 1, 't': ['x', 'y']}", "{'_id': 2, 'k': 'b', 'v': 2, 't': []}",
        "{'_id': 3, 'k': 'a', 'v': 3}",
        "{'_id': 4, 'v': 4.5, 't': 'z'}", "{'_id': 5, 'k': null, 'v': null, 't': ['x']}",
    ]

    @Test(arguments: [
        (["{'$match': {'k': 'a'}}", "{'$project': {'v': 1}}"], ["{'_id': 1, 'v': 1}", "{'_id': 3, 'v': 3}"]),
        (["{'$sort': {'v': -1}}", "{'$limit': 2}", "{'$project': {'_id': 1}}"], ["{'_id': 4}", "{'_id': 3}"]),
        (["{'$sort': {'_id': 1}}", "{'$skip': 3}", "{'$limit': 1}", "{'$project': {'_id': 1}}"], ["{'_id': 4}"]),
        (
            [
                "{'$group': {'_id': '$k', 'n': {'$sum': 1}, 's': {'$sum': '$v'}, 'l': {'$push': '$v'}}}",
                "{'$sort': {'_id': 1}}",
            ],
            [
                "{'_id': null, 'n': 2, 's': 4.5, 'l': [4.5, null]}", "{'_id': 'a', 'n': 2, 's': 4, 'l': [1, 3]}",
                "{'_id': 'b', 'n': 1, 's': 2, 'l': [2]}",
            ]
        ),
        (
            [
                "{'$group': {'_id': null, 'avg': {'$avg': '$v'}, 'min': {'$min': '$v'}, 'max': {'$max': '$v'}, 'first': {'$first': '$v'}, 'last': {'$last': '$k'}, 'c': {'$count': {}}}}"
            ],
            ["{'_id': null, 'avg': 2.625, 'min': 1, 'max': 4.5, 'first': 1, 'last': null, 'c': 5}"]
        ),
        (
            ["{'$unwind': '$t'}", "{'$project': {'t': 1}}"],
            ["{'_id': 1, 't': 'x'}", "{'_id': 1, 't': 'y'}", "{'_id': 4, 't': 'z'}", "{'_id': 5, 't': 'x'}"]
        ),
        (
            [
                "{'$match': {'_id': {'$lte': 3}}}",
                "{'$unwind': {'path': '$t', 'preserveNullAndEmptyArrays': true, 'includeArrayIndex': 'i'}}",
                "{'$project': {'t': 1, 'i': 1}}",
            ],
            [
                "{'_id': 1, 't': 'x', 'i': {'$numberLong': '0'}}", "{'_id': 1, 't': 'y', 'i': {'$numberLong': '1'}}",
                "{'_id': 2, 'i': null}", "{'_id': 3, 'i': null}",
            ]
        ),
        (["{'$count': 'n'}"], ["{'n': 5}"]), (["{'$match': {'x': 1}}", "{'$count': 'n'}"], []),
        (["{'$sortByCount': '$k'}", "{'$limit': 1}"], ["{'_id': 'a', 'count': 2}"]),
        (
            ["{'$match': {'_id': 1}}", "{'$addFields': {'n.m': {'$size': '$t'}, 'v': '$$REMOVE'}}"],
            ["{'_id': 1, 'k': 'a', 't': ['x', 'y'], 'n': {'m': 2}}"]
        ),
        (["{'$match': {'_id': 1}}", "{'$replaceRoot': {'newRoot': {'x': '$v'}}}"], ["{'x': 1}"]),
        (["{'$match': {'_id': 3}}", "{'$unset': ['k', 'v']}"], ["{'_id': 3}"]),
        (
            ["{'$bucket': {'groupBy': '$_id', 'boundaries': [1, 3, 5], 'default': 'rest'}}"],
            ["{'_id': 1, 'count': 2}", "{'_id': 3, 'count': 2}", "{'_id': 'rest', 'count': 1}"]
        ),
        (
            ["{'$bucketAuto': {'groupBy': '$_id', 'buckets': 2}}"],
            ["{'_id': {'min': 1, 'max': 4}, 'count': 3}", "{'_id': {'min': 4, 'max': 5}, 'count': 2}"]
        ),
        (
            [
                "{'$facet': {'a': [{'$match': {'k': 'a'}}, {'$count': 'n'}], 'b': [{'$limit': 1}, {'$project': {'_id': 1}}]}}"
            ], ["{'a': [{'n': 2}], 'b': [{'_id': 1}]}"]
        ),
        (
            [
                "{'$match': {'_id': 1}}", "{'$redact': {'$cond': [{'$eq': ['$v', 1]}, '$$KEEP', '$$PRUNE']}}",
                "{'$project': {'_id': 1}}",
            ], ["{'_id': 1}"]
        ),
        (
            [
                "{'$group': {'_id': null, 't': {'$topN': {'n': 2, 'sortBy': {'v': -1}, 'output': '$_id'}}, 'b': {'$bottom': {'sortBy': {'v': -1}, 'output': '$_id'}}, 'm': {'$maxN': {'n': 2, 'input': '$v'}}}}"
            ],
            ["{'_id': null, 't': [4, 3], 'b': 5, 'm': [4.5, 3]}"]
        ),
        (
            [
                "{'$group': {'_id': {'k': '$k'}, 's': {'$addToSet': '$v'}}}", "{'$sort': {'_id.k': -1}}",
                "{'$limit': 1}",
            ], ["{'_id': {'k': 'b'}, 's': [2]}"]
        ),
        (
            [
                "{'$group': {'_id': null, 'd': {'$stdDevPop': '$v'}, 'm': {'$mergeObjects': {'a': '$v'}}}}",
                "{'$project': {'m': 1, 'd': {'$round': ['$d', 3]}}}",
            ], ["{'_id': null, 'm': {'a': null}, 'd': 1.293}"]
        ),
    ])
    func stages(stages: [String], expected: [String]) throws {
        let results = try run(stages, over: sales)
        #expect(results == expected.map(json), "\(stages)")
    }

    @Test func documentsNeedNoCollection() throws {
        let pipeline = try Pipeline(parsing: [
            json("{'$documents': [{'a': 1}, {'a': 2}]}"), json("{'$match': {'a': 2}}"),
        ])
        #expect(pipeline.startsWithDocuments)
        #expect(try pipeline.makeExecutor().run([Document]()) == [json("{'a': 2}")])
    }

    @Test(arguments: [
        ("{'$foo': 1}", 40324), ("{'$match': 1}", 15959), ("{'$limit': 0}", 15958), ("{'$limit': -1}", 5_107_201),
        ("{'$skip': -1}", 5_107_200), ("{'$group': {'n': {'$sum': 1}}}", 15955),
        ("{'$group': {'_id': 1, 'n': 1}}", 40234), ("{'$group': {'_id': 1, 'n': {'$foo': 1}}}", 15952),
        ("{'$sort': {}}", 15976), ("{'$unwind': 'a'}", 28818), ("{'$count': ''}", 40156),
        ("{'$project': {}}", 51272), ("{'$lookup': {'from': 'x', 'as': 'y'}}", 9), ("{'$changeStream': {}}", 238),
        ("{'$_internalGroupMerge': {'_id': 1}}", 40324), ("{'$match': {}, '$limit': 1}", 40323),
        ("{'$sample': {'size': -1}}", 28747), ("{'$facet': {'a': [{'$facet': {}}]}}", 40600),
        ("{'$replaceRoot': {}}", 40414), ("{'$count': 'a\\u0000'}", 40159),
    ])
    func mistakesHaveMongoDBsCodes(stage: String, expected: Int32) {
        #expect(code { _ = try Pipeline(parsing: [json(stage)]) } == ErrorCode(expected), "\(stage)")
    }

    @Test func memoryIsBounded() throws {
        var context = QueryContext()
        context.memoryBytesMax = 10_000
        context.sortBytesMax = 10_000
        context.groupBytesMax = 10_000
        for stage in [
            "{'$sort': {'a': 1}}", "{'$group': {'_id': '$a'}}", "{'$group': {'_id': null, 'l': {'$push': '$a'}}}",
            "{'$bucketAuto': {'groupBy': '$a', 'buckets': 2}}",
        ] {
            let pipeline = try Pipeline(parsing: [json(stage)], context: context)
            #expect(
                code {
                    _ = try pipeline.makeExecutor().run((0..<1000).map { ["a": .text("\($0)xxxxxxxxxxxxxxxxxxxxx")] })
                } == .queryExceededMemoryLimitNoDiskUseAllowed, "\(stage)")
        }
        // With a limit behind it, a sort needs little.
        let top = try Pipeline(parsing: [json("{'$sort': {'a': -1}}"), json("{'$limit': 3}")], context: context)
        let best = try top.makeExecutor().run((0..<5000).map { ["a": .int32(Int32($0 * 7919 % 5000))] as Document })
        #expect(best == [["a": 4999], ["a": 4998], ["a": 4997]])
    }

    @Test func plannersSeeTheBeginning() throws {
        let pipeline = try Pipeline(
            parsing: [
                "{'$match': {'a': 1}}", "{'$sort': {'b': 1}}", "{'$match': {'c': 2}}", "{'$skip': 2}", "{'$limit': 3}",
            ].map(json))
        let leading = try pipeline.leading()
        #expect(try leading.filter.matches(json("{'a': 1, 'c': 2}")))
        #expect(try !leading.filter.matches(json("{'a': 1, 'c': 3}")))
        #expect(leading.sort?.source == ["b": 1])
        #expect(leading.limit == 5)
        #expect(leading.afterSort.source == ["{'$skip': 2}", "{'$limit': 3}"].map(json))
    }
}

@Suite struct LookupTests {
    private let people = MemoryCollections([
        "p": ["{'_id': 1, 'n': 'ann', 'f': [2]}", "{'_id': 2, 'n': 'bob', 'f': [1, 3]}", "{'_id': 3, 'n': 'cid'}"].map(
            json)
    ])

    @Test func equalityJoinsThroughArraysAndNull() async throws {
        let results = try await joined(
            [
                "{'$lookup': {'from': 'p', 'localField': 'who', 'foreignField': '_id', 'as': 'm'}}",
                "{'$project': {'m': '$m.n'}}",
            ],
            ["{'_id': 1, 'who': 2}", "{'_id': 2, 'who': [1, 3, 9]}", "{'_id': 3}", "{'_id': 4, 'who': 1.0}"], people)
        #expect(
            results
                == [
                    "{'_id': 1, 'm': ['bob']}", "{'_id': 2, 'm': ['ann', 'cid']}", "{'_id': 3, 'm': []}",
                    "{'_id': 4, 'm': ['ann']}",
                ].map(json))
        let nulls = try await joined(
            [
                "{'$lookup': {'from': 'p', 'localField': 'who', 'foreignField': 'f', 'as': 'm'}}",
                "{'$project': {'m': '$m._id'}}",
            ],
            ["{'_id': 1}", "{'_id': 2, 'who': 3}"], people)
        #expect(nulls == ["{'_id': 1, 'm': [3]}", "{'_id': 2, 'm': [2]}"].map(json))
    }

    @Test func subPipelinesSeeVariables() async throws {
        let stage =
            "{'$lookup': {'from': 'p', 'let': {'w': '$who'}, 'pipeline': [{'$match': {'_id': {'$lt': 3}}}, {'$match': {'$expr': {'$in': ['$$w', {'$ifNull': ['$f', []]}]}}}, {'$project': {'n': 1, '_id': 0}}], 'as': 'm'}}"
        let results = try await joined(
            [stage], ["{'_id': 1, 'who': 1}", "{'_id': 2, 'who': 2}", "{'_id': 3, 'who': 1}"], people)
        #expect(
            results.map { $0["m"]! } == [
                jsonValue("[{'n': 'bob'}]"), jsonValue("[{'n': 'ann'}]"), jsonValue("[{'n': 'bob'}]"),
            ])
    }

    @Test func subPipelineAfterEqualityAndUncorrelated() async throws {
        let both =
            "{'$lookup': {'from': 'p', 'localField': 'who', 'foreignField': '_id', 'pipeline': [{'$count': 'c'}], 'as': 'm'}}"
        #expect(try await joined([both], ["{'_id': 1, 'who': [1, 2]}"], people)[0]["m"] == jsonValue("[{'c': 2}]"))
        let all = "{'$lookup': {'from': 'p', 'pipeline': [{'$sort': {'_id': -1}}, {'$limit': 1}], 'as': 'm'}}"
        let before = people.requests
        #expect(
            try await joined([all], ["{'_id': 1}", "{'_id': 2}"], people)[1]["m"]?.asArray?[0]?.asDocument?["n"]
                == "cid")
        #expect(people.requests - before == 1)
    }

    @Test func nestedLookupsAndUnions() async throws {
        let nested =
            "{'$lookup': {'from': 'p', 'let': {'w': '$who'}, 'pipeline': [{'$match': {'$expr': {'$eq': ['$_id', '$$w']}}}, {'$lookup': {'from': 'p', 'localField': 'f', 'foreignField': '_id', 'as': 'ff'}}, {'$project': {'_id': 0, 'x': '$ff.n'}}], 'as': 'm'}}"
        #expect(
            try await joined([nested], ["{'_id': 1, 'who': 2}"], people)[0]["m"] == jsonValue("[{'x': ['ann', 'cid']}]")
        )
        let union = try await joined(
            ["{'$unionWith': {'coll': 'p', 'pipeline': [{'$match': {'_id': 3}}]}}", "{'$count': 'n'}"], ["{'_id': 1}"],
            people)
        #expect(union == [json("{'n': 2}")])
        let facet = try await joined(
            [
                "{'$facet': {'a': [{'$lookup': {'from': 'p', 'localField': 'who', 'foreignField': '_id', 'as': 'm'}}, {'$project': {'n': '$m.n', '_id': 0}}]}}"
            ], ["{'_id': 1, 'who': 1}"], people)
        #expect(facet == [json("{'a': [{'n': ['ann']}]}")])
    }

    @Test func manyDocumentsAreJoinedInBatches() async throws {
        let foreign = MemoryCollections(["f": (0..<100).map { ["_id": .int32(Int32($0)), "v": .int32(Int32($0 * 2))] }])
        let before = foreign.requests
        let documents = (0..<1200).map { "{'_id': \($0), 'k': \($0 % 150)}" }
        let results = try await joined(
            [
                "{'$lookup': {'from': 'f', 'localField': 'k', 'foreignField': '_id', 'as': 'm'}}", "{'$unwind': '$m'}",
                "{'$group': {'_id': null, 's': {'$sum': '$m.v'}, 'n': {'$sum': 1}}}",
            ], documents, foreign)
        #expect(results == [json("{'_id': null, 's': 79200, 'n': 800}")])
        // All values there are were in the first batch.
        #expect(foreign.requests - before == 1)
        let others = (0..<1200).map { "{'_id': \($0), 'k': \($0 / 10)}" }
        let lookup = "{'$lookup': {'from': 'f', 'localField': 'k', 'foreignField': '_id', 'as': 'm'}}"
        let counted = try await joined(
            [lookup, "{'$match': {'m': {'$ne': []}}}", "{'$count': 'n'}"], others, foreign)
        #expect(counted == [json("{'n': 1000}")])
        #expect(foreign.requests - before == 4)
    }

    /// A document whose foreign field is an array belongs to several values, which may be asked for at different times.
    @Test func aForeignDocumentOfSeveralBatchesIsJoinedOnce() async throws {
        let foreign = MemoryCollections(["f": [["_id": 1, "v": [0, 700]], ["_id": 2, "v": 700], ["_id": 3]]])
        let documents = (0..<1200).map { "{'_id': \($0), 'k': \($0 < 1199 ? "\($0)" : "null")}" }
        let results = try await joined(
            [
                "{'$lookup': {'from': 'f', 'localField': 'k', 'foreignField': 'v', 'as': 'm'}}",
                "{'$match': {'m': {'$ne': []}}}", "{'$project': {'m': '$m._id'}}", "{'$sort': {'_id': 1}}",
            ], documents, foreign)
        #expect(results == ["{'_id': 0, 'm': [1]}", "{'_id': 700, 'm': [1, 2]}", "{'_id': 1199, 'm': [3]}"].map(json))
    }

    @Test(arguments: [
        "'$m'", "{'path': '$m', 'preserveNullAndEmptyArrays': true}", "{'path': '$m', 'includeArrayIndex': 'at'}",
        "{'path': '$m', 'includeArrayIndex': 'm.at', 'preserveNullAndEmptyArrays': true}",
    ])
    func anUnwindBehindALookupIsTheSameAsOneApart(unwind: String) async throws {
        let lookup = "{'$lookup': {'from': 'p', 'localField': 'who', 'foreignField': 'f', 'as': 'm'}}"
        let local = ["{'_id': 1, 'who': 1, 'm': 5}", "{'_id': 2, 'who': [2, 3]}", "{'_id': 3, 'who': 99, 'm': []}"]
        let together = try await joined([lookup, "{'$unwind': \(unwind)}"], local, people)
        let apart = try await joined([lookup, "{'$match': {}}", "{'$unwind': \(unwind)}"], local, people)
        #expect(together == apart)
        #expect(!together.isEmpty)
    }
}

@Suite struct SplitTests {
    /// A split pipeline over any partition of the documents gives what the whole gives over all of them.
    @Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
    func splitEqualsWhole(seed: UInt64) throws {
        var random = RandomDocuments(seed: seed)
        let tails: [[String]] = [
            [
                "{'$group': {'_id': '$a', 'n': {'$sum': 1}, 's': {'$sum': '$b'}, 'v': {'$avg': '$b'}, 'lo': {'$min': '$c'}, 'hi': {'$max': '$c'}, 'set': {'$addToSet': '$b'}, 'c': {'$count': {}}, 'mx': {'$maxN': {'n': 3, 'input': '$c'}}}}",
                "{'$set': {'set': {'$sortArray': {'input': '$set', 'sortBy': 1}}}}",
            ],
            [
                "{'$group': {'_id': {'x': '$c', 'y': '$a'}, 'top': {'$top': {'sortBy': {'i': 1}, 'output': '$i'}}, 'p': {'$median': {'input': '$i', 'method': 'approximate'}}}}"
            ],
            ["{'$sort': {'i': -1}}"], ["{'$sort': {'a': 1, 'i': 1}}", "{'$skip': 3}", "{'$limit': 7}"],
            ["{'$match': {'a': {'$gte': 1}}}", "{'$count': 'n'}"], ["{'$unwind': '$a'}", "{'$sortByCount': '$a'}"],
            ["{'$project': {'a': 1, 'i': 1}}"],
            ["{'$sort': {'i': -1}}", "{'$limit': 8}", "{'$project': {'x': '$c', 'a': 1}}"],
            [
                "{'$sort': {'i': 1}}", "{'$unwind': {'path': '$b', 'includeArrayIndex': 'n'}}",
                "{'$match': {'$or': [{'c': {'$exists': true}}, {'n': null}]}}",
                "{'$replaceWith': {'i': '$i', 'n': '$n', 'b': '$b', 'c': '$c.x'}}", "{'$sort': {'i': 1, 'n': 1}}",
            ],
            [
                "{'$sort': {'i': 1}}", "{'$skip': 2}",
                "{'$set': {'c': {'$concatArrays': [['$a'], ['$b']]}, 'e.f': '$i'}}",
                "{'$unset': 'a'}", "{'$project': {'_id': 0, 'c': 1, 'e.f': 1, 'a': 1, 'i': 1}}", "{'$sort': {'i': 1}}",
            ],
            ["{'$sort': {'i': 1}}", "{'$group': {'_id': null, 'l': {'$push': '$i'}, 'f': {'$first': '$i'}}}"],
            ["{'$facet': {'x': [{'$sort': {'i': 1}}, {'$limit': 2}], 'n': [{'$count': 'n'}]}}"],
            [
                "{'$set': {'z': {'$type': '$a'}}}", "{'$group': {'_id': '$z', 'd': {'$sum': '$i'}}}",
                "{'$sort': {'_id': 1}}",
            ],
        ]
        for round in 0..<40 {
            var documents: [Document] = []
            for index in 0..<random.below(60) {
                documents.append(random.document().appending("i", .int32(Int32(index))))
            }
            var stages = tails[random.below(tails.count)].map(json)
            if random.below(2) == 0 { stages.insert(["$match": .document(random.filter(on: ["a", "b", "c"]))], at: 0) }
            guard let pipeline = try? Pipeline(parsing: stages) else { continue }
            let whole: [Document]
            do { whole = try pipeline.makeExecutor().run(documents) } catch { continue }
            let split = pipeline.split()
            let shard = try Pipeline(parsing: split.shard, allowsInternal: true)
            let merge = try Pipeline(parsing: split.merge, allowsInternal: true)
            let parts = 1 + random.below(6)
            var partitions: [[Document]] = Array(repeating: [], count: parts)
            for document in documents { partitions[random.below(parts)].append(document) }
            var partial: [Document] = []
            for partition in partitions { partial += try shard.makeExecutor().run(partition) }
            let merged = try merge.makeExecutor().run(partial)
            #expect(
                Self.canonical(merged, pipeline) == Self.canonical(whole, pipeline),
                "seed \(seed) round \(round): \(stages)")
            if let sorted = split.sorted {
                let inOrder = try partial.sorted { try sorted.by.compare($0, $1) < 0 }
                let rest = try Pipeline(parsing: sorted.merge, allowsInternal: true).makeExecutor().run(inOrder)
                #expect(
                    Self.canonical(rest, pipeline) == Self.canonical(whole, pipeline),
                    "seed \(seed) round \(round), merged: \(stages)")
            }
        }
    }

    /// Results whose order the pipeline leaves open are compared as bags; numbers that are equal but of another type,
    /// or group keys that another equal value stands for, are the same.
    private static func canonical(_ documents: [Document], _ pipeline: Pipeline) -> [Value] {
        let values = documents.map(Value.document)
        let isOrdered =
            pipeline.source.last?.first?.name == "$sort" && pipeline.source.last?.first?.value != ["count": -1]
        return isOrdered ? values : values.sorted()
    }

    @Test func partialSumsLoseNothing() throws {
        let stage = json("{'$group': {'_id': null, 's': {'$sum': '$v'}}}")
        let pipeline = try Pipeline(parsing: [stage])
        let documents: [Document] = [
            ["v": 1e100], ["v": 1], ["v": -1e100], ["v": .int64(.max)], ["v": .int64(.max)], ["v": 0.5],
        ]
        let whole = try pipeline.makeExecutor().run(documents)
        let split = pipeline.split()
        let partial = try documents.flatMap {
            try Pipeline(parsing: split.shard, allowsInternal: true).makeExecutor().run([$0])
        }
        let merged = try Pipeline(parsing: split.merge, allowsInternal: true).makeExecutor().run(partial)
        #expect(whole == merged)
        let long = try run(["{'$group': {'_id': null, 's': {'$sum': '$v'}}}"], over: ["{'v': 2147483647}", "{'v': 1}"])
        #expect(long[0]["s"]?.isIdentical(to: .int64(2_147_483_648)) ?? false)
    }
}
