import CairnBSON
import CairnDatabase
import CairnSharding
import CairnTestSupport
import Testing

/// Random documents, filters, updates and pipelines: a reference that is too simple to be wrong, one group, six groups, and six
/// groups with indexes must come to the same. A failure names its seed.
@MainActor @Suite("All agree with a simple reference")
struct ReferenceTests {
    private typealias Fields = [String: Plain]

    // MARK: - Making things up

    private static func scalar(_ random: inout SeededGenerator) -> Plain {
        switch Int.random(in: 0..<6, using: &random) {
        case 0: .null
        case 1, 2: .text(["a", "b", "c"].randomElement(using: &random)!)
        default: .number(Int.random(in: 0...6, using: &random))
        }
    }

    private static func bound(_ random: inout SeededGenerator) -> Plain {
        random.oneIn(3)
            ? .text(["a", "b", "c"].randomElement(using: &random)!) : .number(Int.random(in: 0...6, using: &random))
    }

    private static func list(_ random: inout SeededGenerator) -> Plain {
        .list((0..<Int.random(in: 0...3, using: &random)).map { _ in scalar(&random) })
    }

    /// `a` may be anything, `m` is a document or a list of some, `c` a number, `l` a list; each may be missing.
    private static func document(_ id: Int, _ random: inout SeededGenerator) -> Fields {
        var fields: Fields = ["_id": .number(id)]
        if !random.oneIn(5) { fields["a"] = random.oneIn(3) ? list(&random) : scalar(&random) }
        if !random.oneIn(4) { fields["c"] = .number(Int.random(in: -3...9, using: &random)) }
        if !random.oneIn(4) { fields["l"] = list(&random) }
        if !random.oneIn(4) {
            func inner() -> Plain {
                random.oneIn(5) ? .map([:]) : .map(["b": random.oneIn(3) ? list(&random) : scalar(&random)])
            }
            fields["m"] =
                random.oneIn(3) ? .list((0..<Int.random(in: 0...2, using: &random)).map { _ in inner() }) : inner()
        }
        return fields
    }

    private static func condition(_ random: inout SeededGenerator, depth: Int = 0) -> Condition {
        let path = ["a", "c", "l", "m.b", "_id"].randomElement(using: &random)!
        if depth < 2, random.oneIn(4) {
            let parts = (0..<Int.random(in: 1...3, using: &random)).map { _ in condition(&random, depth: depth + 1) }
            switch Int.random(in: 0..<3, using: &random) {
            case 0: return .all(parts)
            case 1: return .either(parts)
            default: return .neither(parts)
            }
        }
        switch Int.random(in: 0..<9, using: &random) {
        case 0: return .notEqual(path, scalar(&random))
        case 1, 2: return .less(path, bound(&random))
        case 3, 4: return .atLeast(path, bound(&random))
        case 5: return .anyOf(path, (0..<Int.random(in: 0...4, using: &random)).map { _ in scalar(&random) })
        case 6: return .exists(path, random.oneIn(2))
        case 7:
            let low = Int.random(in: 0...4, using: &random)
            return random.oneIn(2)
                ? .size(path, Int.random(in: 0...3, using: &random)) : .elementBetween(path, low, low + 2)
        default: return .equal(path, scalar(&random))
        }
    }

    private static func change(_ random: inout SeededGenerator) -> Change {
        let number = Int.random(in: -2...8, using: &random)
        switch Int.random(in: 0..<9, using: &random) {
        case 0: return .set("a", random.oneIn(2) ? list(&random) : scalar(&random))
        case 1: return .unset(["a", "c", "l", "m"].randomElement(using: &random)!)
        case 2: return .increment("c", number)
        case 3: return .raise("c", number)
        case 4: return .lower("c", number)
        case 5: return .push("l", scalar(&random))
        case 6: return .addToSet("l", scalar(&random))
        case 7: return .pull("l", scalar(&random))
        default: return .rename("a", "r")
        }
    }

    // MARK: - The clusters

    private func clusters(_ documents: [Fields], seed: UInt64) async throws -> [(name: String, cluster: TestCluster)] {
        let made = [
            ("one group", try TestCluster(groups: 1, seed: seed)),
            ("one group with indexes", try TestCluster(groups: 1, seed: seed)),
            ("six groups", try TestCluster(groups: 6, seed: seed)),
            ("six groups with indexes", try TestCluster(groups: 6, seed: seed)),
        ]
        for (name, cluster) in made {
            let stored = documents.map { fields -> Document in
                guard case .document(let document) = Plain.map(fields).value else { preconditionFailure("a map") }
                return document
            }
            #expect(try await cluster.insert("d", stored)["n"] == .int32(Int32(documents.count)))
            guard name.hasSuffix("indexes") else { continue }
            try await cluster.ok([
                "createIndexes": "d",
                "indexes": [
                    ["key": ["a": 1], "name": "a"], ["key": ["c": -1, "a": 1], "name": "ca"],
                    ["key": ["m.b": 1], "name": "mb"], ["key": ["l": 1, "c": 1], "name": "lc"],
                    ["key": ["c": 1], "name": "sparse", "sparse": true],
                ],
            ])
        }
        return made
    }

