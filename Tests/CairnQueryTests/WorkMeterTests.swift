import CairnBSON
import CairnTestSupport
import Synchronization
import Testing

@testable import CairnQuery

@Suite("Work is bounded")
struct WorkMeterTests {
    private func code(_ work: () throws -> Void) -> Int32? {
        do {
            try work()
            return nil
        } catch {
            return (error as? QueryError)?.code.rawValue
        }
    }

    @Test("A meter ends a run after its steps, and stays at its end")
    func steps() {
        let meter = WorkMeter(steps: 100_000)
        meter.run {
            var counted = 0
            #expect(code { while true { try WorkMeter.count(7); counted += 7 } } == 50)
            #expect(counted <= 100_000 && counted > 100_000 - 7)
            #expect(meter.end == .steps)
            #expect(code { try WorkMeter.count(1) } == 50)
        }
        #expect(code { try meter.checkEnd() } == 50)
    }

    @Test("One large step is as much as many small ones")
    func largeSteps() {
        WorkMeter(steps: 1_000_000).run {
            #expect(code { try WorkMeter.count(999_000) } == nil)
            #expect(code { try WorkMeter.count(999) } == nil)
            #expect(code { try WorkMeter.count(1_000) } == 50)
        }
    }

    @Test("A meter without an end of steps looks at the clock, at its first step and then now and then")
    func overdue() {
        let late = WorkMeter { true }
        late.run { #expect(code { try WorkMeter.count() } == 50) }
        #expect(late.end == .time)
        let looks = Atomic(0)
        let meter = WorkMeter { looks.wrappingAdd(1, ordering: .relaxed).newValue > 10 }
        var counted = 0
        meter.run { #expect(code { while true { try WorkMeter.count(); counted += 1 } } == 50) }
        #expect(looks.load(ordering: .relaxed) == 11)
        #expect((100_000..<1_000_000).contains(counted))
    }

    @Test("An interruption ends what runs, whatever its share")
    func interruption() {
        let interruption = Interruption()
        let meter = WorkMeter(steps: 1_000_000_000, interruption: interruption) { false }
        meter.run {
            #expect(code { for _ in 0..<100_000 { try WorkMeter.count() } } == nil)
            interruption.raise()
            #expect(code { for _ in 0..<100_000 { try WorkMeter.count() } } == 11601)
        }
        #expect(meter.end == .interruption)
        #expect(code { try meter.checkEnd() } == 11601)
    }

    @Test("A run within another has a share of its own, and nothing ends without a run")
    func nesting() {
        WorkMeter(steps: 1_000).run {
            #expect(code { try WorkMeter.count(900) } == nil)
            let inner = WorkMeter(steps: 100_000)
            inner.run { #expect(code { try WorkMeter.count(90_000) } == nil) }
            #expect(code { try WorkMeter.count(100) } == nil)
            #expect(code { try WorkMeter.count(1) } == 50)
        }
        #expect(code { for _ in 0..<4 { try WorkMeter.count(.max / 2) } } == nil)
    }

    @Test(
        "Text that makes much of little ends at its meter",
        arguments: [
            ["$sum": ["$map": ["input": ["$range": [0, 3_000_000]], "in": ["$add": ["$$this", 1]]]]],
            [
                "$reduce": [
                    "input": ["$range": [0, 1_000_000]], "initialValue": "",
                    "in": ["$concat": ["$$value", "0123456789"]],
                ]
            ],
            ["$filter": ["input": ["$range": [0, 3_000_000]], "cond": ["$gt": ["$$this", "$x"]]]],
            ["$regexMatch": ["input": "$s", "regex": "(a+)+$"]],
        ] as [Value])
    func expressions(expression: Value) throws {
        let document: Document = ["x": 1, "s": .string(BSONString(String(repeating: "a", count: 3_000) + "b"))]
        let meter = WorkMeter(steps: 50_000)
        #expect(
            code {
                try meter.run { () throws in
                    _ = try Expression(parsing: expression).evaluate(document)
                    try meter.checkEnd()
                }
            } == 50)
    }

    @Test("What an expression holds at a time is bounded")
    func heldMemory() throws {
        let ranges = (0..<300).map { Value.document(["$range": [.int32($0), .int32(3_000_000 + $0)]]) }
        let list = Value.array(BSONArray(ranges))
        #expect(code { _ = try Expression(parsing: list).evaluate(Document()) } == 10334)
        #expect(code { _ = try Expression(parsing: ["$setUnion": list]).evaluate(Document()) } == 146)
        #expect(code { _ = try Expression(parsing: ["$concatArrays": list]).evaluate(Document()) } == 146)
        let doubling: Value = [
            "$reduce": [
                "input": ["$range": [0, 60]], "initialValue": "xxxxxxxx", "in": ["$concat": ["$$value", "$$value"]],
            ]
        ]
        #expect(code { _ = try Expression(parsing: doubling).evaluate(Document()) } == 10334)
    }

    @Test("Constants that would grow are not computed while they are parsed")
    func folding() throws {
        let meter = WorkMeter(steps: 200_000)
        let ranges = (0..<2_000).map { Value.document(["$range": [.int32($0), .int32(3_000_000)]]) }
        try meter.run { () throws in
            _ = try Expression(parsing: .document(["$setUnion": .array(BSONArray(ranges))]))
        }
        #expect(!meter.isSpent)
        guard case .some(.some(.int32(3))) = try Expression(parsing: ["$add": [1, 2]]).program.constant else {
            Issue.record("a small constant is computed once")
            return
        }
    }

    @Test("A sort ends while it compares")
    func sorting() {
        let numbers = (0..<40_000).map { $0 &* 7_919 % 40_009 }
        for steps in [200_000, 20_000_000] {
            var sorted = numbers
            let meter = WorkMeter(steps: steps)
            let outcome = code { try meter.run { () throws(QueryError) in try sorted.meteredSort(by: <) } }
            #expect(outcome == (steps == 200_000 ? 50 : nil))
            if outcome == nil { #expect(sorted == numbers.sorted()) }
        }
    }

    /// A tenth of the largest, with a tenth of what a write may take.
    @Test("The largest filter of few things is within what one write may take", arguments: [true, false])
    func largestFilter(isOfNumbers: Bool) throws {
        let element: Value = isOfNumbers ? 7 : .string(BSONString(String(repeating: "x", count: 100_000)))
        var operands = ArrayBuilder()
        for number in 0..<(isOfNumbers ? 125_000 : 15) {
            operands.append(isOfNumbers ? .int32(Int32(number)) : element)
        }
        let filter: Document = ["x": ["$in": .array(operands.finish())]]
        #expect((1_300_000...1_600_000).contains(filter.byteCount))
        let meter = WorkMeter(steps: 800_000)
        _ = try meter.run { () throws(QueryError) in try Filter(parsing: filter) }
        #expect(!meter.isSpent)
    }

    @Test("A query's stages share an account")
    func memoryAccount() throws {
        let node = MemoryAccount(bytesMax: 8 << 20)
        let query = MemoryAccount(bytesMax: 6 << 20, parent: node)
        let other = MemoryAccount(bytesMax: 6 << 20, parent: node)
        do {
            let first = MemoryShare(query)
            try first.hold(3 << 20)
            let second = MemoryShare(query)
            #expect(code { try second.hold(3 << 20) } == 146)
            let third = MemoryShare(other)
            #expect(code { try third.hold(5 << 20) } == 146)
            try third.hold(2 << 20)
            try third.hold(0)
        }
        #expect(node.heldBytes == 0)
        #expect(query.heldBytes == 0)
    }

    @Test("A search for a sequence finds what a search by hand finds", arguments: Array(1...60) as [UInt64])
    func sequenceSearch(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<40 {
            let letters: UInt8 = random.oneIn(2) ? 1 : 3
            let text = (0..<Int.random(in: 0...3_000, using: &random)).map { _ in
                random.oneIn(200) ? 9 : UInt8.random(in: 0..<letters, using: &random)
            }
            var wanted = (0..<Int.random(in: 1...40, using: &random)).map { _ in
                UInt8.random(in: 0..<letters, using: &random)
            }
            if random.oneIn(3) { wanted.append(9) }
            let start = Int.random(in: 0...text.count, using: &random)
            var expected: Int?
            if text.count - start >= wanted.count {
                expected = (start...text.count - wanted.count).first {
                    text[$0..<$0 + wanted.count].elementsEqual(wanted)
                }
            }
            var search = SequenceSearch(for: wanted)
            #expect(search.firstIndex(in: text[...], from: start, to: text.count) == expected)
        }
    }
}
