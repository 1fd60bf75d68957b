import CairnBSON
import CairnQuery
import Testing

@Suite struct FilterTests {
    @Test(arguments: [
        ("{'a': 1}", "{'a': 1}", true),
        ("{'a': 1}", "{'a': 1.0}", true),
        ("{'a': 1}", "{'a': '1'}", false),
        ("{'a': 1}", "{'a': [3, 1]}", true),
        ("{'a': 1}", "{'a': [[1]]}", false),
        ("{'a': [1]}", "{'a': [[1], 2]}", true),
        ("{'a': [1, 2]}", "{'a': [1, 2]}", true),
        ("{'a': {'b': 1}}", "{'a': {'b': 1}}", true),
        ("{'a': {'b': 1}}", "{'a': {'b': 1, 'c': 2}}", false),
        ("{'a': {'b': 1, 'c': 2}}", "{'a': {'c': 2, 'b': 1}}", false),
        ("{'a': {}}", "{'a': {}}", true),
        ("{'a': []}", "{'a': []}", true),
        ("{'a': {'$ne': 1}}", "{'a': [1, 2]}", false),
        ("{'a': {'$ne': 1}}", "{}", true),
        ("{'a': {'$gt': 1}}", "{'a': '2'}", false),
        ("{'a': {'$gt': 1}}", "{'a': [0, 2]}", true),
        ("{'a': {'$gt': 1, '$lt': 2}}", "{'a': [0, 3]}", true),
        ("{'a': {'$gte': 'b'}}", "{'a': 'b'}", true),
        ("{'a': {'$lt': {'$date': '1970-01-01T00:00:00Z'}}}", "{'a': {'$date': '1960-05-05T00:00:00Z'}}", true),
        ("{'a': {'$lt': 5}}", "{'a': {'$numberDouble': 'NaN'}}", false),
        ("{'a': {'$lte': {'$numberDouble': 'NaN'}}}", "{'a': {'$numberDouble': 'NaN'}}", true),
        ("{'a': {'$numberDouble': 'NaN'}}", "{'a': {'$numberDecimal': 'NaN'}}", true),
        ("{'a': 0}", "{'a': -0.0}", true),
        ("{'a': {'$gt': {'$minKey': 1}}}", "{'a': 'x'}", true),
        ("{'a': {'$lt': {'$maxKey': 1}}}", "{}", true),
        ("{'a': {'$in': [1, 'x', null]}}", "{}", true),
        ("{'a': {'$in': [1, 'x']}}", "{'a': ['y', 'x']}", true),
        ("{'a': {'$in': [[1, 2]]}}", "{'a': [1, 2]}", true),
        ("{'a': {'$in': []}}", "{'a': null}", false),
        ("{'a': {'$nin': [1]}}", "{}", true),
        ("{'a': {'$nin': [1]}}", "{'a': [1, 2]}", false),
        ("{'a': {'$in': [1,2,3,4,5,6,7,8,9,10,11]}}", "{'a': 11.0}", true),
        ("{'a': {'$in': [{'$regularExpression': {'pattern': '^b', 'options': ''}}, 3]}}", "{'a': 'bc'}", true),
    ])
    func comparisons(filter: String, document: String, outcome: Bool) throws {
        #expect(try matches(filter, document) == outcome, "\(filter) on \(document)")
    }

    @Test(arguments: [
        ("{'a': null}", "{}", true),
        ("{'a': null}", "{'a': null}", true),
        ("{'a': null}", "{'a': []}", false),
        ("{'a': null}", "{'a': [1, null]}", true),
        ("{'a.b': null}", "{'a': 5}", true),
        ("{'a.b': null}", "{'a': [1, 2]}", false),
        ("{'a.b': null}", "{'a': [{'c': 1}]}", true),
        ("{'a.b': null}", "{'a': [{'b': 1}, {'b': 2}]}", false),
        ("{'a': {'$exists': true}}", "{'a': null}", true),
        ("{'a': {'$exists': false}}", "{'b': 1}", true),
        ("{'a': {'$exists': true}}", "{'a': []}", true),
        ("{'a.b': {'$exists': false}}", "{'a': [1, 2]}", true),
        ("{'a': {'$gte': null}}", "{}", true),
        ("{'a': {'$gt': null}}", "{'a': null}", false),
        ("{'a': {'$not': {'$gt': 3}}}", "{}", true),
        ("{'a': {'$not': {'$gt': 3, '$lt': 5}}}", "{'a': 4}", false),
    ])
    func nullIsNotMissing(filter: String, document: String, outcome: Bool) throws {
        #expect(try matches(filter, document) == outcome, "\(filter) on \(document)")
    }

