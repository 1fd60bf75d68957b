import CairnBSON
import CairnTestSupport
import Testing

@testable import CairnQuery

@Suite struct CollationTests {
    private func order(_ left: String, _ right: String, _ collation: Collation) -> Int {
        collation.compare(.string(BSONString(left)), .string(BSONString(right)))
    }

    @Test(
        arguments: [
            ("a", "A", 1, 0), ("a", "A", 2, 0), ("a", "A", 3, -1), ("a", "á", 1, 0), ("a", "á", 2, -1),
            ("A", "á", 2, -1),
            ("á", "b", 3, -1), ("aA", "Aa", 3, -1), ("resume", "Résumé", 1, 0), ("cote", "coté", 2, -1),
            ("e\u{301}", "é", 3, 0), ("straße", "strasse", 1, 0), ("straße", "strasse", 3, 1), ("æ", "ae", 1, 0),
            ("ø", "o", 1, 0), ("Zebra", "apple", 3, 1), ("a b", "ab", 3, -1), ("a-b", "a b", 3, 1), ("1", "a", 3, -1),
            ("$", "1", 3, -1), ("_", "-", 3, -1), ("z", "ä", 3, 1), ("я", "z", 3, 1), ("Я", "я", 2, 0),
            ("", "a", 1, -1),
            ("ab", "abc", 3, -1), ("áb", "abc", 3, -1), ("a\u{0}b", "ab", 3, 0), ("σ", "ς", 2, 0), ("٣", "3", 1, 0),
        ] as [(String, String, Int, Int)])
    func stringsAreComparedLevelByLevel(left: String, right: String, strength: Int, expected: Int) {
        let collation = Collation(strength: strength)
        #expect(order(left, right, collation).signum() == expected, "\(left) and \(right) at strength \(strength)")
        #expect(order(right, left, collation).signum() == -expected, "\(right) and \(left) at strength \(strength)")
    }

    @Test func caseLevelComparesCaseWithoutAccents() {
        let collation = Collation(strength: 1, caseLevel: true)
        #expect(order("role", "rôle", collation) == 0)
        #expect(order("role", "Role", collation) < 0)
        let accents = Collation(strength: 2, caseLevel: true)
        #expect(order("role", "rôle", accents) < 0)
        #expect(order("rôle", "Rôle", accents) < 0)
        #expect(order("Role", "rôle", accents) < 0, "accents come first")
    }

    @Test func numericOrderingComparesRunsOfDigits() {
        let collation = Collation(numericOrdering: true)
        let sorted = ["a", "a0", "a2", "a10", "a10b", "a11", "b1", "b01x"]
        for (index, left) in sorted.enumerated() {
            for right in sorted[(index + 1)...] where left != "b1" {
                #expect(order(left, right, collation) < 0, "\(left) before \(right)")
            }
        }
        #expect(order("a007", "a7", collation) == 0)
        #expect(order("a10", "a2", Collation()) < 0, "by digits otherwise")
    }

    /// Texts in which much is nearly equal.
    private static func text(_ random: inout SeededGenerator) -> String {
        let pieces = [
            "a", "A", "á", "b", "B", "z", "é", "e\u{301}", "ß", "ss", "æ", " ", "-", "_", "1", "2", "10", "\u{0}", "я",
            "Я",
            "漢", "각", "👍", "\u{301}", "٣", "$", "€",
        ]
        return (0..<Int.random(in: 0...5, using: &random)).map { _ in pieces.randomElement(using: &random)! }.joined()
    }

    private static func value(_ random: inout SeededGenerator, depth: Int = 0) -> Value {
        switch Int.random(in: 0..<(depth < 2 ? 8 : 6), using: &random) {
        case 0..<4: .string(BSONString(text(&random)))
        case 4: Value(Int.random(in: 0...3, using: &random))
        case 5: .null
        case 6: .array(BSONArray((0..<2).map { _ in value(&random, depth: depth + 1) }))
        default: .document(Document([("k", value(&random, depth: depth + 1))]))
        }
    }

