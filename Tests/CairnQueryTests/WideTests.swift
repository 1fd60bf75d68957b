import CairnBSON
import CairnQuery
import CairnTestSupport
import Testing

/// Updates and projections of very many fields, which take time that grows as they are many, not as their square: each of these
/// would take minutes.
@Suite struct WideTests {
    private static let count = 80_000

    /// The names of fields, in an order that is none.
    private static let shuffled: [Int] = {
        var random = SeededGenerator(seed: 7)
        return (0..<count).shuffled(using: &random)
    }()

    private static func document(_ prefix: String, _ numbers: [Int], value: (Int) -> Int) -> Document {
        Document(numbers.map { ("\(prefix)\($0)", Value.int64(Int64(value($0)))) })
    }

    @Test(.timeLimit(.minutes(4)), arguments: ["f", "a.f"])
    func anUpdateOfManyFields(prefix: String) throws {
        let update = try Update(
            parsing: .document(["$set": .document(Self.document(prefix, Self.shuffled) { $0 })]))
        let even = Self.document("f", (0..<Self.count).filter { $0 % 2 == 0 }) { -$0 }
        let before: Document = prefix == "f" ? even : ["a": .document(even)]
        let after = try update.apply(to: before).document
        let fields = prefix == "f" ? after : try #require(after["a"]?.asDocument)
        // Those that were there stay where they stood, the new ones follow in the order of their names.
        let odd = (0..<Self.count).filter { $0 % 2 == 1 }.map { "f\($0)" }.sorted()
        let names = even.map(\.name.string) + odd
        #expect(fields.map(\.name.string) == names)
        #expect(fields.allSatisfy { $0.value == .int64(Int64($0.name.string.dropFirst())!) })
    }

    @Test(.timeLimit(.minutes(4))) func aConflictAmongManyPaths() {
        for (path, place) in [("f123", "f123"), ("f123.x", "f123")] {
            let fields = Self.document("f", Self.shuffled) { $0 }
            let update: Value = .document([
                "$set": .document(fields), "$unset": .document(Document().appending(path, 1)),
            ])
            do {
                _ = try Update(parsing: update)
                Issue.record("\(path) is in conflict")
            } catch {
                #expect(error.code == .conflictingUpdateOperators)
                #expect(error.message == "Updating the path '\(path)' would create a conflict at '\(place)'")
            }
        }
    }

    @Test(.timeLimit(.minutes(4)), arguments: ["f", "a.f"])
    func aProjectionOfManyFields(prefix: String) throws {
        let numbers = Self.shuffled.filter { $0 % 3 == 0 }
        let all = Self.document("f", Array(0..<Self.count)) { $0 }
        let document: Document = prefix == "f" ? all : ["a": .document(all)]
        for isInclusion in [true, false] {
            let projection = try Projection(parsing: Self.document(prefix, numbers) { _ in isInclusion ? 1 : 0 })
            let after = try projection.apply(document)
            let fields = prefix == "f" ? after : try #require(after["a"]?.asDocument)
            let expected = (0..<Self.count).filter { ($0 % 3 == 0) == isInclusion }
            #expect(fields == Self.document("f", expected) { $0 })
        }
        #expect(throws: QueryError.self) {
            try Projection(parsing: Self.document(prefix, numbers + [3]) { _ in 1 })
        }
    }
}
