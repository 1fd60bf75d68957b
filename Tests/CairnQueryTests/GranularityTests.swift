import CairnBSON
import CairnQuery
import Testing

@Suite("$bucketAuto with a granularity") struct GranularityTests {
    private func bounds(_ granularity: String, _ documents: [String], buckets: Int = 5) throws -> [[Double?]] {
        try run(
            ["{'$bucketAuto': {'groupBy': '$x', 'buckets': \(buckets), 'granularity': '\(granularity)'}}"],
            over: documents
        ).map { document in
            let id = document["_id"]?.asDocument
            return [id?["min"]?.numericDouble, id?["max"]?.numericDouble, document["count"]?.numericDouble]
        }
    }

    @Test func boundariesAreMembersOfTheSeries() throws {
        let hundred = (0..<100).map { "{'x': \($0)}" }
        #expect(try bounds("R5", hundred) == [[0, 25, 25], [25, 63, 38], [63, 100, 37]])
        #expect(try bounds("POWERSOF2", hundred) == [[0, 32, 32], [32, 64, 32], [64, 128, 36]])
        #expect(try bounds("1-2-5", hundred) == [[0, 20, 20], [20, 50, 30], [50, 100, 50]])
        #expect(
            try bounds("E24", hundred) == [[0, 20, 20], [20, 43, 23], [43, 68, 25], [68, 91, 23], [91, 100, 9]])
    }

    @Test func smallNumbersAndZeros() throws {
        #expect(try bounds("R5", ["{'x': 0.02}", "{'x': 0.03}"], buckets: 1) == [[0.016, 0.04, 2]])
        #expect(try bounds("R5", ["{'x': 0}", "{'x': 0}", "{'x': 5}"], buckets: 2) == [[0, 4, 2], [4, 6.3, 1]])
        #expect(try bounds("R5", ["{'x': 0}"], buckets: 2) == [[0, 0, 1]])
        #expect(try bounds("E192", ["{'x': 9.2}"], buckets: 1) == [[9.09, 9.31, 1]])
        #expect(try bounds("R80", [], buckets: 1) == [])
    }

    @Test(arguments: [
        ("'a'", 40258), ("null", 40258), ("{'$numberDouble': 'NaN'}", 40259), ("-1", 40260),
    ])
    func onlyNumbersFromZeroOnHaveOne(value: String, expected: Int32) {
        #expect(code { _ = try bounds("R5", ["{'x': \(value)}"]) } == ErrorCode(expected))
    }

    @Test(arguments: [("'granularity': 'R6'", 40257), ("'granularity': 1", 40261), ("'x': 1", 40245)])
    func mistakesHaveMongoDBsCodes(option: String, expected: Int32) {
        #expect(
            code { _ = try Pipeline(parsing: [json("{'$bucketAuto': {'groupBy': 1, 'buckets': 1, \(option)}}")]) }
                == ErrorCode(expected))
    }
}
