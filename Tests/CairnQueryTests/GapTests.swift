import CairnBSON
import CairnQuery
import Testing

@Suite("$densify") struct DensifyTests {
    private func densified(
        _ range: String, _ documents: [String], partition: String = ""
    ) throws -> [Document] {
        try run(["{'$densify': {'field': 'x', 'range': \(range)\(partition)}}"], over: documents)
    }

    @Test func whatIsMissingIsMadeAndWhatIsThereStays() throws {
        #expect(
            try densified("{'step': 2, 'bounds': 'full'}", ["{'x': 7, 'v': 1}", "{'x': 0}", "{'x': 3}"])
                == ["{'x': 0}", "{'x': 2}", "{'x': 3}", "{'x': 4}", "{'x': 6}", "{'x': 7, 'v': 1}"].map(json))
        #expect(try densified("{'step': 2, 'bounds': 'full'}", []) == [])
        #expect(try densified("{'step': 1, 'bounds': 'full'}", ["{'x': 1}", "{'x': 1}"]).count == 2)
    }

    @Test func boundsThatAreGivenLeaveOutTheUpper() throws {
        #expect(
            try densified("{'step': 5, 'bounds': [0, 10]}", ["{'x': 12}", "{'x': -1}", "{'x': 5.0}"])
                == ["{'x': -1}", "{'x': 0}", "{'x': 5.0}", "{'x': 12}"].map(json))
        #expect(try densified("{'step': 5, 'bounds': [0, 10]}", []) == ["{'x': 0}", "{'x': 5}"].map(json))
        #expect(try densified("{'step': 5, 'bounds': [3, 3]}", ["{'x': 3}"]) == [json("{'x': 3}")])
    }

    @Test func partitionsAreDensifiedEach() throws {
        let documents = ["{'p': 'a', 'x': 1}", "{'p': 'a', 'x': 3}", "{'p': 'b', 'x': 2}"]
        let by = ", 'partitionByFields': ['p']"
        #expect(
            try densified("{'step': 1, 'bounds': 'partition'}", documents, partition: by)
                == ["{'p': 'a', 'x': 1}", "{'p': 'a', 'x': 2}", "{'p': 'a', 'x': 3}", "{'p': 'b', 'x': 2}"].map(json))
        #expect(
            try densified("{'step': 1, 'bounds': 'full'}", documents, partition: by)
                == [
                    "{'p': 'a', 'x': 1}", "{'p': 'a', 'x': 2}", "{'p': 'a', 'x': 3}", "{'p': 'b', 'x': 1}",
                    "{'p': 'b', 'x': 2}", "{'p': 'b', 'x': 3}",
                ].map(json))
    }

    @Test func datesGoByTheCalendar() throws {
        func date(_ text: String) -> String { "{'x': {'$date': '\(text)T00:00:00Z'}}" }
        #expect(
            try densified("{'step': 1, 'unit': 'month', 'bounds': 'full'}", ["2024-01-15", "2024-04-15"].map(date))
                == ["2024-01-15", "2024-02-15", "2024-03-15", "2024-04-15"].map { json(date($0)) })
    }

    @Test func documentsWithoutAValuePass() throws {
        #expect(
            try densified("{'step': 1, 'bounds': 'full'}", ["{'x': 3}", "{'x': null}", "{'y': 1}", "{'x': 1}"])
                == ["{'x': null}", "{'y': 1}", "{'x': 1}", "{'x': 2}", "{'x': 3}"].map(json))
    }

    @Test func valuesHaveToBeOfTheRangesKind() {
        #expect(code { _ = try densified("{'step': 1, 'bounds': 'full'}", ["{'x': 'a'}"]) } == ErrorCode(5_733_201))
        #expect(
            code { _ = try densified("{'step': 1, 'unit': 'day', 'bounds': 'full'}", ["{'x': 1}"]) }
                == ErrorCode(6_053_600))
    }

    @Test func whatIsMadeIsBounded() {
        #expect(
            code { _ = try densified("{'step': 1, 'bounds': 'full'}", ["{'x': 0}", "{'x': 1000000}"]) }
                == ErrorCode(5_897_900))
    }

    @Test(arguments: [
        ("1", 9), ("{'field': 'x'}", 40414), ("{'field': 1, 'range': {'step': 1, 'bounds': 'full'}}", 14),
        ("{'field': 'x', 'range': {'step': 1}}", 40414),
        ("{'field': 'x', 'range': {'step': 0, 'bounds': 'full'}}", 5_733_401),
        ("{'field': 'x', 'range': {'step': 1, 'bounds': 'some'}}", 5_733_402),
        ("{'field': 'x', 'range': {'step': 1, 'bounds': [2, 1]}}", 5_733_402),
        ("{'field': 'x', 'range': {'step': 1, 'bounds': [1]}}", 5_733_403),
        ("{'field': 'x', 'range': {'step': 1, 'bounds': 'partition'}}", 5_733_408),
        ("{'field': 'x', 'range': {'step': 1, 'unit': 'day', 'bounds': [1, 2]}}", 5_733_409),
        ("{'field': 'x', 'range': {'step': 1.5, 'unit': 'day', 'bounds': 'full'}}", 6_586_400),
        ("{'field': 'x', 'range': {'step': 1, 'bounds': 'full'}, 'y': 1}", 40415),
    ])
    func mistakesHaveMongoDBsCodes(stage: String, expected: Int32) {
        #expect(code { _ = try Pipeline(parsing: [json("{'$densify': \(stage)}")]) } == ErrorCode(expected), "\(stage)")
    }
}

