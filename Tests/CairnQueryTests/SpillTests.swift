import CairnBSON
import CairnTestSupport
import Synchronization
import Testing

@testable import CairnQuery

/// Runs in an array, counted.
private final class MemorySpill: SpillStore {
    let runCount = Atomic(0)
    let openRuns = Atomic(0)

    func makeRun() -> any SpillRun {
        runCount.wrappingAdd(1, ordering: .relaxed)
        return Run(self)
    }

    private final class Run: SpillRun {
        private let store: MemorySpill
        private var documents: [Document] = []
        private var position = 0

        init(_ store: MemorySpill) {
            self.store = store
            store.openRuns.wrappingAdd(1, ordering: .relaxed)
        }

        deinit { store.openRuns.wrappingSubtract(1, ordering: .relaxed) }

        func append(_ document: Document) { documents.append(document) }

        func next() -> Document? {
            guard position < documents.count else { return nil }
            position += 1
            return documents[position - 1]
        }
    }
}

@Suite("What spills gives the same")
struct SpillTests {
    private func documents(_ random: inout SeededGenerator) -> [Document] {
        (0..<Int.random(in: 0...600, using: &random)).map { number in
            var builder = DocumentBuilder()
            builder.append("_id", Int32(number))
            let key: Value =
                switch Int.random(in: 0..<6, using: &random) {
                case 0: .null
                case 1: .double(Double(Int.random(in: 0...20, using: &random)))
                case 2: .string(BSONString(["a", "A", "b", "ä"].randomElement(using: &random)!))
                case 3: .array([.int32(Int32.random(in: 0...9, using: &random)), "x"])
                default: .int32(Int32.random(in: 0...20, using: &random))
                }
            if !random.oneIn(9) { builder.append("k", key) }
            builder.append("v", Int32.random(in: -5...5, using: &random))
            builder.append(
                "t", .string(BSONString(String(repeating: "t", count: Int.random(in: 0...40, using: &random)))))
            return builder.finish()
        }
    }

    private func run(
        _ stages: [Document], _ documents: [Document], bytesMax: Int, _ spill: MemorySpill?,
        _ collation: Collation? = nil
    ) throws -> [Document] {
        var context = QueryContext()
        context.sortBytesMax = bytesMax
        context.groupBytesMax = bytesMax
        context.spill = spill
        context.collation = collation
        return try Pipeline(parsing: stages, context: context, allowsInternal: true).makeExecutor().run(documents)
    }

    private static let pipelines: [[Document]] = [
        [["$sort": ["k": 1]]],
        [["$sort": ["k": -1, "v": 1]]],
        [["$sort": ["v": 1]], ["$limit": 37]],
        [["$sort": ["k": 1, "v": -1]], ["$skip": 11], ["$limit": 250]],
        [
            [
                "$group": [
                    "_id": "$k", "n": ["$sum": 1], "s": ["$sum": "$v"], "m": ["$avg": "$v"], "f": ["$first": "$_id"],
                    "l": ["$last": "$_id"], "p": ["$push": "$v"], "x": ["$max": "$v"], "d": ["$stdDevPop": "$v"],
                    "top": ["$topN": ["n": 2, "sortBy": ["v": 1], "output": "$_id"]],
                ]
            ], ["$sort": ["_id": 1]],
        ],
        [["$group": ["_id": ["a": "$k", "b": "$v"], "n": ["$count": [:]]]], ["$sort": ["_id": 1]]],
        [
            ["$group": ["_id": "$v", "set": ["$addToSet": "$k"]]], ["$project": ["n": ["$size": "$set"]]],
            ["$sort": ["_id": 1]],
        ],
    ]

    @Test("A tiny limit and none at all agree", arguments: Array(1...40) as [UInt64])
    func agreement(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let documents = self.documents(&random)
        var spilled = false
        for pipeline in Self.pipelines {
            for collation in [nil, try Collation.parse(["locale": "en", "strength": 2])] {
                if collation != nil, pipeline[0]["$group"] != nil, !random.oneIn(3) { continue }
                let expected = try run(pipeline, documents, bytesMax: 100 << 20, nil, collation)
                let spill = MemorySpill()
                let limit = Int.random(in: 9_000...16_000, using: &random)
                let found = try run(pipeline, documents, bytesMax: limit, spill, collation)
                // Deviations are sums in another order, so that their last digits may differ.
                if pipeline[0]["$group"] == nil {
                    #expect(found == expected, "\(pipeline)")
                } else {
                    // Different ids may be equal to a sort, and then come as they like.
                    #expect(Set(found.map(Self.rounded)) == Set(expected.map(Self.rounded)), "\(pipeline)")
                    #expect(found.count == expected.count)
                }
                #expect(spill.openRuns.load(ordering: .relaxed) == 0, "a run outlived its query")
                spilled = spilled || spill.runCount.load(ordering: .relaxed) > 1
            }
        }
        if documents.count > 300 { #expect(spilled) }
    }

    private static func rounded(_ document: Document) -> Document {
        guard case .double(let deviation)? = document["d"] else { return document }
        return document.replacing("d", with: .double((deviation * 1e6).rounded() / 1e6))
    }

    @Test("Without a place to spill to, the limit is an error")
    func refusal() throws {
        var random = SeededGenerator(seed: 4)
        let documents = (0..<4).flatMap { _ in self.documents(&random) }
        try #require(documents.count > 200)
        for pipeline in Self.pipelines where pipeline.count < 2 || pipeline[1]["$limit"] == nil {
            do {
                _ = try run(pipeline, documents, bytesMax: 3_000, nil)
                Issue.record("no error for \(pipeline)")
            } catch let error as QueryError {
                #expect(error.code == .queryExceededMemoryLimitNoDiskUseAllowed)
            }
        }
    }

    @Test("One group that is too large is an error, since it has to be in memory as a whole")
    func largeGroup() throws {
        let documents = (0..<400).map { number -> Document in
            ["_id": .int32(Int32(number)), "t": .string(BSONString(String(repeating: "x", count: 200)))]
        }
        do {
            _ = try run(
                [["$group": ["_id": .null, "all": ["$push": "$t"]]]], documents, bytesMax: 20_000, MemorySpill())
            Issue.record("no error")
        } catch let error as QueryError {
            #expect(error.code == .exceededMemoryLimit)
        }
    }
}