    @Test(arguments: [
        ("{'a.b': 1}", "{'a': {'b': 1}}", true),
        ("{'a.b': 1}", "{'a': [{'b': 2}, {'b': [1]}]}", true),
        ("{'a.b': 1}", "{'a': [[{'b': 1}]]}", false),
        ("{'a.0': 1}", "{'a': [1, 2]}", true),
        ("{'a.1': 1}", "{'a': [1, 2]}", false),
        ("{'a.0.b': 1}", "{'a': [{'b': 1}]}", true),
        ("{'a.0': 7}", "{'a': [{'0': 7}]}", true),
        ("{'a.1': 2}", "{'a': [5, [2, 4]]}", false),
        ("{'a.1.0': 2}", "{'a': [5, [2, 4]]}", true),
        ("{'a.0.b': {'$exists': false}}", "{'a': [{'c': 1}]}", true),
        ("{'a.00': 1}", "{'a': [1]}", false),
        ("{'a': {'$size': 2}}", "{'a': [1, [2, 3]]}", true),
        ("{'a': {'$size': 2}}", "{'a': [[1, 2]]}", false),
        ("{'a': {'$size': 0}}", "{'a': []}", true),
        ("{'a': {'$all': [1, 2]}}", "{'a': [2, 3, 1]}", true),
        ("{'a': {'$all': [[1, 2]]}}", "{'a': [1, 2]}", true),
        ("{'a': {'$all': []}}", "{'a': [1]}", false),
        ("{'a': {'$all': [1]}}", "{'a': 1}", true),
        ("{'a': {'$all': [{'$elemMatch': {'b': 1}}, {'$elemMatch': {'b': 2}}]}}", "{'a': [{'b': 1}, {'b': 2}]}", true),
        ("{'a': {'$elemMatch': {'$gt': 1, '$lt': 3}}}", "{'a': [0, 4]}", false),
        ("{'a': {'$elemMatch': {'$gt': 1, '$lt': 3}}}", "{'a': [0, 2]}", true),
        ("{'a': {'$elemMatch': {'b': 1, 'c': 2}}}", "{'a': [{'b': 1, 'c': 3}, {'b': 2, 'c': 2}]}", false),
        ("{'a': {'$elemMatch': {'b': 1, 'c': 2}}}", "{'a': [{'b': 1, 'c': 2}]}", true),
        ("{'a': {'$elemMatch': {'$or': [{'b': 1}, {'b': 2}]}}}", "{'a': [{'b': 2}]}", true),
        ("{'a': {'$elemMatch': {}}}", "{'a': [1]}", false),
        ("{'a': {'$elemMatch': {'$ne': 1}}}", "{'a': [1, 1]}", false),
        ("{'a.b': {'$elemMatch': {'$gte': 2}}}", "{'a': [{'b': [1]}, {'b': [2]}]}", true),
    ])
    func arraysAndPaths(filter: String, document: String, outcome: Bool) throws {
        #expect(try matches(filter, document) == outcome, "\(filter) on \(document)")
    }

    @Test(arguments: [0, 1, 7, 8, 9, 16, 17, 200, 5_000])
    func listsOfAnyLength(count: Int) throws {
        let values = (0..<count).map { number -> Value in
            switch number % 3 {
            case 0: .double(Double(number))
            case 1: .int32(Int32(number))
            default: .text("\(number)")
            }
        }
        // Some of them twice, and as another type.
        let again = (0..<count / 4).map { $0 % 3 == 2 ? Value.text("\($0)") : .int64(Int64($0)) }
        let filter = try Filter(parsing: ["a": ["$in": .array(BSONArray(values + again))]])
        for number in 0..<count * 2 + 2 {
            let isNumber = number % 3 != 2
            #expect(try filter.matches(["a": .int64(Int64(number))]) == (number < count && isNumber))
            #expect(try filter.matches(["a": .text("\(number)")]) == (number < count && !isNumber))
        }
        #expect(try !filter.matches([:]))
    }

