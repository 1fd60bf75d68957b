import CairnBSON
import CairnQuery
import Testing

@testable import CairnSharding

@Suite("What a bulkWrite asks for")
struct BulkRequestTests {
    private func request(_ operations: [Document], _ more: Document = Document()) throws(QueryError) -> BulkRequest {
        var body: Document = [
            "bulkWrite": 1, "ops": .array(BSONArray(operations.map { .document($0) })),
            "nsInfo": [["ns": "d.a"], ["ns": "d.b"]],
        ]
        for element in more { body.set(element.name.string, element.value) }
        return try BulkRequest(ClientCommand(name: "bulkWrite", database: "admin", body: body))
    }

    private let mixed: [Document] = [
        ["insert": 0, "document": ["_id": 1]], ["insert": 0, "document": ["_id": 2]],
        ["insert": 1, "document": ["_id": 1]], ["insert": 0, "document": ["_id": 3]],
        ["delete": 0, "filter": ["_id": 1]], ["update": 0, "filter": [:], "updateMods": ["$set": ["a": 1]]],
        ["delete": 0, "filter": [:], "multi": true],
    ]

    @Test func inOrderOnlyNeighboursGoTogether() throws {
        let batches = try request(mixed).batches
        #expect(batches.map { $0.map(\.index) } == [[0, 1], [2], [3], [4], [5], [6]])
    }

    @Test func withoutAnOrderAllOfAKindGoTogether() throws {
        let batches = try request(mixed, ["ordered": false]).batches
        #expect(batches.map { $0.map(\.index) } == [[0, 1, 3], [2], [4, 6], [5]])
    }

    @Test func operationsBecomeStatements() throws {
        let operations = try request(mixed).operations
        #expect(operations[0].statement == ["_id": 1])
        #expect(operations[4].statement == ["q": ["_id": 1], "limit": 1])
        #expect(operations[5].statement == ["q": [:], "u": ["$set": ["a": 1]]])
        #expect(operations[6].statement == ["q": [:], "limit": 0])
    }

    @Test(
        arguments: [
            (16, []), (2, [["upset": 0]]), (2, [["insert": 2, "document": [:]]]),
            (14, [["insert": "d.a", "document": [:]]]),
            (40414, [["delete": 0]]), (40415, [["delete": 0, "filter": [:], "upsert": true]]),
            (14, [["insert": 0, "document": 1]]),
        ] as [(Int32, [Document])])
    func mistakesAreNamed(code: Int32, operations: [Document]) throws {
        do throws(QueryError) {
            _ = try request(operations)
            Issue.record("\(operations) was taken")
        } catch {
            #expect(error.code == ErrorCode(code))
        }
    }

    @Test func noCollectionIsNamedTwice() {
        #expect(throws: QueryError.self) {
            _ = try request(mixed, ["nsInfo": [["ns": "d.a"], ["ns": "d.a"]]])
        }
    }
}
