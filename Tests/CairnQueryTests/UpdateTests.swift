import CairnBSON
import CairnQuery
import Testing

@Suite struct UpdateTests {
    @Test(arguments: [
        ("{'a': 1}", "{'$set': {'b': 2}}", "{'a': 1, 'b': 2}"),
        ("{'a': 1}", "{'$set': {'z': 1, 'b.d': 2, 'b.c': 3}}", "{'a': 1, 'b': {'c': 3, 'd': 2}, 'z': 1}"),
        ("{'a': {'b': 1, 'c': 2}}", "{'$set': {'a.b': 5}}", "{'a': {'b': 5, 'c': 2}}"),
        ("{'a': [1, 2]}", "{'$set': {'a.0': 5}}", "{'a': [5, 2]}"),
        ("{'a': [1]}", "{'$set': {'a.3': 5}}", "{'a': [1, null, null, 5]}"),
        ("{}", "{'$set': {'a.0': 5}}", "{'a': {'0': 5}}"),
        ("{'a': [{'b': 1}]}", "{'$set': {'a.0.b': 2, 'a.0.c': 3}}", "{'a': [{'b': 2, 'c': 3}]}"),
        ("{'a': 1, 'b': 2}", "{'$unset': {'a': '', 'x.y': ''}}", "{'b': 2}"),
        ("{'a': [1, 2]}", "{'$unset': {'a.0': 1}}", "{'a': [null, 2]}"),
        ("{'a': 1}", "{'$inc': {'a': 2, 'b': 5}}", "{'a': 3, 'b': 5}"),
        ("{'a': 1}", "{'$inc': {'a': 1.5}}", "{'a': 2.5}"),
        ("{'a': 2147483647}", "{'$inc': {'a': 1}}", "{'a': {'$numberLong': '2147483648'}}"),
        ("{'a': 3}", "{'$mul': {'a': 2, 'b': 7}}", "{'a': 6, 'b': 0}"),
        ("{'a': 3}", "{'$min': {'a': 2, 'b': 7}}", "{'a': 2, 'b': 7}"),
        ("{'a': 3}", "{'$max': {'a': 2}}", "{'a': 3}"),
        ("{'a': 3}", "{'$max': {'a': 'x'}}", "{'a': 'x'}"),
        ("{'a': 1, 'b': 2}", "{'$rename': {'a': 'c'}}", "{'b': 2, 'c': 1}"),
        ("{'a': 1}", "{'$rename': {'x': 'c'}}", "{'a': 1}"),
        ("{'a': {'b': 1}}", "{'$rename': {'a.b': 'c.d'}}", "{'a': {}, 'c': {'d': 1}}"),
        ("{'a': 1}", "{'$setOnInsert': {'b': 1}}", "{'a': 1}"),
        ("{'a': 1}", "{'x': 2}", "{'x': 2}"),
        ("{'a': 1}", "[{'$set': {'b': {'$add': ['$a', 1]}}}, {'$unset': 'a'}]", "{'b': 2}"),
        ("{'a': 1, 'b': {'c': 1}}", "[{'$replaceWith': '$b'}]", "{'c': 1}"),
        ("{'a': 5}", "{'$bit': {'a': {'and': 6, 'or': 8}}}", "{'a': 12}"),
        ("{}", "{'$bit': {'a': {'xor': 5}}}", "{'a': 5}"),
    ])
    func fields(document: String, update: String, expected: String) throws {
        #expect(try updated(document, update) == json(expected), "\(update) on \(document)")
    }

