import CairnBSON
import CairnQuery
import CairnStorage
import Testing

@testable import CairnDatabase

@Suite struct InsertTests {
    @Test func insertedDocumentsAreFound() throws {
        let group = try TestGroup()
        try group.start()
        #expect(try group.insert(["_id": 1, "a": "x"], ["_id": "two"]) == ["n": 2])
        #expect(try group.find(["_id": 1]) == [["_id": 1, "a": "x"]])
        #expect(try group.find([:]).count == 2)
        #expect(try group.find(["_id": 3]).isEmpty)
    }

    @Test func duplicateIDIsMongoDBsError() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 1])
        let body = try group.insert(["_id": 0], ["_id": 1.0], ["_id": 2])
        #expect(body["n"] == 1)
        let error = try #require(body["writeErrors"]?.asArray?[0]?.asDocument)
        #expect(error["index"] == 1)
        #expect(error["code"] == 11000)
        #expect(
            error["errmsg"]?.stringValue
                == "E11000 duplicate key error collection: db.c index: _id_ dup key: { _id: 1.0 }")
        #expect(error["keyPattern"] == ["_id": 1])
        #expect(error["keyValue"] == ["_id": 1.0])
        #expect(try group.find([:]).count == 2, "an ordered insert stops at its first error")
    }

    @Test func unorderedInsertGoesOnAfterErrors() throws {
        let group = try TestGroup()
        try group.start()
        let request = group.request(.insert, ["ordered": false], [["_id": 1], ["_id": 1], ["_id": 2], ["_id": [1]]])
        let body = try group.run(request).body
        #expect(body["n"] == 2)
        let errors = try #require(body["writeErrors"]?.asArray)
        #expect(errors.map { $0.asDocument?["index"] } == [1, 3])
        #expect(errors[1]?.asDocument?["code"] == 53)
    }

    @Test func uniqueIndexRefusesTheSecondDocument() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["email": 1], unique: true)])
        try group.insert(["_id": 1, "email": "a"])
        let body = try group.insert(["_id": 2, "email": "a"])
        let error = try #require(body["writeErrors"]?.asArray?[0]?.asDocument)
        #expect(error["code"] == 11000)
        #expect(error["keyValue"] == ["email": "a"])
        #expect(error["errmsg"]?.stringValue?.contains("index: email_1 dup key: { email: \"a\" }") == true)
        #expect(try group.insert(["_id": 3]) == ["n": 1])
        #expect(try group.insert(["_id": 4])["n"] == 0, "a missing field is null, and null is there once")
        try group.validate()
    }

    @Test func validatorRefusesDocuments() throws {
        let group = try TestGroup()
        try group.start(validator: ["age": ["$gte": 0]])
        let body = try group.insert(["_id": 1, "age": -1])
        #expect(body["writeErrors"]?.asArray?[0]?.asDocument?["code"] == 121)
        #expect(try group.insert(["_id": 1, "age": 1]) == ["n": 1])
        let update = try group.update(["_id": 1], ["$set": ["age": -5]])
        #expect(update["writeErrors"]?.asArray?[0]?.asDocument?["code"] == 121)
        #expect(try group.find(["_id": 1]) == [["_id": 1, "age": 1]])
    }

    @Test func aFailedStatementLeavesNoTrace() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["a": 1]), .on(2, ["b": 1], unique: true), .on(3, ["c": 1])])
        try group.insert(["_id": 1, "a": 1, "b": 1, "c": 1])
        let before = try group.database.contentHash()
        let body = try group.insert(["_id": 2, "a": 5, "b": 1, "c": 5])
        #expect(body["n"] == 0)
        #expect(!group.database.hasProposal)
        #expect(try group.database.contentHash() == before)
        try group.validate()
    }

    @Test func largeRequestsBecomeSeveralEntries() throws {
        var options = GroupDatabaseOptions()
        options.proposalBytesMax = 10_000
        let group = try TestGroup(options: options)
        try group.start()
        let entries = group.log.count
        let text = Value(String(repeating: "x", count: 1_000))
        let documents = (0..<50).map { Document([("_id", Value($0)), ("t", text)]) }
        #expect(try group.run(group.request(.insert, [:], documents, session: .test(1, 1))).body["n"] == 50)
        #expect(group.log.count - entries >= 5)
        #expect(try group.run(group.request(.insert, [:], documents, session: .test(1, 1))).body["n"] == 50)
        #expect(try group.find([:]).count == 50)
    }
}