    @Test(arguments: [
        ("{'$and': [{'a': 1}, {'b': 2}]}", "{'a': 1, 'b': 2}", true),
        ("{'$or': [{'a': 1}, {'b': 2}]}", "{'b': 2}", true),
        ("{'$nor': [{'a': 1}, {'b': 2}]}", "{'a': 2}", true),
        ("{'a': {'$not': {'$regularExpression': {'pattern': '^x', 'options': ''}}}}", "{'a': 'yx'}", true),
        ("{'a': {'$type': 'number'}}", "{'a': {'$numberDecimal': '1'}}", true),
        ("{'a': {'$type': ['string', 2]}}", "{'a': ['x']}", true),
        ("{'a': {'$type': 'array'}}", "{'a': []}", true),
        ("{'a': {'$type': -1}}", "{'a': {'$minKey': 1}}", true),
        ("{'a': {'$mod': [4, 1]}}", "{'a': 5.9}", true),
        ("{'a': {'$mod': [4, 1]}}", "{'a': {'$numberDouble': 'Infinity'}}", false),
        ("{'a': {'$mod': [-1, 0]}}", "{'a': {'$numberLong': '-9223372036854775808'}}", true),
        ("{'a': {'$bitsAllSet': [0, 2]}}", "{'a': 5}", true),
        ("{'a': {'$bitsAnyClear': 7}}", "{'a': 7}", false),
        ("{'a': {'$bitsAllSet': [100]}}", "{'a': -1}", true),
        ("{'a': {'$bitsAllClear': 1}}", "{'a': {'$binary': {'base64': 'Ag==', 'subType': '00'}}}", true),
        ("{'$expr': {'$gt': ['$a', '$b']}}", "{'a': 2, 'b': 1}", true),
        ("{'$comment': 'x', 'a': 1}", "{'a': 1}", true),
        ("{'$expr': {'$eq': ['$a.b', [1, 2]]}}", "{'a': [{'b': 1}, {'b': 2}]}", true),
        ("{'a': {'$ref': 'c', '$id': 1}}", "{'a': {'$ref': 'c', '$id': 1}}", true),
        (
            "{'$jsonSchema': {'required': ['a'], 'properties': {'a': {'bsonType': 'int', 'minimum': 3}}}}", "{'a': 4}",
            true
        ),
        (
            "{'$jsonSchema': {'required': ['a'], 'properties': {'a': {'bsonType': 'int', 'minimum': 3}}}}", "{'a': 2}",
            false
        ),
        ("{'$jsonSchema': {'additionalProperties': false, 'properties': {'_id': {}, 'a': {}}}}", "{'b': 2}", false),
    ])
    func logicTypesAndBits(filter: String, document: String, outcome: Bool) throws {
        #expect(try matches(filter, document) == outcome, "\(filter) on \(document)")
    }

    @Test(arguments: [
        ("{'$foo': 1}", 2), ("{'a': {'$foo': 1}}", 2), ("{'$and': []}", 2), ("{'$and': {}}", 2), ("{'$or': [1]}", 2),
        ("{'a': {'$in': 1}}", 2), ("{'a': {'$in': [{'$gt': 1}]}}", 2), ("{'a': {'$mod': [0, 1]}}", 2),
        ("{'a': {'$size': -1}}", 9), ("{'a': {'$type': 'foo'}}", 2), ("{'a': {'$not': {}}}", 2),
        ("{'a': {'$options': 'i'}}", 2), ("{'a': {'$regex': '('}}", 51091), ("{'$where': '1'}", 2),
        ("{'$expr': {'$foo': 1}}", 168), ("{'$jsonSchema': {'foo': 1}}", 9), ("{'a': {'$elemMatch': 1}}", 2),
    ])
    func mistakesHaveMongoDBsCodes(filter: String, expected: Int32) {
        #expect(code { _ = try Filter(parsing: json(filter)) } == ErrorCode(expected), "\(filter)")
    }

    @Test func tenThousandNestedAndsAreAnErrorAndNotACrash() {
        var filter: Document = ["a": 1]
        for _ in 0..<10_000 { filter = ["$and": [.document(filter)]] }
        #expect(code { _ = try Filter(parsing: filter) } == .badValue)
        var negation: Document = ["$gt": 1]
        for _ in 0..<10_000 { negation = ["$not": .document(negation)] }
        #expect(code { _ = try Filter(parsing: ["a": .document(negation)]) } == .badValue)
    }

    @Test func positionalIndexIsThatOfTheElementThatMatched() throws {
        func index(_ filter: String, _ document: String, _ path: String? = nil) throws -> Int? {
            try Filter(parsing: json(filter)).matchedArrayIndex(in: json(document), arrayPath: path)
        }
        #expect(try index("{'a': 3}", "{'a': [1, 3]}") == 1)
        #expect(try index("{'a.b': 3}", "{'a': [{'b': 1}, {'b': [2, 3]}]}") == 1)
        #expect(try index("{'a': {'$elemMatch': {'b': 1, 'c': 2}}}", "{'a': [{'b': 1}, {'b': 1, 'c': 2}]}") == 1)
        #expect(try index("{'x': 5, 'a': 1}", "{'x': [4, 5], 'a': [1]}", "x") == 1)
        #expect(try index("{'x': 5, 'a': 1}", "{'x': [4, 5], 'a': [1]}", "a") == 0)
        #expect(try index("{'a': 3}", "{'a': 3}") == nil)
    }
}

