import CairnBSON
import CairnQuery
import Testing

@Suite("$setWindowFields") struct WindowFieldsTests {
    /// The values of the field `r` that a window function gives, over documents in the order of `x`.
    private func values(
        _ function: String, _ documents: [String], sortBy: String = "{'x': 1}", more: String = ""
    ) throws -> [Value?] {
        try run(
            ["{'$setWindowFields': {'sortBy': \(sortBy)\(more), 'output': {'r': \(function)}}}"], over: documents
        ).map { $0["r"] }
    }

    private let line = (1...5).map { "{'x': \($0), 'v': \($0)}" }

    private func window(_ function: String, _ low: String, _ high: String) -> String {
        "{\(function), 'window': {'documents': [\(low), \(high)]}}"
    }

    @Test func documentsComeByPartitionAndThenInOrder() throws {
        let results = try run(
            [
                "{'$setWindowFields': {'partitionBy': '$p', 'sortBy': {'x': -1}, 'output': {'n': {'$documentNumber': {}}}}}"
            ],
            over: ["{'p': 'b', 'x': 1}", "{'p': 'a', 'x': 1}", "{'x': 5}", "{'p': 'a', 'x': 2}", "{'p': null, 'x': 6}"])
        #expect(
            results
                == [
                    "{'p': null, 'x': 6, 'n': {'$numberLong': '1'}}", "{'x': 5, 'n': {'$numberLong': '2'}}",
                    "{'p': 'a', 'x': 2, 'n': {'$numberLong': '1'}}", "{'p': 'a', 'x': 1, 'n': {'$numberLong': '2'}}",
                    "{'p': 'b', 'x': 1, 'n': {'$numberLong': '1'}}",
                ].map(json))
        #expect(try run(["{'$setWindowFields': {'output': {}}}"], over: []) == [])
    }

    @Test func withoutAWindowEveryDocumentSeesThePartition() throws {
        #expect(try values("{'$sum': '$v'}", line) == [15, 15, 15, 15, 15])
        #expect(
            try values("{'$push': '$v'}", ["{'x': 2, 'v': 'b'}", "{'x': 1, 'v': 'a'}"]) == [["a", "b"], ["a", "b"]])
    }

    @Test(arguments: [
        ("'unbounded'", "'current'", [1, 3, 6, 10, 15]), ("-1", "1", [3, 6, 9, 12, 9]), ("-1", "0", [1, 3, 5, 7, 9]),
        ("1", "2", [5, 7, 9, 5, 0]), ("-3", "-2", [0, 0, 1, 3, 5]), ("'current'", "'unbounded'", [15, 14, 12, 9, 5]),
        ("-100", "100", [15, 15, 15, 15, 15]),
    ])
    func windowsByPosition(low: String, high: String, expected: [Int32]) throws {
        #expect(try values(window("'$sum': '$v'", low, high), line) == expected.map(Value.int32))
    }

    @Test func everyAccumulatorSlides() throws {
        func slid(_ function: String) throws -> [Value?] { try values(window(function, "-1", "1"), line) }
        #expect(try slid("'$avg': '$v'") == [1.5, 2.0, 3.0, 4.0, 4.5])
        #expect(try slid("'$min': '$v'") == [1, 1, 2, 3, 4])
        #expect(try slid("'$max': '$v'") == [2, 3, 4, 5, 5])
        #expect(try slid("'$count': {}") == [2, 3, 3, 3, 2])
        #expect(try slid("'$first': '$v'") == [1, 1, 2, 3, 4])
        #expect(try slid("'$last': '$v'") == [2, 3, 4, 5, 5])
        #expect(try slid("'$push': '$v'")[0] == [1, 2])
        #expect(try slid("'$addToSet': '$v'")[4] == [4, 5])
        #expect(try slid("'$stdDevPop': '$v'")[4] == 0.5)
        #expect(try slid("'$stdDevSamp': '$v'")[1] == 1.0)
        #expect(try slid("'$firstN': {'input': '$v', 'n': 2}")[2] == [2, 3])
        #expect(try slid("'$lastN': {'input': '$v', 'n': 2}")[2] == [3, 4])
        #expect(try slid("'$minN': {'input': '$v', 'n': 1}")[2] == [2])
        #expect(try slid("'$maxN': {'input': '$v', 'n': 1}")[2] == [4])
        #expect(try slid("'$top': {'sortBy': {'v': -1}, 'output': '$v'}")[2] == 4)
        #expect(try slid("'$topN': {'sortBy': {'v': -1}, 'output': '$v', 'n': 2}")[2] == [4, 3])
        #expect(try slid("'$bottom': {'sortBy': {'v': -1}, 'output': '$v'}")[2] == 2)
        #expect(try slid("'$bottomN': {'sortBy': {'v': -1}, 'output': '$v', 'n': 2}")[2] == [3, 2])
        #expect(try slid("'$median': {'input': '$v', 'method': 'approximate'}")[2] == 3.0)
        #expect(try slid("'$percentile': {'input': '$v', 'p': [1], 'method': 'approximate'}")[2] == [4.0])
        #expect(try slid("'$covariancePop': ['$x', '$v']")[4] == 0.25)
        #expect(try slid("'$covarianceSamp': ['$x', '$v']")[1] == 1.0)
    }

    @Test func anEmptyWindowGivesWhatNothingGives() throws {
        func empty(_ function: String) throws -> Value? { try values(window(function, "5", "6"), line)[0] }
        #expect(try empty("'$sum': '$v'") == 0)
        #expect(try empty("'$avg': '$v'") == .null)
        #expect(try empty("'$push': '$v'") == [])
        #expect(try empty("'$min': '$v'") == .null)
        #expect(try empty("'$first': '$v'") == .null)
        #expect(try empty("'$covarianceSamp': ['$x', '$v']") == .null)
    }

    @Test func whatIsNoNumberLeavesAWindowWithIt() throws {
        let sums = try values(
            window("'$sum': '$v'", "-1", "0"),
            [
                "{'x': 1, 'v': {'$numberDouble': 'NaN'}}", "{'x': 2, 'v': 1}",
                "{'x': 3, 'v': {'$numberDouble': 'Infinity'}}",
                "{'x': 4, 'v': 2}", "{'x': 5, 'v': {'$numberDecimal': '0.1'}}", "{'x': 6, 'v': 'text'}", "{'x': 7}",
            ])
        #expect(sums[3] == .double(.infinity))
        #expect(sums[4] == .decimal128(Decimal128("2.1")!))
        #expect(sums[5] == .decimal128(Decimal128("0.1")!))
        #expect(sums[6] == 0)
    }

    @Test func slidingGivesWhatComputingEachWindowAnewGives() throws {
        var random = RandomDocuments(seed: 11)
        let documents = (0..<200).map { ["x": .int32(Int32($0)), "v": random.scalar()] as Document }
        for (low, high) in [(-3, 3), (-7, -2), (2, 9), (0, 0), (-50, 10)] {
            for function in ["$sum", "$avg", "$min", "$max"] {
                let text =
                    "{'$setWindowFields': {'sortBy': {'x': 1}, 'output': {'r': {'\(function)': '$v', 'window': {'documents': [\(low), \(high)]}}, 'all': {'$push': '$v', 'window': {'documents': [\(low), \(high)]}}}}}"
                let check = "{'$project': {'x': 1, 'r': 1, 'e': {'\(function)': '$all'}}}"
                for result in try Pipeline(parsing: [json(text), json(check)]).makeExecutor().run(documents) {
                    #expect(result["r"] == result["e"], "\(function) [\(low), \(high)] at \(result)")
                }
            }
        }
    }

    // MARK: Windows by value

    private func range(_ function: String, _ low: String, _ high: String, unit: String? = nil) -> String {
        "{\(function), 'window': {'range': [\(low), \(high)]\(unit.map { ", 'unit': '\($0)'" } ?? "")}}"
    }

    @Test func windowsByValueHoldWhatIsNear() throws {
        let documents = [1, 2, 2, 5, 6, 10].map { "{'x': \($0), 'v': 1}" }
        #expect(try values(range("'$sum': '$v'", "-1", "1"), documents) == [3, 3, 3, 2, 2, 1])
        #expect(try values(range("'$sum': '$v'", "'current'", "'current'"), documents) == [1, 2, 2, 1, 1, 1])
        #expect(try values(range("'$sum': '$v'", "'unbounded'", "0"), documents) == [1, 3, 3, 4, 5, 6])
        #expect(try values(range("'$sum': '$v'", "2", "'unbounded'"), documents) == [3, 3, 3, 1, 1, 0])
        #expect(
            try values(range("'$sum': '$v'", "-0.5", "{'$numberDecimal': '4.0'}"), documents) == [4, 4, 4, 2, 2, 1])
    }

    @Test func windowsByTimeUseTheCalendar() throws {
        func date(_ text: String) -> String { "{'x': {'$date': '\(text)T00:00:00Z'}, 'v': 1}" }
        let documents = ["2024-01-31", "2024-02-29", "2024-03-30", "2024-03-31"].map(date)
        #expect(try values(range("'$sum': '$v'", "-1", "0", unit: "month"), documents) == [1, 2, 2, 3])
        #expect(try values(range("'$sum': '$v'", "-1", "0", unit: "day"), documents) == [1, 1, 1, 2])
    }

    @Test func windowsByValueNeedValuesOfTheirKind() {
        #expect(
            code { _ = try values(range("'$sum': '$v'", "-1", "1"), ["{'x': 'a'}"]) } == ErrorCode(5_429_413))
        #expect(code { _ = try values(range("'$sum': '$v'", "-1", "1"), ["{}"]) } == ErrorCode(5_429_413))
        #expect(
            code { _ = try values(range("'$sum': '$v'", "-1", "1", unit: "day"), ["{'x': 1}"]) }
                == ErrorCode(5_429_513))
    }

    // MARK: Functions of order

    @Test func ranks() throws {
        let documents = ["{'x': 1}", "{'x': 3}", "{'x': 3}", "{'x': 7}"]
        func numbers(_ function: String) throws -> [Int64?] {
            try values("{'\(function)': {}}", documents).map { $0?.int64Exactly }
        }
        #expect(try numbers("$rank") == [1, 2, 2, 4])
        #expect(try numbers("$denseRank") == [1, 2, 2, 3])
        #expect(try numbers("$documentNumber") == [1, 2, 3, 4])
    }

    @Test func shifts() throws {
        #expect(try values("{'$shift': {'output': '$v', 'by': 1}}", line) == [2, 3, 4, 5, .null])
        #expect(
            try values("{'$shift': {'output': '$v', 'by': -2, 'default': 'none'}}", line) == ["none", "none", 1, 2, 3])
    }

    @Test func derivativesAndIntegrals() throws {
        let documents = ["{'x': 0, 'v': 0}", "{'x': 2, 'v': 4}", "{'x': 3, 'v': 10}"]
        #expect(try values(window("'$derivative': {'input': '$v'}", "-1", "0"), documents) == [.null, 2.0, 6.0])
        #expect(
            try values(window("'$integral': {'input': '$v'}", "'unbounded'", "'current'"), documents) == [
                0.0, 4.0, 11.0,
            ])
        #expect(try values(window("'$integral': {'input': '$v'}", "-1", "0"), documents) == [0.0, 4.0, 7.0])
        #expect(try values("{'$integral': {'input': '$v'}}", documents)[0] == 11.0)
        let hours = ["00:00", "00:30", "02:30"].enumerated().map {
            "{'x': {'$date': '2024-01-01T\($0.element):00Z'}, 'v': \($0.offset * 10)}"
        }
        #expect(
            try values(window("'$derivative': {'input': '$v', 'unit': 'hour'}", "-1", "0"), hours) == [
                .null, 20.0, 5.0,
            ])
        #expect(
            try values(window("'$integral': {'input': '$v', 'unit': 'hour'}", "'unbounded'", "'current'"), hours)
                == [0.0, 2.5, 32.5])
        #expect(
            code { _ = try values(window("'$derivative': {'input': '$v'}", "-1", "0"), hours) } == ErrorCode(5_624_902))
        #expect(
            code { _ = try values(window("'$derivative': {'input': '$v', 'unit': 'hour'}", "-1", "0"), documents) }
                == ErrorCode(5_624_900))
        let decimals = ["{'x': 0, 'v': {'$numberDecimal': '1'}}", "{'x': 4, 'v': 2}"]
        #expect(
            try values(window("'$derivative': {'input': '$v'}", "-1", "0"), decimals)[1]
                == .decimal128(Decimal128("0.25")!))
    }

    @Test func movingAverages() throws {
        #expect(
            try values("{'$expMovingAvg': {'input': '$v', 'alpha': 0.5}}", line) == [1, 1.5, 2.25, 3.125, 4.0625])
        #expect(
            try values(
                "{'$expMovingAvg': {'input': '$v', 'N': 3}}", ["{'x': 1, 'v': 4}", "{'x': 2}", "{'x': 3, 'v': 8}"])
                == [4, .null, 6.0])
    }

    @Test func gapsAreFilled() throws {
        let documents = [
            "{'x': 0}", "{'x': 1, 'v': 10}", "{'x': 2, 'v': null}", "{'x': 5}", "{'x': 6, 'v': 20}", "{'x': 9}",
        ]
        #expect(try values("{'$linearFill': '$v'}", documents) == [.null, 10, 12.0, 18.0, 20, .null])
        #expect(try values("{'$locf': '$v'}", documents) == [.null, 10, 10, 10, 20, 20])
        #expect(
            code { _ = try values("{'$linearFill': '$v'}", ["{'x': 1}", "{'x': 1}"]) } == ErrorCode(6_050_106))
        #expect(code { _ = try values("{'$linearFill': '$v'}", ["{'x': 1, 'v': 'a'}"]) } == .typeMismatch)
    }

    // MARK: Limits and mistakes

    @Test func memoryIsBounded() throws {
        var context = QueryContext()
        context.memoryBytesMax = 10_000
        let documents = (0..<1000).map { ["a": .text("\($0)xxxxxxxxxxxxxxxxxxxxx")] as Document }
        let stage = json("{'$setWindowFields': {'output': {'n': {'$count': {}}}}}")
        #expect(
            code { _ = try Pipeline(parsing: [stage], context: context).makeExecutor().run(documents) }
                == .queryExceededMemoryLimitNoDiskUseAllowed)
    }

    @Test func aPartitionIsNoArray() {
        #expect(
            code { _ = try run(["{'$setWindowFields': {'partitionBy': '$a', 'output': {}}}"], over: ["{'a': [1]}"]) }
                == .typeMismatch)
    }

    @Test(arguments: [
        ("1", 9), ("{}", 40414), ("{'output': 1}", 14), ("{'output': {}, 'sortBy': 1}", 14),
        ("{'output': {}, 'x': 1}", 40415),
        ("{'output': {'a': 1}}", 9), ("{'output': {'a': {}}}", 9), ("{'output': {'a': {'$foo': 1}}}", 9),
        ("{'output': {'a': {'$mergeObjects': '$x'}}}", 9), ("{'output': {'a': {'$sum': 1, 'x': 1}}}", 9),
        ("{'output': {'a': {'$sum': 1}, 'a.b': {'$sum': 1}}}", 40176),
        ("{'output': {'a': {'$sum': 1, 'window': {'documents': [-1, 0]}}}}", 5_339_901),
        ("{'sortBy': {'x': 1}, 'output': {'a': {'$sum': 1, 'window': {'documents': [1, 0]}}}}", 5_339_900),
        ("{'sortBy': {'x': 1}, 'output': {'a': {'$sum': 1, 'window': {'documents': [0.5, 1]}}}}", 9),
        ("{'sortBy': {'x': 1}, 'output': {'a': {'$sum': 1, 'window': {'documents': ['here', 1]}}}}", 9),
        ("{'sortBy': {'x': 1}, 'output': {'a': {'$sum': 1, 'window': {'documents': [1]}}}}", 9),
        ("{'sortBy': {'x': 1}, 'output': {'a': {'$sum': 1, 'window': {'documents': [0, 1], 'unit': 'day'}}}}", 9),
        ("{'sortBy': {'x': 1}, 'output': {'a': {'$sum': 1, 'window': {'documents': [0, 1], 'range': [0, 1]}}}}", 9),
        ("{'sortBy': {'x': 1, 'y': 1}, 'output': {'a': {'$sum': 1, 'window': {'range': [0, 1]}}}}", 5_339_902),
        ("{'sortBy': {'x': -1}, 'output': {'a': {'$sum': 1, 'window': {'range': [0, 1]}}}}", 8_947_401),
        ("{'sortBy': {'x': 1}, 'output': {'a': {'$sum': 1, 'window': {'range': [0, 1.5], 'unit': 'day'}}}}", 9),
        ("{'output': {'a': {'$rank': {}}}}", 5_371_602),
        ("{'sortBy': {'x': 1}, 'output': {'a': {'$rank': 1}}}", 5_371_603),
        ("{'sortBy': {'x': 1}, 'output': {'a': {'$rank': {}, 'window': {}}}}", 5_371_601),
        ("{'output': {'a': {'$shift': {'output': 1, 'by': 1}}}}", 9),
        ("{'sortBy': {'x': 1}, 'output': {'a': {'$shift': {'output': 1, 'by': 'x'}}}}", 9),
        ("{'sortBy': {'x': 1}, 'output': {'a': {'$derivative': {'input': 1}}}}", 9),
        ("{'sortBy': {'x': 1}, 'output': {'a': {'$integral': {'input': 1, 'unit': 'month'}}}}", 5_490_704),
        ("{'sortBy': {'x': 1}, 'output': {'a': {'$expMovingAvg': {'input': 1, 'N': 1, 'alpha': 0.5}}}}", 9),
        ("{'sortBy': {'x': 1}, 'output': {'a': {'$expMovingAvg': {'input': 1, 'alpha': 1}}}}", 9),
        ("{'output': {'a': {'$linearFill': 1}}}", 605_001),
    ])
    func mistakesHaveMongoDBsCodes(stage: String, expected: Int32) {
        #expect(
            code { _ = try Pipeline(parsing: [json("{'$setWindowFields': \(stage)}")]) } == ErrorCode(expected),
            "\(stage)")
    }
}