    @Test(arguments: [
        ("{'a': [1]}", "{'$push': {'a': 2}}", "{'a': [1, 2]}"),
        ("{}", "{'$push': {'a': {'$each': [1, 2]}}}", "{'a': [1, 2]}"),
        ("{'a': [1, 2]}", "{'$push': {'a': {'$each': [9], '$position': 1}}}", "{'a': [1, 9, 2]}"),
        ("{'a': [1, 2]}", "{'$push': {'a': {'$each': [9], '$position': -1}}}", "{'a': [1, 9, 2]}"),
        ("{'a': [3, 1]}", "{'$push': {'a': {'$each': [2], '$sort': 1}}}", "{'a': [1, 2, 3]}"),
        (
            "{'a': [{'b': 3}, {'b': 1}]}", "{'$push': {'a': {'$each': [{'b': 2}], '$sort': {'b': -1}, '$slice': 2}}}",
            "{'a': [{'b': 3}, {'b': 2}]}"
        ),
        ("{'a': [1, 2, 3]}", "{'$push': {'a': {'$each': [4], '$slice': -2}}}", "{'a': [3, 4]}"),
        ("{'a': [1, 2, 3]}", "{'$push': {'a': {'$each': [], '$slice': 0}}}", "{'a': []}"),
        ("{'a': [1]}", "{'$push': {'a': [2]}}", "{'a': [1, [2]]}"),
        ("{'a': [1, 2]}", "{'$addToSet': {'a': {'$each': [2, 3, 3.0]}}}", "{'a': [1, 2, 3]}"),
        ("{'a': [1]}", "{'$addToSet': {'a': [1]}}", "{'a': [1, [1]]}"),
        ("{'a': [1, 2, 3]}", "{'$pop': {'a': 1}}", "{'a': [1, 2]}"),
        ("{'a': [1, 2, 3]}", "{'$pop': {'a': -1}}", "{'a': [2, 3]}"),
        ("{'a': []}", "{'$pop': {'a': 1}}", "{'a': []}"),
        ("{'a': [1]}", "{'$pop': {'a': 1}}", "{'a': []}"),
        ("{'a': [1, 5, 7]}", "{'$pull': {'a': {'$gte': 5}}}", "{'a': [1]}"),
        ("{'a': [1, 5, 1.0]}", "{'$pull': {'a': 1}}", "{'a': [5]}"),
        ("{'a': [{'b': 1, 'c': 2}, {'b': 2}, 3]}", "{'$pull': {'a': {'b': 1}}}", "{'a': [{'b': 2}, 3]}"),
        (
            "{'a': [{'b': [1, 2]}, {'b': [3]}]}", "{'$pull': {'a': {'b': {'$elemMatch': {'$gt': 2}}}}}",
            "{'a': [{'b': [1, 2]}]}"
        ),
        (
            "{'a': ['xa', 'b']}", "{'$pull': {'a': {'$regularExpression': {'pattern': '^x', 'options': ''}}}}",
            "{'a': ['b']}"
        ),
        ("{'a': [1, 2, 1, 3]}", "{'$pullAll': {'a': [1, 3]}}", "{'a': [2]}"),
        ("{'b': 1}", "{'$pull': {'a': 1}, '$pullAll': {'c': [1]}}", "{'b': 1}"),
    ])
    func arrays(document: String, update: String, expected: String) throws {
        #expect(try updated(document, update) == json(expected), "\(update) on \(document)")
    }

