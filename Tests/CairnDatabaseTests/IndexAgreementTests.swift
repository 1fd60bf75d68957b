import CairnBSON
import CairnQuery
import CairnTestSupport
import Testing

@testable import CairnDatabase

/// Whatever indexes there are, an answer is the same as that of a scan.
@Suite struct IndexAgreementTests {
    private static let scalars: [Value] = [
        .null, 1, 2, 2.5, "a", "A", "b", .bool(true), .date(milliseconds: 5), .document(Document()),
    ]

    private static func scalar(_ random: inout SeededGenerator) -> Value { scalars.randomElement(using: &random)! }

    private static func value(_ random: inout SeededGenerator, arrays: Bool, depth: Int = 0) -> Value {
        switch Int.random(in: 0..<10, using: &random) {
        case 0 where depth < 2:
            return .document(Document([("b", value(&random, arrays: arrays, depth: depth + 1))]))
        case 1,
            2 where depth < 2 && arrays:
            let count = Int.random(in: 0...3, using: &random)
            return .array(BSONArray((0..<count).map { _ in value(&random, arrays: true, depth: depth + 1) }))
        default: return scalar(&random)
        }
    }

    private static func document(_ id: Int, _ random: inout SeededGenerator, arrays: Bool) -> Document {
        var fields: [(String, Value)] = [("_id", Value(id))]
        for name in ["a", "n", "s"] where Int.random(in: 0..<4, using: &random) > 0 {
            fields.append((name, value(&random, arrays: arrays)))
        }
        return Document(fields)
    }

    private static func filter(_ random: inout SeededGenerator, depth: Int = 0) -> Document {
        let conditions = (0..<Int.random(in: 1...2, using: &random)).map { _ -> (String, Value) in
            if depth == 0, Int.random(in: 0..<8, using: &random) == 0 {
                let branches = [filter(&random, depth: 1), filter(&random, depth: 1)]
                return (Bool.random(using: &random) ? "$or" : "$and", .array(BSONArray(branches.map(Value.document))))
            }
            let path = ["a", "a.b", "a.0", "n", "s", "s.b.b"].randomElement(using: &random)!
            return (path, condition(&random))
        }
        var names: Set<String> = []
        return Document(conditions.filter { names.insert($0.0).inserted })
    }

    private static func condition(_ random: inout SeededGenerator) -> Value {
        let name = ["$eq", "$gt", "$gte", "$lt", "$lte", "$ne", "$in", "$exists", "$elemMatch", "$regex", ""]
            .randomElement(using: &random)!
        let operand: Value =
            switch name {
            case "": value(&random, arrays: true)
            case "$in": .array(BSONArray((0..<2).map { _ in value(&random, arrays: true) }))
            case "$exists": .bool(Bool.random(using: &random))
            case "$elemMatch": .document(Document([("$gte", scalar(&random))]))
            case "$regex": "^a"
            default: value(&random, arrays: true)
            }
        return name.isEmpty ? operand : .document(Document([(name, operand)]))
    }

    private static func index(_ id: UInt16, _ key: Document, _ options: Document = [:]) -> IndexDescriptor {
        var index = IndexDescriptor.on(id, key)
        index.name = "i\(id)"
        index.options = options
        return index
    }

    private static let loose: Document = ["locale": "en", "strength": 1]

    private func compare(_ indexes: [IndexDescriptor], arrays: Bool) throws {
        for seed in 1...2 as ClosedRange<UInt64> { try compare(indexes, arrays: arrays, seed: seed) }
    }

    private func compare(_ indexes: [IndexDescriptor], arrays: Bool, seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let group = try TestGroup()
        try group.start(indexes)
        for id in 0..<120 { try group.insert(Self.document(id, &random, arrays: arrays)) }
        for id in stride(from: 0, to: 120, by: 5) {
            try group.update(["_id": Value(id)], .document(Self.document(id, &random, arrays: arrays)))
        }
        try group.validate()
        var indexed = 0
        for _ in 0..<500 {
            let filter = Self.filter(&random)
            var more = Document()
            if Bool.random(using: &random) { more.set("collation", .document(Self.loose)) }
            let sort = ["a", "n", "s", "a.b"].randomElement(using: &random)!
            let order: [(String, Value)] = [(sort, 1), ("_id", 1)]
            if Bool.random(using: &random) { more.set("sort", .document(Document(order))) }
            var scan = more
            scan.set("hint", ["$natural": 1])
            let found = try group.ids(filter, more)
            let expected = try group.ids(filter, scan)
            if more["sort"] == nil {
                #expect(found.count == expected.count, "seed \(seed): \(filter) \(more)")
                #expect(Set(found) == Set(expected), "seed \(seed): \(filter) \(more)")
            } else {
                #expect(found == expected, "seed \(seed): \(filter) \(more)")
            }
            if try group.plan(filter, more).index != nil { indexed += 1 }
        }
        #expect(indexed > 5, "seed \(seed): hardly any filter used an index")
    }

    @Test func indexesOfFields() throws {
        try compare(
            [Self.index(1, ["a": 1, "n": -1]), Self.index(2, ["n": 1]), Self.index(3, ["s": 1])], arrays: true)
    }

    @Test func hashedIndexes() throws {
        try compare([Self.index(1, ["a": "hashed"]), Self.index(2, ["n": 1, "s": "hashed"])], arrays: false)
    }

    @Test func wildcardIndexes() throws {
        try compare([Self.index(1, ["$**": 1])], arrays: true)
        try compare([Self.index(1, ["$**": -1])], arrays: false)
        try compare([Self.index(1, ["a.$**": 1]), Self.index(2, ["s.$**": 1])], arrays: true)
        try compare([Self.index(1, ["$**": 1], ["wildcardProjection": ["a": 0, "n": 0]])], arrays: true)
    }

    @Test func collatedIndexes() throws {
        let collated: Document = ["collation": .document(Self.loose)]
        try compare(
            [Self.index(1, ["a": 1], collated), Self.index(2, ["n": -1], collated), Self.index(3, ["s": 1])],
            arrays: true)
        try compare([Self.index(1, ["$**": 1], collated)], arrays: true)
        try compare([Self.index(1, ["a": "hashed"], collated)], arrays: false)
    }

    @Test func partialAndSparseIndexes() throws {
        var partial = Self.index(1, ["a": 1])
        partial.partialFilter = ["a": ["$gt": 1]]
        var present = Self.index(2, ["n": 1])
        present.partialFilter = ["n": ["$exists": true]]
        var sparse = Self.index(3, ["s": 1])
        sparse.isSparse = true
        try compare([partial, present, sparse], arrays: true)
    }
}
