import CairnBSON
import CairnQuery
import Testing

@Suite struct ExpressionTests {
    private func check(_ expression: String, _ expected: String, on document: String = "{}") throws {
        let value = try evaluate(expression, on: document)
        if expected == "missing" {
            #expect(value.map { _ in true } == nil, "\(expression) gave \(value ?? .null)")
        } else {
            let wanted = jsonValue(expected)
            #expect(
                value?.isIdentical(to: wanted) ?? false,
                "\(expression) gave \(value.map(\.description) ?? "missing"), not \(wanted)")
        }
    }

    @Test(arguments: [
        ("{'$add': [1, 2]}", "3"), ("{'$add': [1, 2.5]}", "3.5"), ("{'$add': [1, null]}", "null"),
        ("{'$add': []}", "0"),
        ("{'$add': [2147483647, 1]}", "{'$numberLong': '2147483648'}"),
        ("{'$add': [{'$numberLong': '9223372036854775807'}, 1]}", "9.223372036854775807e18"),
        ("{'$add': [{'$date': '1970-01-01T00:00:00Z'}, 1000]}", "{'$date': '1970-01-01T00:00:01Z'}"),
        (
            "{'$subtract': [{'$date': '1970-01-01T00:00:01Z'}, {'$date': '1970-01-01T00:00:00Z'}]}",
            "{'$numberLong': '1000'}"
        ),
        ("{'$subtract': [1, 3]}", "-2"), ("{'$multiply': [3, {'$numberDecimal': '1.5'}]}", "{'$numberDecimal': '4.5'}"),
        ("{'$divide': [7, 2]}", "3.5"), ("{'$mod': [-7, 3]}", "-1"), ("{'$mod': [7.5, 2]}", "1.5"),
        ("{'$abs': -3}", "3"),
        ("{'$ceil': 1.2}", "2.0"), ("{'$floor': -1.2}", "-2.0"), ("{'$round': [2.5, 0]}", "2.0"),
        ("{'$round': [1234, -2]}", "1200"),
        ("{'$round': [1.255, 2]}", "1.26"), ("{'$trunc': [-1.87, 1]}", "-1.8"), ("{'$sqrt': 16}", "4.0"),
        ("{'$pow': [2, 10]}", "1024"),
        ("{'$pow': [2, -1]}", "0.5"), ("{'$pow': [2, 40]}", "{'$numberLong': '1099511627776'}"), ("{'$exp': 0}", "1.0"),
        ("{'$log10': 1000}", "3.0"),
        ("{'$bitAnd': [6, 3]}", "2"), ("{'$bitNot': 0}", "-1"), ("{'$cos': 0}", "1.0"),
        ("{'$sum': [1, 'x', 2.5]}", "3.5"),
        ("{'$avg': [[1, 2]]}", "1.5"), ("{'$avg': ['$a']}", "1.5"), ("{'$max': '$a'}", "2"),
        ("{'$min': [3, null, 1]}", "1"),
    ])
    func arithmetic(expression: String, expected: String) throws {
        try check(expression, expected, on: "{'a': [1, 2]}")
    }

    @Test(arguments: [
        ("{'$eq': [1, 1.0]}", "true"), ("{'$lt': ['$missing', null]}", "true"), ("{'$cmp': ['a', 1]}", "1"),
        ("{'$gt': [[], {}]}", "true"),
        ("{'$and': []}", "true"), ("{'$or': [0, null, '']}", "true"), ("{'$not': [0]}", "true"),
        ("{'$cond': [true, 1, {'$divide': [1, 0]}]}", "1"),
        ("{'$cond': {'if': '$missing', 'then': 1, 'else': 2}}", "2"), ("{'$ifNull': ['$missing', null, 3]}", "3"),
        ("{'$switch': {'branches': [{'case': false, 'then': 1}, {'case': true, 'then': 2}]}}", "2"),
        ("{'$switch': {'branches': [{'case': false, 'then': 1}], 'default': 9}}", "9"),
        ("{'$let': {'vars': {'x': 1, 'y': '$n'}, 'in': {'$add': ['$$x', '$$y']}}}", "6"),
        (
            "{'$let': {'vars': {'x': 1}, 'in': {'$let': {'vars': {'x': 2, 'y': '$$x'}, 'in': ['$$x', '$$y']}}}}",
            "[2, 1]"
        ),
        ("'$$ROOT.n'", "5"), ("'$$CURRENT.n'", "5"), ("'$$REMOVE'", "missing"), ("'$missing'", "missing"),
        ("{'$literal': '$n'}", "'$n'"),
        ("{'a': '$n', 'b': '$missing'}", "{'a': 5}"), ("['$n', '$missing']", "[5, null]"), ("'$list.v'", "[1, 2]"),
        ("'$list.0'", "[]"),
    ])
    func logicAndVariables(expression: String, expected: String) throws {
        try check(expression, expected, on: "{'n': 5, 'list': [{'v': 1}, 7, {'v': 2}, {'w': 1}]}")
    }

    @Test(arguments: [
        ("{'$size': '$a'}", "3"), ("{'$arrayElemAt': ['$a', -1]}", "3"), ("{'$arrayElemAt': ['$a', 9]}", "missing"),
        ("{'$first': '$a'}", "1"),
        ("{'$slice': ['$a', 1, 5]}", "[2, 3]"), ("{'$slice': ['$a', -2]}", "[2, 3]"),
        ("{'$concatArrays': ['$a', [4]]}", "[1, 2, 3, 4]"),
        ("{'$reverseArray': '$a'}", "[3, 2, 1]"), ("{'$in': [2.0, '$a']}", "true"),
        ("{'$indexOfArray': ['$a', 3]}", "2"), ("{'$range': [0, 7, 3]}", "[0, 3, 6]"),
        ("{'$range': [3, 0, -2]}", "[3, 1]"),
        ("{'$map': {'input': '$a', 'as': 'x', 'in': {'$multiply': ['$$x', 2]}}}", "[2, 4, 6]"),
        ("{'$filter': {'input': '$a', 'cond': {'$gt': ['$$this', 1]}, 'limit': 1}}", "[2]"),
        (
            "{'$reduce': {'input': '$a', 'initialValue': '', 'in': {'$concat': ['$$value', {'$toString': '$$this'}]}}}",
            "'123'"
        ),
        ("{'$sortArray': {'input': [3, 1, 2], 'sortBy': -1}}", "[3, 2, 1]"),
        ("{'$sortArray': {'input': [{'x': 2}, {'x': 1}], 'sortBy': {'x': 1}}}", "[{'x': 1}, {'x': 2}]"),
        (
            "{'$zip': {'inputs': [[1, 2], ['a']], 'useLongestLength': true, 'defaults': [0, 'z']}}",
            "[[1, 'a'], [2, 'z']]"
        ),
        ("{'$setUnion': [[3, 1], [1, 2]]}", "[1, 2, 3]"), ("{'$setIntersection': [[1, 2], [2, 3]]}", "[2]"),
        ("{'$setDifference': [[1, 2, 1], [2]]}", "[1]"),
        ("{'$setEquals': [[1, 2], [2, 1, 1]]}", "true"), ("{'$setIsSubset': [[1], [1, 2]]}", "true"),
        ("{'$anyElementTrue': [[0, 1]]}", "true"),
        ("{'$isArray': '$a'}", "true"), ("{'$firstN': {'input': '$a', 'n': 2}}", "[1, 2]"),
        ("{'$maxN': {'input': '$a', 'n': 2}}", "[3, 2]"),
        ("{'$mergeObjects': [{'a': 1, 'b': 2}, null, {'b': 3}]}", "{'a': 1, 'b': 3}"),
        ("{'$objectToArray': {'x': 1}}", "[{'k': 'x', 'v': 1}]"),
        ("{'$arrayToObject': [[['x', 1], ['y', 2], ['x', 3]]]}", "{'x': 3, 'y': 2}"),
        ("{'$getField': {'field': 'a.b', 'input': {'$literal': {'a.b': 7}}}}", "7"),
        ("{'$setField': {'field': 'x', 'input': {'y': 1}, 'value': 2}}", "{'y': 1, 'x': 2}"), ("{'$size': [[]]}", "0"),
    ])
    func arraysAndObjects(expression: String, expected: String) throws {
        try check(expression, expected, on: "{'a': [1, 2, 3]}")
    }

    @Test(arguments: [
        ("{'$concat': ['a', 'é']}", "'aé'"), ("{'$toUpper': 'aé'}", "'Aé'"), ("{'$strLenCP': 'né'}", "2"),
        ("{'$strLenBytes': 'né'}", "3"),
        ("{'$substrCP': ['néz', 1, 1]}", "'é'"), ("{'$substrBytes': ['abc', 1, -1]}", "'bc'"),
        ("{'$indexOfCP': ['néz', 'z']}", "2"), ("{'$split': ['a-b-', '-']}", "['a', 'b', '']"),
        ("{'$trim': {'input': '  x '}}", "'x'"), ("{'$ltrim': {'input': 'xxy', 'chars': 'x'}}", "'y'"),
        ("{'$replaceAll': {'input': 'aXbX', 'find': 'X', 'replacement': '-'}}", "'a-b-'"),
        ("{'$replaceOne': {'input': 'aXbX', 'find': 'X', 'replacement': '-'}}", "'a-bX'"),
        ("{'$strcasecmp': ['a', 'B']}", "-1"), ("{'$toString': 1.0}", "'1'"),
        ("{'$toString': {'$date': '1969-12-31T23:59:59.500Z'}}", "'1969-12-31T23:59:59.500Z'"),
        ("{'$toInt': '42'}", "42"), ("{'$toInt': -2.9}", "-2"), ("{'$toLong': true}", "{'$numberLong': '1'}"),
        ("{'$toDouble': '1.5'}", "1.5"), ("{'$toBool': ''}", "true"),
        ("{'$toDecimal': '1.50'}", "{'$numberDecimal': '1.50'}"), ("{'$type': '$missing'}", "'missing'"),
        ("{'$type': 1.5}", "'double'"),
        ("{'$convert': {'input': 'x', 'to': 'int', 'onError': -1}}", "-1"),
        ("{'$convert': {'input': null, 'to': 'int', 'onNull': 0}}", "0"),
        ("{'$toDate': '2020-02-29'}", "{'$date': '2020-02-29T00:00:00Z'}"),
        ("{'$toObjectId': '5ab9cbfa31c2ab715d42129e'}", "{'$oid': '5ab9cbfa31c2ab715d42129e'}"),
        ("{'$isNumber': '1'}", "false"), ("{'$bsonSize': {'a': 1}}", "12"),
    ])
    func stringsAndTypes(expression: String, expected: String) throws {
        try check(expression, expected)
    }

    @Test(arguments: [
        ("{'$year': '$d'}", "1969"), ("{'$month': '$d'}", "12"), ("{'$dayOfMonth': '$d'}", "31"),
        ("{'$hour': '$d'}", "23"), ("{'$millisecond': '$d'}", "500"),
        ("{'$dayOfWeek': '$d'}", "4"), ("{'$dayOfYear': '$d'}", "365"), ("{'$isoWeek': '$d'}", "1"),
        ("{'$isoWeekYear': '$d'}", "{'$numberLong': '1970'}"),
        ("{'$hour': {'date': '$d', 'timezone': '+01:30'}}", "1"),
        ("{'$dateToString': {'date': '$d', 'format': '%Y/%m/%d %H:%M %j %u'}}", "'1969/12/31 23:59 365 3'"),
        ("{'$dateToString': {'date': '$missing', 'onNull': 'x'}}", "'x'"),
        (
            "{'$dateFromString': {'dateString': '2017-02-08T12:10:40.787+02:00'}}",
            "{'$date': '2017-02-08T10:10:40.787Z'}"
        ),
        (
            "{'$dateFromString': {'dateString': '15-06-2018', 'format': '%d-%m-%Y'}}",
            "{'$date': '2018-06-15T00:00:00Z'}"
        ), ("{'$dateFromString': {'dateString': 'x', 'onError': 1}}", "1"),
        ("{'$dateFromParts': {'year': 2016, 'month': 14, 'day': 0}}", "{'$date': '2017-01-31T00:00:00Z'}"),
        (
            "{'$dateFromParts': {'isoWeekYear': 2017, 'isoWeek': 1, 'isoDayOfWeek': 1}}",
            "{'$date': '2017-01-02T00:00:00Z'}"
        ),
        (
            "{'$dateToParts': {'date': '$d'}}",
            "{'year': 1969, 'month': 12, 'day': 31, 'hour': 23, 'minute': 59, 'second': 59, 'millisecond': 500}"
        ),
        (
            "{'$dateAdd': {'startDate': {'$date': '2020-01-31T00:00:00Z'}, 'unit': 'month', 'amount': 1}}",
            "{'$date': '2020-02-29T00:00:00Z'}"
        ),
        (
            "{'$dateSubtract': {'startDate': {'$date': '2020-03-01T00:00:00Z'}, 'unit': 'day', 'amount': 1}}",
            "{'$date': '2020-02-29T00:00:00Z'}"
        ),
        (
            "{'$dateDiff': {'startDate': {'$date': '2019-12-31T23:59:59Z'}, 'endDate': {'$date': '2020-01-01T00:00:00Z'}, 'unit': 'year'}}",
            "{'$numberLong': '1'}"
        ),
        (
            "{'$dateDiff': {'startDate': {'$date': '2021-01-02T00:00:00Z'}, 'endDate': {'$date': '2021-01-03T00:00:00Z'}, 'unit': 'week'}}",
            "{'$numberLong': '1'}"
        ),
        ("{'$dateTrunc': {'date': '$d', 'unit': 'month'}}", "{'$date': '1969-12-01T00:00:00Z'}"),
        (
            "{'$dateTrunc': {'date': {'$date': '2021-03-20T11:30:05Z'}, 'unit': 'hour', 'binSize': 2}}",
            "{'$date': '2021-03-20T10:00:00Z'}"
        ),
        (
            "{'$dateTrunc': {'date': {'$date': '2021-03-20T11:30:05Z'}, 'unit': 'week', 'startOfWeek': 'monday'}}",
            "{'$date': '2021-03-15T00:00:00Z'}"
        ),
        ("{'$hour': {'date': {'$date': '2021-07-01T12:00:00Z'}, 'timezone': 'Europe/Berlin'}}", "14"),
        ("{'$hour': {'date': {'$date': '2021-01-01T12:00:00Z'}, 'timezone': 'America/New_York'}}", "7"),
    ])
    func dates(expression: String, expected: String) throws {
        try check(expression, expected, on: "{'d': {'$date': '1969-12-31T23:59:59.500Z'}}")
    }

    @Test(arguments: [
        ("{'$foo': 1}", 168), ("{'$add': ['x']}", 14), ("{'$divide': [1, 0]}", 2), ("{'$size': 5}", 17124),
        ("{'$eq': [1]}", 16020), ("{'a': 1, '$add': []}", 16410),
        ("{'$add': [], 'b': 1}", 15983), ("'$$x'", 17276), ("'$'", 16872), ("'$a..b'", 15998), ("{'$toInt': 'x'}", 241),
        ("{'$substrBytes': ['é', 1, 1]}", 28656),
        ("{'$mod': [1, 0]}", 16610), ("{'$arrayToObject': [[['\\u0000', 1]]]}", 4_940_400),
        ("{'$dateToString': {'date': {'$date': '2020-01-01T00:00:00Z'}, 'timezone': 'Nowhere'}}", 40485),
        ("{'$function': {}}", 238), ("{'$range': [0, 2147483647]}", 146), ("{'$let': {'vars': {'X': 1}, 'in': 1}}", 9),
        ("{'$sqrt': -1}", 28714),
    ])
    func mistakesHaveMongoDBsCodes(expression: String, expected: Int32) {
        #expect(code { _ = try evaluate(expression) } == ErrorCode(expected), "\(expression)")
    }

    @Test func nestingIsBounded() {
        var expression: Value = 1
        for _ in 0..<10_000 { expression = ["$not": [expression]] }
        #expect(code { _ = try Expression(parsing: expression) } == .failedToParse)
        // A value that an expression nests step by step.
        let deep = "{'$reduce': {'input': {'$range': [0, 5000]}, 'initialValue': [], 'in': ['$$value']}}"
        #expect(code { _ = try evaluate(deep) } == .overflow)
        let large =
            "{'$reduce': {'input': {'$range': [0, 60]}, 'initialValue': 'xxxxxxxx', 'in': {'$concat': ['$$value', '$$value']}}}"
        #expect(code { _ = try evaluate(large) } == .bsonObjectTooLarge)
    }

    @Test func variablesOfTheCommandAreConstants() throws {
        let context = QueryContext(nowMilliseconds: 5000, variables: [("x", 7)])
        #expect(try Expression(parsing: ["$add": ["$$x", "$a"]], context: context).evaluate(["a": 1]) == 8)
        #expect(try Expression(parsing: "$$NOW", context: context).evaluate([:]) == .date(milliseconds: 5000))
        #expect(try Filter(parsing: json("{'$expr': {'$eq': ['$a', '$$x']}}"), context: context).matches(["a": 7]))
    }
}