    @Test(arguments: [
        Collation(strength: 1), Collation(strength: 2), Collation(), Collation(strength: 1, caseLevel: true),
        Collation(strength: 2, caseLevel: true), Collation(numericOrdering: true),
    ])
    func entriesOfAnIndexOrderAsValuesCompare(_ collation: Collation) throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        let ascending = try IndexKeyExtractor(pattern: ["a": 1], collation: collation)
        let descending = try IndexKeyExtractor(pattern: ["a": -1], collation: collation)
        for _ in 0..<3_000 {
            let (left, right) = (Self.value(&random), Self.value(&random))
            let order = collation.compare(left, right).signum()
            for (extractor, sign) in [(ascending, 1), (descending, -1)] {
                let (a, b) = (extractor.encode([left]), extractor.encode([right]))
                let byBytes = a == b ? 0 : (a.lexicographicallyPrecedes(b) ? -1 : 1)
                #expect(byBytes == order * sign, "seed \(seed): \(left) and \(right)")
                #expect(KeyEncoding.skip(a[...], descending: sign < 0) == a.count, "seed \(seed): \(left)")
            }
        }
    }

    @Test func theOrderIsTotalAndAgreesWithEquality() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        let texts = (0..<120).map { _ in BSONString(Self.text(&random)) }
        for strength in 1...3 {
            let collation = Collation(strength: strength)
            let sorted = texts.sorted { collation.compare(.string($0), .string($1)) < 0 }
            for (position, left) in sorted.enumerated() {
                for right in sorted[position...] {
                    #expect(collation.compare(.string(left), .string(right)) <= 0, "seed \(seed)")
                    // What is equal at a strength is equal at each below.
                    if strength > 1, collation.key(of: left) == collation.key(of: right) {
                        let weaker = Collation(strength: strength - 1)
                        #expect(weaker.key(of: left) == weaker.key(of: right), "seed \(seed): \(left) \(right)")
                    }
                }
            }
        }
    }

    private func filter(_ document: Document, _ collation: Collation?) throws -> Filter {
        var context = QueryContext()
        context.collation = collation
        return try Filter(parsing: document, context: context)
    }

    @Test func filtersCompareUnderIt() throws {
        let loose = Collation(strength: 1)
        let cases: [(filter: Document, document: Document, matches: Bool)] = [
            (["a": "Ábc"], ["a": "abc"], true), (["a": ["$ne": "ABC"]], ["a": "abc"], false),
            (["a": ["$in": ["X", "ABC"]]], ["a": "abc"], true), (["a": ["$nin": ["ABC"]]], ["a": ["x", "abc"]], false),
            (["a": ["$gt": "B"]], ["a": "b"], false), (["a": ["$gte": "B"]], ["a": "b"], true),
            (["a": "ABC"], ["a": ["x", "abc"]], true), (["a.b": "ABC"], ["a": [["b": "abc"]]], true),
            (["a": ["b": "ABC"]], ["a": ["b": "abc"]], true), (["a": ["$all": ["X", "Y"]]], ["a": ["y", "x"]], true),
            (["a": ["$elemMatch": ["$eq": "X"]]], ["a": ["x"]], true), (["a": ["$regex": "^B"]], ["a": "b"], false),
            (["a": ["$not": ["$eq": "ABC"]]], ["a": "abc"], false), (["a": 5], ["a": 5], true),
            (["$expr": ["$eq": ["$a", "ABC"]]], ["a": "abc"], true), (["a": nil], [:], true),
        ]
        for (document, candidate, isMatch) in cases {
            #expect(try filter(document, loose).matches(candidate) == isMatch, "\(document) \(candidate)")
        }
    }

    @Test func anIndexBoundsOnlyWhatComparesLikeIt() throws {
        let loose = Collation(strength: 1)
        let query = try filter(["a": "X"], loose)
        #expect(query.bounds(on: "a", multikey: false) == nil)
        #expect(query.bounds(on: "a", multikey: false, collation: Collation(strength: 2)) == nil)
        #expect(query.bounds(on: "a", multikey: false, collation: loose)?.isPoints == true)
        #expect(query.idEquality == nil)
        let plain = try filter(["a": "X"], nil)
        #expect(plain.bounds(on: "a", multikey: false, collation: loose) == nil)
        #expect(plain.bounds(on: "a", multikey: false)?.isPoints == true)
        let number = try filter(["a": 5, "_id": 1], loose)
        #expect(number.bounds(on: "a", multikey: false)?.isPoints == true, "numbers know no collation")
        #expect(number.idEquality == 1)
        let pattern = try filter(["a": ["$regex": "^x"]], loose)
        #expect(pattern.bounds(on: "a", multikey: false, collation: loose)?.intervals.count == 2)
    }

    @Test func updatesCompareUnderIt() throws {
        var context = QueryContext()
        context.collation = Collation(strength: 1)
        let cases: [(update: Document, before: Document, after: Document)] = [
            (["$addToSet": ["a": "X"]], ["a": ["x"]], ["a": ["x"]]),
            (["$pull": ["a": "X"]], ["a": ["x", "y"]], ["a": ["y"]]),
            (["$pullAll": ["a": ["X"]]], ["a": ["x", "y"]], ["a": ["y"]]),
            (["$min": ["a": "B"]], ["a": "a"], ["a": "a"]),
            (["$max": ["a": "B"]], ["a": "a"], ["a": "B"]),
            (["$push": ["a": ["$each": ["B"], "$sort": 1]]], ["a": ["c", "a"]], ["a": ["a", "B", "c"]]),
            (["$pull": ["a": ["$gt": "B"]]], ["a": ["b", "C"]], ["a": ["b"]]),
        ]
        for (update, before, after) in cases {
            let parsed = try Update(parsing: .document(update), arrayFilters: [], context: context)
            #expect(try parsed.apply(to: before, matchedIndex: nil).document == after, "\(update)")
        }
    }

    @Test func pipelinesGroupAndSortUnderIt() throws {
        var context = QueryContext()
        context.collation = Collation(strength: 1)
        let pipeline = try Pipeline(
            parsing: [
                ["$match": ["k": ["$ne": "Q"]]], ["$group": ["_id": "$k", "n": ["$sum": 1]]], ["$sort": ["_id": -1]],
            ], context: context)
        try pipeline.checkCollation()
        let executor = pipeline.makeExecutor()
        for key in ["a", "B", "A", "á", "q", "b"] { executor.feed(["k": .string(BSONString(key))]) }
        executor.finishInput()
        var found: [Document] = []
        while case .document(let document) = try executor.poll() { found.append(document) }
        #expect(found == [["_id": "B", "n": 2], ["_id": "a", "n": 3]])
        for stage: Document in [
            ["$lookup": ["from": "x", "localField": "a", "foreignField": "b", "as": "c"]],
            ["$group": ["_id": nil, "m": ["$max": "$a"]]], ["$bucketAuto": ["groupBy": "$a", "buckets": 2]],
        ] {
            let refused = try Pipeline(parsing: [stage], context: context)
            #expect(throws: QueryError.self, "\(stage)") { try refused.checkCollation() }
        }
        #expect(throws: QueryError.self) {
            try Pipeline(parsing: [["$project": ["m": ["$in": ["a", "$b"]]]]], context: context)
        }
    }

    @Test func collationDocumentsAreChecked() throws {
        #expect(try Collation.parse(["locale": "simple"]) == nil)
        let collation = try #require(try Collation.parse(["locale": "en", "strength": 2]))
        #expect(collation.document["strength"] == 2)
        #expect(try Collation.parse(collation.document) == collation, "what is shown can be given again")
        let wrong: [(Document, Int32)] = [
            (["strength": 2], 40414), (["locale": 5], 14), (["locale": "sv"], 115),
            (["locale": "en", "strength": 4], 115),
            (["locale": "en", "strength": 9], 2), (["locale": "en", "backwards": true], 115),
            (["locale": "en", "caseFirst": "upper"], 115), (["locale": "en", "caseFirst": "middle"], 2),
            (["locale": "en", "alternate": "shifted"], 115), (["locale": "en", "frobs": 1], 40415),
            (["locale": "en", "caseLevel": 1], 14), (["locale": "simple", "strength": 2], 2),
        ]
        for (document, code) in wrong {
            let error = #expect(throws: QueryError.self, "\(document)") { try Collation.parse(document) }
            #expect(error?.code.rawValue == code, "\(document)")
        }
    }
}