    private func all(_ cluster: TestCluster, _ filter: Document) async throws -> [Int: Fields] {
        var found: [Int: Fields] = [:]
        for document in try await cluster.all("d", filter: filter, with: Document(), batchSize: 17) {
            let fields = Plain.fields(document)
            guard case .number(let id)? = fields["_id"] else { continue }
            #expect(found[id] == nil, "a document twice")
            found[id] = fields
        }
        return found
    }

    // MARK: - Tests

    @Test("Filters and updates", arguments: Array(1...6) as [UInt64])
    func filtersAndUpdates(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        var model: [Int: Fields] = [:]
        for id in 0..<80 { model[id] = Self.document(id, &random) }
        let clusters = try await clusters(model.sorted { $0.key < $1.key }.map(\.value), seed: seed)
        for round in 0..<60 {
            let condition = Self.condition(&random)
            let expected = model.filter { condition.holds(for: $0.value) }
            for (name, cluster) in clusters {
                let found = try await all(cluster, condition.filter)
                #expect(found == expected, "seed \(seed), \(name): \(condition.filter)")
                let counted = try await cluster.ok(["count": "d", "query": .document(condition.filter)])
                #expect(counted["n"]?.intExactly == expected.count, "seed \(seed), \(name): \(condition.filter)")
            }
            guard round % 2 == 0 else { continue }
            let change = Self.change(&random)
            var after = model
            var modified = 0
            for id in expected.keys {
                change.apply(to: &after[id]!)
                if after[id] != model[id] { modified += 1 }
            }
            model = after
            for (name, cluster) in clusters {
                let reply = try await cluster.ok([
                    "update": "d",
                    "updates": [["q": .document(condition.filter), "u": .document(change.update), "multi": true]],
                ])
                let what = "seed \(seed), \(name): \(change.update) where \(condition.filter)"
                #expect(reply["n"]?.intExactly == expected.count, "\(what)")
                #expect(reply["nModified"]?.intExactly == modified, "\(what)")
                #expect(try await all(cluster, Document()) == model, "\(what)")
            }
        }
    }

    @Test("Pipelines", arguments: Array(11...15) as [UInt64])
    func pipelines(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let documents = (0..<120).map { Self.document($0, &random) }
        let clusters = try await clusters(documents, seed: seed)
        for _ in 0..<20 {
            let condition = Self.condition(&random)
            let matching = documents.filter { condition.holds(for: $0) }
            let match: Document = ["$match": .document(condition.filter)]

            let groups = Self.grouped(matching)
            let limit = Int.random(in: 1...30, using: &random)
            let descending = random.oneIn(2)
            let sorted = Self.sorted(matching, descending: descending).prefix(limit).map { $0["_id"]! }
            let unwound = Self.unwound(matching)
            for (name, cluster) in clusters {
                let what = "seed \(seed), \(name): \(condition.filter)"
                let group: Document = [
                    "$group": [
                        "_id": "$a", "n": ["$sum": 1], "s": ["$sum": "$c"], "low": ["$min": "$c"],
                        "high": ["$max": "$c"],
                    ]
                ]
                #expect(try await Set(run(cluster, [match, group])) == Set(groups), "\(what)")
                let sort: [Document] = [
                    match, ["$sort": ["c": descending ? -1 : 1, "_id": 1]], ["$limit": .int32(Int32(limit))],
                    ["$project": ["_id": 1]],
                ]
                #expect(try await run(cluster, sort).map { $0["_id"]! } == sorted, "\(what)")
                let unwind: [Document] = [
                    match, ["$unwind": "$l"], ["$group": ["_id": "$l", "n": ["$sum": 1]]],
                ]
                #expect(try await Set(run(cluster, unwind)) == unwound, "\(what)")
            }
        }
    }

    private func run(_ cluster: TestCluster, _ pipeline: [Document]) async throws -> [Fields] {
        let body: Document = [
            "aggregate": "d", "pipeline": .array(BSONArray(pipeline.map { .document($0) })), "cursor": [:],
        ]
        return try await cluster.drain(body).map(Plain.fields)
    }

    private static func grouped(_ documents: [Fields]) -> [Fields] {
        Dictionary(grouping: documents) { $0["a"] ?? .null }.map { key, members in
            let numbers = members.compactMap { if case .number(let number)? = $0["c"] { number } else { nil } }
            return [
                "_id": key, "n": .number(members.count), "s": .number(numbers.reduce(0, +)),
                "low": numbers.min().map { .number($0) } ?? .null, "high": numbers.max().map { .number($0) } ?? .null,
            ]
        }
    }

    private static func sorted(_ documents: [Fields], descending: Bool) -> [Fields] {
        documents.sorted { left, right in
            let (a, b) = (left["c"] ?? .null, right["c"] ?? .null)
            if a != b { return descending ? Plain.goesBefore(b, a) : Plain.goesBefore(a, b) }
            return Plain.goesBefore(left["_id"]!, right["_id"]!)
        }
    }

    private static func unwound(_ documents: [Fields]) -> Set<Fields> {
        var counts: [Plain: Int] = [:]
        for document in documents {
            if case .list(let elements)? = document["l"] {
                for element in elements { counts[element, default: 0] += 1 }
            }
        }
        return Set(counts.map { ["_id": $0, "n": .number($1)] })
    }
}
