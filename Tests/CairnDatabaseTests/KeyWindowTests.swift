import CairnBSON
import CairnQuery
import Testing

@testable import CairnDatabase

@Suite("min, max, returnKey and showRecordId")
struct KeyWindowTests {
    private func makeGroup(_ indexes: IndexDescriptor...) throws -> TestGroup {
        let group = try TestGroup()
        try group.start(indexes)
        for id in 0..<20 {
            try group.insert(["_id": Value(id), "a": Value(id / 4), "b": Value(id % 4)])
        }
        return group
    }

    private func window(_ low: Document?, _ high: Document?, _ hint: Document) -> Document {
        var body: Document = ["hint": .document(hint)]
        if let low { body.set("min", .document(low)) }
        if let high { body.set("max", .document(high)) }
        return body
    }

    @Test func keysOfSeveralFieldsAreComparedAsOne() throws {
        let group = try makeGroup(.on(1, ["a": 1, "b": 1]))
        let key: Document = ["a": 1, "b": 1]
        #expect(
            try group.ids([:], window(["a": 1, "b": 2], ["a": 2, "b": 1], key)) == [6, 7, 8],
            "from the first key on, without the last")
        #expect(try group.ids([:], window(["a": 4, "b": 2], nil, key)) == [18, 19])
        #expect(try group.ids([:], window(nil, ["a": 0, "b": 1], key)) == [0])
        #expect(try group.ids(["b": 3], window(["a": 1, "b": 0], ["a": 3, "b": 0], key)) == [7, 11])
        #expect(try group.ids([:], window(["a": 3, "b": 0], ["a": 3, "b": 0], key)) == [])
    }

    @Test func aDescendingIndexIsReadInItsOwnOrder() throws {
        let group = try makeGroup(.on(1, ["a": -1, "b": 1]))
        let found = try group.ids([:], window(["a": 3, "b": 2], ["a": 2, "b": 1], ["a": -1, "b": 1]))
        #expect(found == [14, 15, 8])
    }

    @Test func ofAnArrayTheElementsWithinCount() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["v": 1])])
        try group.insert(["_id": 1, "v": [1, 9]], ["_id": 2, "v": [4, 5]], ["_id": 3, "v": 6])
        #expect(try group.ids([:], window(["v": 2], ["v": 6], ["v": 1])) == [2])
        #expect(try group.ids([:], window(["v": 5], nil, ["v": 1])) == [2, 3, 1])
        let keys = try group.find(
            [:], ["min": ["v": 5], "hint": ["v": 1], "returnKey": true])
        #expect(keys == [["v": 5], ["v": 6], ["v": 9]])
    }

    @Test func theIndexOnIDHasNoKeysOfItsOwn() throws {
        let group = try makeGroup()
        var body = window(["_id": 5], ["_id": 9], ["_id": 1])
        body.set("sort", ["_id": 1])
        #expect(try group.ids([:], body) == [5, 6, 7, 8])
        #expect(try group.ids(["b": 2], body) == [6])
    }

    @Test func boundsNeedAHintThatFits() throws {
        let group = try makeGroup(.on(1, ["a": 1, "b": 1]))
        #expect(try group.error(group.request(.find, ["min": ["a": 1, "b": 1]])).code == ErrorCode(51173))
        let wrong = group.request(.find, window(["a": 1], nil, ["a": 1, "b": 1]))
        #expect(try group.error(wrong).code == ErrorCode(51174))
    }

    @Test func keysInsteadOfDocuments() throws {
        let group = try makeGroup(.on(1, ["a": 1, "b": 1]))
        #expect(
            try group.find(["a": 2], ["returnKey": true, "sort": ["b": 1]])
                == (0..<4).map { ["a": 2, "b": Value($0)] })
        #expect(try group.find(["_id": 7], ["returnKey": true]) == [["_id": 7]])
        #expect(try group.find(["z": nil], ["returnKey": true, "limit": 1]) == [[:]])
        let kept = try group.find(["a": 1, "b": 1], ["returnKey": true, "keepDocuments": true])
        #expect(kept == [["_id": 5, "a": 1, "b": 1, "$key": ["a": 1, "b": 1]]])
    }

    @Test func recordIDsAreDistinctAndLast() throws {
        let group = try makeGroup()
        let ids = try group.find([:], ["showRecordId": true, "projection": ["a": 1]]).map { $0["$recordId"] }
        #expect(ids.count == 20 && Set(ids).count == 20 && !ids.contains(nil))
        #expect(try group.find(["_id": 3], ["showRecordId": true]).first?.map(\.name.string).last == "$recordId")
    }
}