@Suite("$fill") struct FillTests {
    @Test func valuesTakeThePlaceOfNullAndMissing() throws {
        #expect(
            try run(
                ["{'$fill': {'output': {'a': {'value': 0}, 'b': {'value': '$a'}}}}"],
                over: ["{'a': 1, 'b': null}", "{'a': null}", "{'b': 2}"])
                == ["{'a': 1, 'b': 1}", "{'a': 0, 'b': null}", "{'b': 2, 'a': 0}"].map(json))
    }

    @Test func methodsFillWithinPartitions() throws {
        let documents = [
            "{'p': 1, 'x': 1, 'v': 10}", "{'p': 1, 'x': 2}", "{'p': 1, 'x': 3, 'v': 30}", "{'p': 2, 'x': 1}",
            "{'p': 2, 'x': 2, 'v': 5}", "{'p': 2, 'x': 3, 'v': null}",
        ]
        func filled(_ method: String, _ partition: String) throws -> [Value?] {
            try run(
                ["{'$fill': {\(partition), 'sortBy': {'x': 1}, 'output': {'v': {'method': '\(method)'}}}}"],
                over: documents
            ).map { $0["v"] }
        }
        #expect(try filled("linear", "'partitionByFields': ['p']") == [10, 20.0, 30, .null, 5, .null])
        #expect(try filled("locf", "'partitionBy': '$p'") == [10, 10, 30, .null, 5, 5])
        #expect(try filled("locf", "'partitionBy': {'k': '$p'}") == [10, 10, 30, .null, 5, 5])
    }

    @Test(arguments: [
        ("1", 9), ("{}", 40414), ("{'output': {}}", 6_050_203), ("{'output': {'a': 1}}", 6_050_200),
        ("{'output': {'a': {'x': 1}}}", 6_050_201), ("{'output': {'a': {'method': 'x'}}}", 6_050_202),
        ("{'output': {'a': {'method': 'linear'}}}", 605_001),
        ("{'partitionBy': '$a', 'partitionByFields': ['a'], 'output': {'a': {'value': 1}}}", 6_050_204),
        ("{'output': {'a': {'value': 1}}, 'x': 1}", 40415),
    ])
    func mistakesHaveMongoDBsCodes(stage: String, expected: Int32) {
        #expect(code { _ = try Pipeline(parsing: [json("{'$fill': \(stage)}")]) } == ErrorCode(expected), "\(stage)")
    }
}