@Suite struct UpdateTests {
    @Test func updateChangesOneOrMany() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["k": 1])])
        for id in 0..<10 { try group.insert(["_id": Value(id), "k": Value(id % 2), "n": 0]) }
        #expect(try group.update(["k": 1], ["$inc": ["n": 1]]) == ["n": 1, "nModified": 1])
        #expect(
            try group.update(["k": 0], ["$inc": ["n": 5], "$set": ["k": 7]], ["multi": true]) == [
                "n": 5, "nModified": 5,
            ])
        #expect(try group.find(["k": 7, "n": 5]).count == 5)
        #expect(try group.update(["k": 7], ["$set": ["k": 7]], ["multi": true]) == ["n": 5, "nModified": 0])
        #expect(try group.update(["k": 99], ["$set": ["k": 7]]) == ["n": 0, "nModified": 0])
        try group.validate()
    }

    @Test func multiUpdateMeetsEachDocumentOnceThoughItMovesInTheIndex() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["n": 1])])
        for id in 0..<50 { try group.insert(["_id": Value(id), "n": Value(id)]) }
        let body = try group.update(["n": ["$gte": 0]], ["$inc": ["n": 10]], ["multi": true, "hint": ["n": 1]])
        #expect(body == ["n": 50, "nModified": 50])
        #expect(try group.find([:]).allSatisfy { $0["n"]!.int64Exactly! == $0["_id"]!.int64Exactly! + 10 })
        try group.validate()
    }

    @Test func upsertInsertsWhatTheFilterSays() throws {
        let group = try TestGroup()
        try group.start()
        let body = try group.update(["_id": 5, "a": 1], ["$set": ["b": 2]], ["upsert": true])
        #expect(body == ["n": 1, "nModified": 0, "upserted": [["index": 0, "_id": 5]]])
        #expect(try group.find(["_id": 5]) == [["_id": 5, "a": 1, "b": 2]])
        let generated = try group.update(["x": 1], ["$set": ["y": 2]], ["upsert": true])
        let id = generated["upserted"]?.asArray?[0]?.asDocument?["_id"]
        #expect(id?.asObjectID != nil)
        #expect(try group.find(["x": 1])[0]["_id"] == id)
    }

    @Test func replacementKeepsTheIDAndMultiIsRefused() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 1, "a": 1])
        #expect(try group.update(["a": 1], ["b": 2])["nModified"] == 1)
        #expect(try group.find([:]) == [["_id": 1, "b": 2]])
        let refused = try group.update(["b": 2], ["c": 1], ["multi": true])
        #expect(refused["writeErrors"]?.asArray?[0]?.asDocument?["code"] == 9)
        let immutable = try group.update(["b": 2], ["$set": ["_id": 9]])
        #expect(immutable["writeErrors"]?.asArray?[0]?.asDocument?["code"] == 66)
    }

    @Test func positionalAndFilteredArrayUpdates() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["list.v": 1])])
        try group.insert(["_id": 1, "list": [["k": 1, "v": 1], ["k": 2, "v": 2]]])
        try group.update(["list.k": 2], ["$set": ["list.$.v": 20]])
        try group.update(["_id": 1], ["$inc": ["list.$[e].v": 100]], ["arrayFilters": [["e.k": 1]]])
        #expect(try group.find([:]) == [["_id": 1, "list": [["k": 1, "v": 101], ["k": 2, "v": 20]]]])
        #expect(try group.ids(["list.v": 101]) == [1])
        try group.validate()
    }

    @Test func pipelineUpdateComputes() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 1, "a": 2, "b": 3])
        try group.update(["_id": 1], [["$set": ["sum": ["$add": ["$a", "$b"]]]]])
        #expect(try group.find([:])[0]["sum"] == 5)
    }

    @Test func uniqueViolationOfAnUpdateChangesNothing() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["u": 1], unique: true), .on(2, ["v": 1])])
        try group.insert(["_id": 1, "u": 1, "v": 1], ["_id": 2, "u": 2, "v": 2])
        let body = try group.update(["_id": 2], ["$set": ["u": 1, "v": 9]])
        #expect(body["writeErrors"]?.asArray?[0]?.asDocument?["code"] == 11000)
        #expect(try group.find(["_id": 2]) == [["_id": 2, "u": 2, "v": 2]])
        try group.validate()
    }
}

@Suite struct DeleteTests {
    @Test func deleteRemovesOneOrAll() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["k": 1])])
        for id in 0..<6 { try group.insert(["_id": Value(id), "k": Value(id % 2)]) }
        #expect(try group.delete(["k": 1], limit: 1) == ["n": 1])
        #expect(try group.delete(["k": 1]) == ["n": 2])
        #expect(try group.delete(["_id": 0]) == ["n": 1])
        #expect(try group.find([:]).count == 2)
        #expect(try group.delete([:]) == ["n": 2])
        #expect(try group.run(group.request(.count)).body["n"] == 0)
        try group.validate()
    }
}

@Suite struct FindAndModifyTests {
    func run(_ group: TestGroup, _ body: Document, session: SessionStamp? = nil) throws -> Document {
        try group.run(group.request(.findAndModify, body, session: session)).body
    }

    @Test func returnsTheDocumentBeforeOrAfter() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 1, "n": 1], ["_id": 2, "n": 2])
        let before = try run(group, ["query": [:], "sort": ["n": -1], "update": ["$inc": ["n": 10]]])
        #expect(before == ["lastErrorObject": ["n": 1, "updatedExisting": true], "value": ["_id": 2, "n": 2]])
        let after = try run(
            group, ["query": ["_id": 2], "update": ["$inc": ["n": 1]], "new": true, "fields": ["_id": 0]])
        #expect(after["value"] == ["n": 13])
        let none = try run(group, ["query": ["_id": 9], "update": ["$inc": ["n": 1]]])
        #expect(none == ["lastErrorObject": ["n": 0, "updatedExisting": false], "value": nil])
        let upserted = try run(
            group, ["query": ["_id": 9], "update": ["$inc": ["n": 1]], "upsert": true, "new": true])
        #expect(
            upserted == [
                "lastErrorObject": ["n": 1, "updatedExisting": false, "upserted": 9], "value": ["_id": 9, "n": 1],
            ])
        let removed = try run(group, ["query": ["_id": 9], "remove": true])
        #expect(removed == ["lastErrorObject": ["n": 1], "value": ["_id": 9, "n": 1]])
        #expect(try group.find([:]).count == 2)
    }

    @Test func aRetryAnswersTheSameImage() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 1, "n": 1])
        let body: Document = ["query": ["_id": 1], "update": ["$inc": ["n": 1]]]
        let first = try run(group, body, session: .test(3, 1))
        let again = try run(group, body, session: .test(3, 1))
        #expect(first == again)
        #expect(try group.find([:])[0]["n"] == 2)
    }
}