@Suite struct FilterPlanningTests {
    private func bounds(_ filter: String, _ path: String, multikey: Bool = false) throws -> [ValueInterval]? {
        try Filter(parsing: json(filter)).bounds(on: path, multikey: multikey)?.intervals
    }

    @Test func rangesStayInTheirTypeFamily() throws {
        #expect(try bounds("{'a': {'$gt': 5}}", "a") == [ValueInterval(5, includesLower: false, .double(.infinity))])
        #expect(try bounds("{'a': {'$gte': 'b'}}", "a") == [ValueInterval("b", [:], includesUpper: false)])
        #expect(try bounds("{'b': 1}", "a") == nil)
        #expect(try bounds("{'a': {'$ne': 1}}", "a") == nil)
        #expect(try bounds("{'a': null}", "a") == [ValueInterval(point: .undefined), ValueInterval(point: .null)])
    }

    @Test func conditionsOnOnePathMeetUnlessTheIndexIsMultikey() throws {
        let filter = "{'a': {'$gt': 1, '$lte': 7}}"
        #expect(try bounds(filter, "a") == [ValueInterval(1, includesLower: false, 7)])
        #expect(try bounds(filter, "a", multikey: true)?.count == 1)
        #expect(try bounds(filter, "a", multikey: true) != bounds(filter, "a"))
        #expect(try bounds("{'a': 5, '$and': [{'a': {'$gt': 9}}]}", "a") == [])
    }

    @Test func listsBecomeSortedPoints() throws {
        let found = try bounds("{'a': {'$in': [5, 1, 5.0, 3]}}", "a")
        #expect(found == [ValueInterval(point: 1), ValueInterval(point: 3), ValueInterval(point: 5)])
    }

    @Test func prefixesOfPatternsBoundText() throws {
        let found = try bounds("{'a': {'$regex': '^abc.*'}}", "a")
        #expect(found?.first == ValueInterval("abc", "abd", includesUpper: false))
        #expect(try bounds("{'a': {'$elemMatch': {'b': {'$gt': 1}}}}", "a.b") != nil)
    }

    @Test func idsAreFoundWhereTheyDecide() throws {
        #expect(try Filter(parsing: json("{'_id': 5, 'x': 1}")).idEquality == 5)
        #expect(try Filter(parsing: json("{'_id': {'$in': [1, 2]}}")).idIn == [1, 2])
        for undecided in ["{'_id': {'$gt': 1}}", "{'_id': null}", "{'_id': [1]}"] {
            let id = try Filter(parsing: json(undecided)).idEquality
            #expect(id.map { _ in true } == nil, "\(undecided)")
        }
        #expect(try Filter(parsing: json("{'_id': 5}")).isIdEqualityOnly)
        #expect(try Filter(parsing: json("{'$or': [{'a': 1}, {'b': 1}]}")).orBranches?.count == 2)
    }

    /// Whatever bounds say, an index scan over them must not miss a document that matches.
    @Test(arguments: [11, 12, 13] as [UInt64])
    func everyMatchHasAKeyInItsBounds(seed: UInt64) throws {
        var random = RandomDocuments(seed: seed)
        let extractor = try IndexKeyExtractor(pattern: ["a": 1])
        for _ in 0..<4_000 {
            let source = random.filter(on: ["a", "a.b"])
            guard let filter = try? Filter(parsing: source) else { continue }
            let document = random.document()
            guard try filter.matches(document) else { continue }
            let (keys, isMultikey) = try extractor.extract(from: document)
            guard let bounds = filter.bounds(on: "a", multikey: isMultikey) else { continue }
            let isInside = keys.contains { key in
                bounds.intervals.contains { interval in
                    let low = Value.compare(key[0], interval.lower)
                    let high = Value.compare(key[0], interval.upper)
                    return (low > 0 || (low == 0 && interval.includesLower))
                        && (high < 0 || (high == 0 && interval.includesUpper))
                }
            }
            #expect(isInside, "seed \(seed): \(source) matches \(document), keys \(keys), bounds \(bounds.intervals)")
        }
    }
}
