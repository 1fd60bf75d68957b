import CairnBSON
import CairnQuery
import Testing

@Suite struct ProjectionTests {
    private func projected(_ document: String, _ projection: String, filter: String = "{}") throws -> Document {
        let projection = try Projection(parsing: json(projection))
        let filter = try Filter(parsing: json(filter))
        let index = try projection.positionalPath.flatMap {
            try filter.matchedArrayIndex(in: json(document), arrayPath: $0)
        }
        return try projection.apply(json(document), matchedIndex: index)
    }

    @Test(arguments: [
        ("{'_id': 1, 'a': 1, 'b': 2}", "{'a': 1}", "{'_id': 1, 'a': 1}"),
        ("{'_id': 1, 'a': 1, 'b': 2}", "{'a': 1, '_id': 0}", "{'a': 1}"),
        ("{'_id': 1, 'a': 1, 'b': 2}", "{'a': 0}", "{'_id': 1, 'b': 2}"),
        ("{'_id': 1, 'a': 1}", "{'_id': 0}", "{'a': 1}"),
        ("{'_id': 1, 'a': 1}", "{'_id': 1}", "{'_id': 1}"),
        ("{'_id': 1, 'a': 1}", "{}", "{'_id': 1, 'a': 1}"),
        ("{'_id': 1, 'a': {'b': 1, 'c': 2}}", "{'a.b': 1}", "{'_id': 1, 'a': {'b': 1}}"),
        ("{'_id': 1, 'a': {'b': 1, 'c': 2}}", "{'a': {'b': 0}}", "{'_id': 1, 'a': {'c': 2}}"),
        ("{'_id': 1, 'a': [{'b': 1, 'c': 2}, 3, [{'b': 4}]]}", "{'a.b': 1}", "{'_id': 1, 'a': [{'b': 1}, [{'b': 4}]]}"),
        ("{'_id': 1, 'a': [{'b': 1, 'c': 2}, 3]}", "{'a.b': 0}", "{'_id': 1, 'a': [{'c': 2}, 3]}"),
        ("{'_id': 1, 'a': 5}", "{'a.b': 1}", "{'_id': 1}"),
        ("{'_id': 1, 'a': [1, 2, 3, 4]}", "{'a': {'$slice': 2}}", "{'_id': 1, 'a': [1, 2]}"),
        ("{'_id': 1, 'a': [1, 2, 3, 4], 'b': 1}", "{'a': {'$slice': -1}}", "{'_id': 1, 'a': [4], 'b': 1}"),
        ("{'_id': 1, 'a': [1, 2, 3, 4], 'b': 1}", "{'a': {'$slice': [-3, 2]}, 'b': 0}", "{'_id': 1, 'a': [2, 3]}"),
        (
            "{'_id': 1, 'a': [{'b': 1}, {'b': 2}], 'c': 1}", "{'a': {'$elemMatch': {'b': {'$gt': 1}}}}",
            "{'_id': 1, 'a': [{'b': 2}]}"
        ),
        ("{'_id': 1, 'a': [{'b': 1}]}", "{'a': {'$elemMatch': {'b': 5}}}", "{'_id': 1}"),
        ("{'_id': 1, 'a': 2}", "{'b': {'$add': ['$a', 1]}, 'a': 1}", "{'_id': 1, 'a': 2, 'b': 3}"),
        ("{'_id': 1, 'a': 2}", "{'b': '$a', 'c': 'x'}", "{'_id': 1, 'b': 2, 'c': 'x'}"),
        ("{'_id': 1, 'a': 2}", "{'b': '$missing'}", "{'_id': 1}"),
    ])
    func fields(document: String, projection: String, expected: String) throws {
        #expect(try projected(document, projection) == json(expected), "\(projection) on \(document)")
    }

    @Test func positionalShowsTheElementThatMatched() throws {
        #expect(
            try projected("{'_id': 1, 'a': [1, 5, 9]}", "{'a.$': 1}", filter: "{'a': {'$gt': 3}}")
                == json("{'_id': 1, 'a': [5]}"))
    }

    @Test(arguments: [
        ("{'a': 1, 'b': 0}", 31254), ("{'a': 0, 'b': 1}", 31253), ("{'a': 1, 'a.b': 1}", 31249),
        ("{'a.b': 1, 'a': 1}", 31250),
        ("{'a.': 1}", 40353), ("{'a.$': 1, 'b.$': 1}", 31276), ("{'a': {'$foo': 1}}", 168),
        ("{'a': 0, 'b': '$x'}", 31252),
        ("{'$a': 1}", 16410), ("{'': 1}", 15998),
    ])
    func mistakesHaveMongoDBsCodes(projection: String, expected: Int32) {
        #expect(code { _ = try Projection(parsing: json(projection)) } == ErrorCode(expected), "\(projection)")
    }

    @Test func coveringIndexesKnowWhatIsNeeded() throws {
        #expect(try Projection(parsing: ["a": 1, "_id": 0]).includedPaths == ["a"])
        #expect(try Projection(parsing: ["a": 1]).includedPaths == ["a", "_id"])
        #expect(try Projection(parsing: ["a": 0]).includedPaths == nil)
        #expect(try Projection(parsing: ["a": "$b"]).includedPaths == nil)
    }
}

@Suite struct SortAndIndexTests {
    @Test func arraysSortByTheirLeastOrGreatest() throws {
        let ascending = try SortSpecification(parsing: ["a": 1])
        let descending = try SortSpecification(parsing: ["a": -1])
        #expect(try ascending.keyValues(of: json("{'a': [5, 2, 7]}")) == [2])
        let documents = ["{'a': 3}", "{'a': []}", "{}", "{'a': [1, 9]}", "{'a': 'x'}"].map(json)
        let up = try documents.sorted { try ascending.compare($0, $1) < 0 }
        #expect(up == ["{'a': []}", "{}", "{'a': [1, 9]}", "{'a': 3}", "{'a': 'x'}"].map(json))
        let down = try documents.sorted { try descending.compare($0, $1) < 0 }
        #expect(down == ["{'a': 'x'}", "{'a': [1, 9]}", "{'a': 3}", "{}", "{'a': []}"].map(json))
    }