    @Test func positionalOperatorsPickElements() throws {
        #expect(
            try updated("{'a': [1, 3, 5]}", "{'$set': {'a.$': 9}}", filter: "{'a': {'$gt': 2}}")
                == json("{'a': [1, 9, 5]}"))
        #expect(
            try updated("{'a': [{'b': 1}, {'b': 2}]}", "{'$inc': {'a.$.b': 1}}", filter: "{'a.b': 2}")
                == json("{'a': [{'b': 1}, {'b': 3}]}"))
        #expect(try updated("{'a': [1, 2]}", "{'$inc': {'a.$[]': 10}}") == json("{'a': [11, 12]}"))
        #expect(
            try updated(
                "{'a': [{'b': 1, 'c': [1, 9]}, {'b': 2, 'c': [9]}]}", "{'$set': {'a.$[x].c.$[y]': 0}}",
                arrayFilters: ["{'x.b': 1}", "{'y': {'$gt': 5}}"])
                == json("{'a': [{'b': 1, 'c': [1, 0]}, {'b': 2, 'c': [9]}]}"))
        #expect(code { _ = try updated("{'a': [1]}", "{'$set': {'a.$': 9}}") } == .badValue)
    }

    @Test(arguments: [
        ("{'$set': {'a': 1, 'a.b': 2}}", 40), ("{'$set': {'a': 1}, '$inc': {'a': 1}}", 40), ("{'$set': {'': 1}}", 56),
        ("{'$set': {'a..b': 1}}", 56), ("{'$set': {'$a': 1}}", 52), ("{'$foo': {'a': 1}}", 9), ("{'$set': 5}", 9),
        ("{'$set': {'a': 1}, 'b': 2}", 9), ("{'a': 1, '$set': {'b': 2}}", 52), ("{'$inc': {'a': 'x'}}", 14),
        ("{'$pop': {'a': 2}}", 9), ("{'$rename': {'a': 'a'}}", 2), ("{'$rename': {'a': 5}}", 2),
        ("{'$push': {'a': {'$each': 1}}}", 2),
        ("{'$bit': {'a': {'and': 1.5}}}", 2), ("{'$currentDate': {'a': 'x'}}", 2), ("{'$set': {'a.$[x]': 1}}", 2),
        ("[{'$match': {}}]", 72), ("[{'$foo': {}}]", 40324), ("{'$rename': {'a': 'b', 'b': 'c'}}", 40),
    ])
    func mistakesHaveMongoDBsCodes(update: String, expected: Int32) {
        #expect(code { _ = try Update(parsing: jsonValue(update)) } == ErrorCode(expected), "\(update)")
    }

    @Test(arguments: [
        ("{'_id': 1, 'a': 1}", "{'$set': {'_id': 2}}", 66), ("{'_id': 1}", "{'_id': 2}", 66),
        ("{'_id': 1}", "{'$unset': {'_id': 1}}", 66),
        ("{'a': 'x'}", "{'$inc': {'a': 1}}", 14), ("{'a': 5}", "{'$set': {'a.b': 1}}", 28),
        ("{'a': [1]}", "{'$set': {'a.b': 1}}", 28),
        ("{'a': null}", "{'$set': {'a.b': 1}}", 28), ("{'a': 5}", "{'$push': {'a': 1}}", 2),
        ("{'a': 5}", "{'$pop': {'a': 1}}", 14),
        ("{'a': 5}", "{'$pull': {'a': 1}}", 2), ("{'a': 5}", "{'$addToSet': {'a': 1}}", 2),
        ("{'a': 1.5}", "{'$bit': {'a': {'or': 1}}}", 2),
        ("{'a': {'$numberLong': '9223372036854775807'}}", "{'$inc': {'a': 1}}", 2), ("{}", "{'$set': {'a.$[]': 1}}", 2),
        ("{'a': []}", "{'$set': {'a.9999999': 1}}", 34),
    ])
    func documentsThatDoNotFitAreRefused(document: String, update: String, expected: Int32) {
        #expect(code { _ = try updated(document, update) } == ErrorCode(expected), "\(update) on \(document)")
    }

    @Test func arrayFiltersMustBeUsedAndWellFormed() {
        func parse(_ update: String, _ filters: [String]) -> ErrorCode? {
            code { _ = try Update(parsing: jsonValue(update), arrayFilters: filters.map(json)) }
        }
        #expect(parse("{'$set': {'a.$[x]': 1}}", ["{'x': 1}", "{'y': 1}"]) == .failedToParse)
        #expect(parse("{'$set': {'a.$[x]': 1}}", ["{'x': 1, 'y': 2}"]) == .failedToParse)
        #expect(parse("{'$set': {'a.$[x]': 1}}", ["{'X': 1}"]) == .badValue)
        #expect(parse("{'$set': {'a.$[x]': 1}}", ["{'x': 1}", "{'x': 2}"]) == .failedToParse)
        #expect(parse("{'a': 1}", ["{'x': 1}"]) == .failedToParse)
    }

    @Test func whatChangesNothingIsNoModification() throws {
        let update = try Update(parsing: ["$set": ["a": 1], "$unset": ["x": 1], "$unset": ["y.z": 1]])
        #expect(try !update.apply(to: ["_id": 1, "a": 1]).isModified)
        #expect(try update.apply(to: ["_id": 1, "a": .double(1)]).isModified)
    }

    @Test func idStaysFirst() throws {
        #expect(try updated("{'_id': 1, 'a': 1}", "{'b': 2}") == json("{'_id': 1, 'b': 2}"))
        #expect(try updated("{'_id': 1, 'a': 1}", "{'b': 2, '_id': 1}") == json("{'_id': 1, 'b': 2}"))
        #expect(try updated("{'_id': 1, 'a': 1}", "[{'$project': {'a': 1, '_id': 0}}]") == json("{'_id': 1, 'a': 1}"))
    }

    @Test(arguments: [
        ("{'a': 1}", "{'$set': {'b': 2}}", "{'_id': 'new', 'a': 1, 'b': 2}"),
        ("{'_id': 7, 'a': {'$gt': 1}}", "{'$setOnInsert': {'b': 2}}", "{'_id': 7, 'b': 2}"),
        ("{'a.b': 1, '$and': [{'c': 2}]}", "{'$inc': {'a.d': 1}}", "{'_id': 'new', 'a': {'b': 1, 'd': 1}, 'c': 2}"),
        ("{'a': {'$in': [1, 2]}}", "{'$set': {'b': 1}}", "{'_id': 'new', 'b': 1}"),
        ("{'$or': [{'a': 1}]}", "{'$set': {'b': 1}}", "{'_id': 'new', 'a': 1, 'b': 1}"),
        ("{'_id': 3, 'a': 1}", "{'x': 1}", "{'_id': 3, 'x': 1}"),
        ("{'a': 5}", "{'$push': {'t': 1}, '$set': {'_id': 9}}", "{'_id': 9, 'a': 5, 't': [1]}"),
    ])
    func upsertsTakeEqualitiesFromTheFilter(filter: String, update: String, expected: String) throws {
        let made = try Update(parsing: jsonValue(update)).upsertDocument(
            filter: Filter(parsing: json(filter)), newID: "new")
        #expect(made == json(expected))
    }

    @Test func upsertsThatContradictThemselvesAreRefused() {
        #expect(
            code {
                _ = try Update(parsing: ["$set": ["b": 1]]).upsertDocument(
                    filter: Filter(parsing: json("{'a': 1, 'a.b': 2}")), newID: 1)
            } == .notSingleValueField)
        #expect(
            code {
                _ = try Update(parsing: ["$set": ["_id": 1]]).upsertDocument(
                    filter: Filter(parsing: ["_id": 2]), newID: 1)
            } == .immutableField)
        #expect(
            code { _ = try Update(parsing: ["$set": ["_id": [1]]]).upsertDocument(filter: .all, newID: 1) }
                == .invalidIdField)
    }

    @Test func currentDateIsTheCommandsMoment() throws {
        let context = QueryContext(nowMilliseconds: 1_500)
        let update = try Update(parsing: ["$currentDate": ["a": true, "b": ["$type": "timestamp"]]], context: context)
        let made = try update.apply(to: [:]).document
        #expect(made["a"] == .date(milliseconds: 1500))
        #expect(made["b"] == .timestamp(Timestamp(seconds: 1, increment: 1)))
    }

    @Test func depthAndSizeAreBounded() throws {
        let path = Array(repeating: "a", count: 199).joined(separator: ".")
        _ = try Update(parsing: .document(["$set": .document(Document().appending(path, 1))])).apply(to: [:])
        var deep: Value = 1
        for _ in 0..<150 { deep = ["a": deep] }
        let update = try Update(
            parsing: .document(["$set": .document(Document().appending(String(path.prefix(199)), deep))]))
        #expect(code { _ = try update.apply(to: [:]) } == .overflow)
        let large = Value.text(String(repeating: "x", count: 9 << 20))
        #expect(code { _ = try Update(parsing: ["$set": ["b": large]]).apply(to: ["a": large]) } == .bsonObjectTooLarge)
    }
}