    @Test func descendingUsesTheGreatestElement() throws {
        let order = try SortSpecification(parsing: ["a": -1])
        #expect(try order.compare(json("{'a': [1, 9]}"), json("{'a': 5}")) < 0)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func sortKeysOrderAsComparisonDoes(seed: UInt64) throws {
        var random = RandomDocuments(seed: seed)
        let order = try SortSpecification(parsing: ["a": 1, "b": -1])
        for _ in 0..<1_000 {
            let (left, right) = (random.document(), random.document())
            guard let a = try? order.sortKey(of: left), let b = try? order.sortKey(of: right) else { continue }
            let bytes = a == b ? 0 : (a.lexicographicallyPrecedes(b) ? -1 : 1)
            #expect(try order.compare(left, right).signum() == bytes, "seed \(seed): \(left) \(right)")
        }
    }

    @Test func parallelArraysCannotBeSortedOrIndexed() throws {
        let document = json("{'a': [1], 'b': [2]}")
        #expect(code { _ = try SortSpecification(parsing: ["a": 1, "b": 1]).keyValues(of: document) } == .badValue)
        #expect(
            code { _ = try IndexKeyExtractor(pattern: ["a": 1, "b": 1]).keys(of: document) }
                == .cannotIndexParallelArrays)
    }

    @Test(arguments: [
        ("{'a': 1}", "{'a': 5}", "[[5]]"), ("{'a': 1}", "{}", "[[null]]"),
        ("{'a': 1}", "{'a': [1, 2, 1]}", "[[1], [2]]"),
        ("{'a.b': 1}", "{'a': [{'b': 1}, {'b': 2}, 3]}", "[[1], [2], [null]]"), ("{'a.b': 1}", "{'a': []}", "[[null]]"),
        ("{'a': 1, 'b': -1}", "{'a': [1, 2], 'b': 3}", "[[1, 3], [2, 3]]"),
        ("{'a.b': 1, 'a.c': 1}", "{'a': [{'b': 1, 'c': 2}, {'b': 3}]}", "[[1, 2], [3, null]]"),
        ("{'a.b': 1}", "{'a': {'b': [[1, 2], 3]}}", "[[[1, 2]], [3]]"), ("{'a.0': 1}", "{'a': [7, 8]}", "[[7]]"),
        ("{'a.b.c': 1}", "{'a': [{'b': [{'c': 1}, {'c': 2}]}, {'b': {'c': 3}}]}", "[[1], [2], [3]]"),
    ])
    func keys(pattern: String, document: String, expected: String) throws {
        let keys = try IndexKeyExtractor(pattern: json(pattern)).keys(of: json(document))
        let wanted = jsonValue(expected).asArray!.map { Array($0.asArray!) }
        #expect(keys == wanted, "\(pattern) of \(document)")
    }

    @Test func emptyArraysAreUndefinedAndSparseIndexesSkip() throws {
        #expect(try IndexKeyExtractor(pattern: ["a": 1]).keys(of: json("{'a': []}")) == [[.undefined]])
        let sparse = try IndexKeyExtractor(pattern: ["a": 1, "b": 1], isSparse: true)
        #expect(try sparse.keys(of: json("{'c': 1}")).isEmpty)
        #expect(try sparse.keys(of: json("{'b': null}")) == [[.null, .null]])
        let partial = try IndexKeyExtractor(
            pattern: ["a": 1], partialFilter: Filter(parsing: json("{'a': {'$gt': 5}}")))
        #expect(try partial.keys(of: json("{'a': 3}")).isEmpty)
        #expect(try partial.extract(from: json("{'a': [9]}")).isMultikey)
    }

    @Test(arguments: [
        ("{}", 67), ("{'a': 0}", 67), ("{'a': 'text'}", 238), ("{'a': 'foo'}", 67), ("{'a..b': 1}", 67),
        ("{'': 1}", 67),
    ])
    func patternsThatAreNoneAreRefused(pattern: String, expected: Int32) {
        #expect(code { _ = try IndexKeyExtractor(pattern: json(pattern)) } == ErrorCode(expected), "\(pattern)")
    }

    @Test func distinctTakesArraysApart() throws {
        var distinct = try Distinct(path: "a.b")
        for document in ["{'a': {'b': [1, 2]}}", "{'a': [{'b': 2.0}, {'b': 3}]}", "{'a': 5}", "{'a': {'b': []}}"] {
            try distinct.add(json(document))
        }
        #expect(distinct.values == [1, 2, 3])
    }

    @Test func validationFailuresExplainThemselves() throws {
        let filter = try Filter(
            parsing: json(
                "{'$jsonSchema': {'required': ['a'], 'properties': {'b': {'bsonType': 'int', 'description': 'a number'}}}}"
            ))
        let details = filter.failureDetails(for: json("{'b': 'x'}"))
        #expect(details["operatorName"] == "$jsonSchema")
        let rules = details["schemaRulesNotSatisfied"]!.asArray!
        #expect(rules[0]?.asDocument?["missingProperties"] == ["a"])
        let property = rules[1]?.asDocument?["propertiesNotSatisfied"]?.asArray?[0]?.asDocument
        #expect(property?["propertyName"] == "b")
        #expect(property?["details"]?.asArray?[0]?.asDocument?["consideredType"] == "string")
    }
}
