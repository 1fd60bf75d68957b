import CairnBSON
import CairnDatabase
import CairnReplication
import CairnSharding
import CairnTestSupport
import Testing

@MainActor @Suite("Commands on documents")
struct CrudTests {
    let cluster: TestCluster

    init() throws {
        cluster = try TestCluster(groups: 6)
    }

    private func people(_ count: Int) -> [Document] {
        (0..<count).map { number in
            [
                "_id": .int32(Int32(number)), "name": .string(BSONString("person \(number)")),
                "age": .int32(Int32(number % 50)),
            ]
        }
    }

    @Test func insertMakesTheCollectionAndIDs() async throws {
        let reply = try await cluster.insert("things", [["a": 1], ["a": 2]])
        #expect(reply["n"] == 2)
        let found = try await cluster.all("things", with: ["sort": ["a": 1]])
        #expect(found.count == 2)
        for document in found {
            #expect(document.first?.name == "_id")
            #expect(document["_id"]?.asObjectID != nil)
        }
        let names = try await cluster.ok(["listCollections": 1, "nameOnly": true])
        #expect(names["cursor"]?.asDocument?["firstBatch"]?.asArray?.count == 1)
    }

    /// One document in a sequence of its own, as drivers send it.
    private func insertOne(_ document: Document, _ more: Document = [:]) async throws -> Document {
        var body: Document = ["insert": "things"]
        for element in more { body.set(element.name.string, element.value) }
        return try await cluster.ok(body, sequences: [("documents", [document])])
    }

    @Test func oneDocumentForAKnownCollectionTakesTheShortWay() async throws {
        #expect(try await insertOne(["_id": 0])["n"] == 1)
        #expect(cluster.commandsBegun == 0, "the collection is not known before")
        #expect(try await insertOne(["a": 1, "_id": 7])["n"] == 1)
        #expect(try await insertOne(["a": 2])["n"] == 1)
        #expect(cluster.commandsBegun == 2)
        let again = try await insertOne(["_id": 7])
        #expect(again["n"] == 0 && cluster.commandsBegun == 3)
        let error = again["writeErrors"]?.asArray?[0]?.asDocument
        #expect(error?["code"] == 11000 && error?["index"] == 0 && error?["keyValue"]?.asDocument == ["_id": 7])
        // A field that the short way does not know is left to the long one.
        _ = try await insertOne(["_id": 8], ["maxTimeMS": 1000])
        #expect(cluster.commandsBegun == 3)
        #expect(try await cluster.all("things", filter: ["a": 2])[0].first?.value.asObjectID != nil)
        #expect(cluster.commandsBegun == 3, "any group may have it")
    }

    @Test func whatIsReadOrChangedByItsIDTakesTheShortWay() async throws {
        for id in 0..<20 { _ = try await insertOne(["_id": .int32(Int32(id)), "a": 1]) }
        let before = cluster.commandsBegun
        #expect(try await cluster.all("things", filter: ["_id": 7]) == [["_id": 7, "a": 1]])
        #expect(try await cluster.all("things", filter: ["_id": 7], with: ["projection": ["_id": 0]]) == [["a": 1]])
        #expect(try await cluster.all("things", filter: ["_id": 99]).isEmpty)
        #expect(cluster.commandsBegun == before + 3)
        func update(_ statement: Document, _ more: Document = [:]) async throws -> Document {
            var body: Document = ["update": "things", "updates": [.document(statement)]]
            for element in more { body.set(element.name.string, element.value) }
            return try await cluster.ok(body)
        }
        #expect(try await update(["q": ["_id": 7], "u": ["$inc": ["a": 1]]]) == ["n": 1, "nModified": 1, "ok": 1.0])
        #expect(try await update(["q": ["_id": 7], "u": ["$set": ["a": 2]]]) == ["n": 1, "nModified": 0, "ok": 1.0])
        #expect(try await update(["q": ["_id": 99], "u": ["$set": ["a": 2]]]) == ["n": 0, "nModified": 0, "ok": 1.0])
        let refused = try await update(["q": ["_id": 7], "u": ["$set": ["_id": 8]]])
        #expect(refused["writeErrors"]?.asArray?[0]?.asDocument?["code"] == 66)
        #expect(cluster.commandsBegun == before + 7)
        // These may be about more than one document, or take more than one group.
        #expect(try await update(["q": ["_id": ["$gte": 7]], "u": ["$set": ["b": 1]]])["n"] == 1)
        #expect(try await update(["q": ["_id": 50], "u": ["$set": ["b": 1]], "upsert": true])["n"] == 1)
        #expect(try await cluster.all("things", filter: ["_id": ["$lt": 2]], with: ["sort": ["_id": 1]]).count == 2)
        #expect(cluster.commandsBegun == before + 7)
        #expect(try await cluster.all("things", filter: ["_id": 7]) == [["_id": 7, "a": 2]])
    }

    @Test func aFindOnACollectionInOneGroupTakesTheShortWayWithItsCursor() async throws {
        _ = try await cluster.ok(["create": "whole", "placement": "single"])
        let documents = (0..<250).map { ["_id": .int32(Int32($0)), "a": .int32(Int32($0 % 10))] as Document }
        _ = try await cluster.ok(["insert": "whole"], sequences: [("documents", documents)])
        let before = cluster.commandsBegun
        let first = try await cluster.ok(["find": "whole", "sort": ["_id": -1], "skip": 5, "batchSize": 100])
        #expect(cluster.commandsBegun == before + 1)
        var found = first["cursor"]?.asDocument?["firstBatch"]?.asArray?.compactMap(\.asDocument) ?? []
        #expect(found.count == 100)
        var id = try #require(first["cursor"]?.asDocument?["id"]?.int64Exactly)
        while id != 0 {
            let more = try await cluster.ok(["getMore": .int64(id), "collection": "whole"])
            found += more["cursor"]?.asDocument?["nextBatch"]?.asArray?.compactMap(\.asDocument) ?? []
            id = try #require(more["cursor"]?.asDocument?["id"]?.int64Exactly)
        }
        #expect(found == documents.dropLast(5).reversed())
        let single = try await cluster.ok(["find": "whole", "batchSize": 2, "singleBatch": true])
        #expect(single["cursor"]?.asDocument?["id"] == 0)
        let mistake = try await cluster.run(["find": "whole", "filter": ["$nope": 1]])
        #expect(mistake["code"] == 2)
    }

    @Test func idIsMovedToTheFront() async throws {
        _ = try await cluster.insert("things", [["a": 1, "_id": 7, "b": 2]])
        let found = try await cluster.all("things", filter: ["_id": 7])
        #expect(found == [["_id": 7, "a": 1, "b": 2]])
    }

    @Test func documentsAreSpreadOverAllGroupsAndFoundAgain() async throws {
        #expect(try await cluster.insert("people", people(300))["n"] == 300)
        let sorted = try await cluster.all("people", with: ["sort": ["_id": 1]])
        #expect(sorted.map { $0["_id"]!.intExactly! } == Array(0..<300))
        for number in 1...6 {
            #expect(cluster.group(number).replica.database.descriptors.contains { $0.name == "people" })
        }
        let one = try await cluster.all("people", filter: ["_id": 123])
        #expect(one.count == 1)
        let several = try await cluster.all(
            "people", filter: ["_id": ["$in": [5, 250, 1000]]], with: ["sort": ["_id": -1]])
        #expect(several.map { $0["_id"]!.intExactly! } == [250, 5])
    }

    @Test func aQueryByIDAsksOneGroup() async throws {
        _ = try await cluster.insert("people", people(60))
        let before = cluster.requests[.find] ?? 0
        _ = try await cluster.all("people", filter: ["_id": 12])
        #expect(cluster.requests[.find]! - before == 1)
    }

    @Test func sortSkipLimitAndProjectionAreMerged() async throws {
        _ = try await cluster.insert("people", people(200))
        let found = try await cluster.all(
            "people", filter: ["_id": ["$gte": 100]],
            with: ["sort": ["age": -1, "_id": 1], "skip": 3, "limit": 5, "projection": ["name": 1, "_id": 0]])
        // 149 and 199 share the largest age, then 148 and 198, and so on; the first three are skipped.
        #expect(
            found.map { $0["name"]!.stringValue! }
                == ["person 198", "person 147", "person 197", "person 146", "person 196"])
        #expect(found.allSatisfy { $0.count == 1 })
    }

    @Test func updatesByIDAndByFilter() async throws {
        _ = try await cluster.insert("people", people(100))
        var reply = try await cluster.ok([
            "update": "people", "updates": [["q": ["_id": 4], "u": ["$set": ["name": "four"]]]],
        ])
        #expect(reply["n"] == 1 && reply["nModified"] == 1)
        reply = try await cluster.ok([
            "update": "people", "updates": [["q": ["age": ["$lt": 10]], "u": ["$inc": ["age": 100]], "multi": true]],
        ])
        #expect(reply["n"] == 20 && reply["nModified"] == 20)
        reply = try await cluster.ok([
            "update": "people", "updates": [["q": ["name": "person 77"], "u": ["$set": ["seen": true]]]],
        ])
        #expect(reply["n"] == 1 && reply["nModified"] == 1)
        #expect(try await cluster.all("people", filter: ["seen": true]).map { $0["_id"]! } == [77])
        reply = try await cluster.ok([
            "update": "people", "updates": [["q": ["name": "nobody"], "u": ["$set": ["seen": true]]]],
        ])
        #expect(reply["n"] == 0 && reply["nModified"] == 0)
    }

    @Test func upsertsGoToTheGroupOfTheNewID() async throws {
        var reply = try await cluster.ok([
            "update": "people",
            "updates": [
                ["q": ["_id": "a"], "u": ["$set": ["x": 1]], "upsert": true],
                ["q": ["name": "b"], "u": ["$set": ["x": 2]], "upsert": true],
                ["q": ["name": "c"], "u": ["$setOnInsert": ["_id": "c"], "$set": ["x": 3]], "upsert": true],
                ["q": ["name": "d"], "u": ["$set": ["x": 4]], "upsert": true, "multi": true],
                ["q": ["name": "b"], "u": ["$inc": ["x": 10]], "upsert": true],
            ],
        ])
        #expect(reply["n"] == 5 && reply["nModified"] == 1)
        let upserted = try #require(reply["upserted"]?.asArray).map { $0.asDocument! }
        #expect(upserted.map { $0["index"]! } == [0, 1, 2, 3])
        #expect(upserted[0]["_id"] == "a" && upserted[2]["_id"] == "c")
        let found = try await cluster.all("people", with: ["sort": ["x": 1], "projection": ["_id": 0]])
        #expect(found == [["x": 1], ["name": "c", "x": 3], ["name": "d", "x": 4], ["name": "b", "x": 12]])
        for document in upserted {
            #expect(try await cluster.all("people", filter: ["_id": document["_id"]!]).count == 1)
        }
        reply = try await cluster.ok(["count": "people"])
        #expect(reply["n"] == 4)
    }

    @Test func deletesOneOrAll() async throws {
        _ = try await cluster.insert("people", people(100))
        var reply = try await cluster.ok(["delete": "people", "deletes": [["q": ["_id": 4], "limit": 1]]])
        #expect(reply["n"] == 1)
        reply = try await cluster.ok(["delete": "people", "deletes": [["q": ["age": 20], "limit": 1]]])
        #expect(reply["n"] == 1)
        reply = try await cluster.ok(["delete": "people", "deletes": [["q": ["age": ["$gte": 25]], "limit": 0]]])
        #expect(reply["n"] == 50)
        #expect(try await cluster.ok(["count": "people"])["n"] == 48)
    }

    @Test func findAndModifyHonoursTheSortOverAllGroups() async throws {
        _ = try await cluster.insert("people", people(100))
        var reply = try await cluster.ok([
            "findAndModify": "people", "query": ["age": ["$lt": 5]], "sort": ["_id": -1],
            "update": ["$set": ["taken": true]], "new": true,
        ])
        #expect(reply["value"]?.asDocument?["_id"] == 54)
        #expect(reply["value"]?.asDocument?["taken"] == true)
        reply = try await cluster.ok(["findAndModify": "people", "query": ["_id": 54], "remove": true])
        #expect(reply["value"]?.asDocument?["_id"] == 54)
        reply = try await cluster.ok(["findAndModify": "people", "query": ["_id": 54], "remove": true])
        #expect(reply["value"] == .null)
        reply = try await cluster.ok([
            "findAndModify": "people", "query": ["name": "new"], "update": ["$set": ["age": 1]], "upsert": true,
            "new": true,
        ])
        let id = try #require(reply["value"]?.asDocument?["_id"])
        #expect(try await cluster.all("people", filter: ["_id": id]).count == 1)
        #expect(reply["lastErrorObject"]?.asDocument?["upserted"] == id)
    }

    @Test func countsWithSkipAndLimit() async throws {
        _ = try await cluster.insert("people", people(100))
        #expect(try await cluster.ok(["count": "people"])["n"] == 100)
        #expect(try await cluster.ok(["count": "people", "query": ["age": 7]])["n"] == 2)
        #expect(try await cluster.ok(["count": "people", "skip": 90, "limit": 30])["n"] == 10)
        #expect(try await cluster.ok(["count": "people", "skip": 10, "limit": 30])["n"] == 30)
        #expect(try await cluster.ok(["count": "nothing"])["n"] == 0)
    }

    @Test func distinctValuesAreUnited() async throws {
        _ = try await cluster.insert("people", people(100))
        let reply = try await cluster.ok(["distinct": "people", "key": "age", "query": ["_id": ["$lt": 60]]])
        #expect(reply["values"]?.asArray?.map { $0.intExactly! } == Array(0..<50))
    }

    @Test func orderedInsertStopsAtTheFirstDuplicate() async throws {
        _ = try await cluster.insert("people", [["_id": 50]])
        let reply = try await cluster.insert("people", people(100))
        #expect(reply["ok"] == 1.0 && reply["n"] == 50, "\(reply)")
        let errors = try #require(reply["writeErrors"]?.asArray).map { $0.asDocument! }
        #expect(errors.count == 1 && errors[0]["index"] == 50 && errors[0]["code"] == 11000)
        #expect(errors[0]["keyValue"]?.asDocument?["_id"] == 50)
        let found = try await cluster.all("people", with: ["sort": ["_id": 1]])
        #expect(found.map { $0["_id"]!.intExactly! } == Array(0...50), "nothing behind the error is stored")
    }

    @Test func orderedInsertFindsADuplicateWithinTheBatch() async throws {
        let reply = try await cluster.insert("x", [["_id": 1], ["_id": 2], ["_id": 1], ["_id": 3]])
        #expect(reply["n"] == 2)
        #expect(reply["writeErrors"]?.asArray?[0]?.asDocument?["index"] == 2)
        #expect(try await cluster.ok(["count": "x"])["n"] == 2)
    }

    @Test func unorderedInsertStoresAllButTheDuplicates() async throws {
        _ = try await cluster.insert("people", [["_id": 50], ["_id": 20]])
        let reply = try await cluster.insert("people", people(100), ordered: false)
        #expect(reply["n"] == 98)
        let errors = try #require(reply["writeErrors"]?.asArray).map { $0.asDocument! }
        #expect(errors.map { $0["index"]! } == [20, 50])
    }

    @Test func missingCollectionsReadAsEmpty() async throws {
        #expect(try await cluster.all("nothing").isEmpty)
        #expect(try await cluster.ok(["delete": "nothing", "deletes": [["q": [:], "limit": 0]]])["n"] == 0)
        #expect(try await cluster.ok(["distinct": "nothing", "key": "a"])["values"]?.asArray?.count == 0)
        let reply = try await cluster.ok([
            "update": "nothing", "updates": [["q": [:], "u": ["$set": ["a": 1]]]],
        ])
        #expect(reply["n"] == 0)
        #expect(try await cluster.ok(["listCollections": 1])["cursor"]?.asDocument?["firstBatch"]?.asArray?.count == 0)
    }

    @Test func mistakesGetMongoDBsCodes() async throws {
        try await cluster.fails(.badValue, ["find": "a", "filter": ["x": ["$nonsense": 1]]])
        try await cluster.fails(.commandNotFound, ["nonsense": 1])
        try await cluster.fails(.invalidNamespace, ["find": "a$b"])
        try await cluster.fails(.typeMismatch, ["find": "a", "filter": 3])
        try await cluster.fails(.invalidLength, ["insert": "a", "documents": []])
        try await cluster.fails(.cursorNotFound, ["getMore": .int64(77), "collection": "a"])
        try await cluster.fails(.unauthorized, ["insert": "collections", "documents": [["a": 1]]], database: "config")
    }

    @Test func bulkStatementsKeepTheirOrder() async throws {
        let updates: [Document] = (0..<40).map { number in
            [
                "q": ["_id": .int32(Int32(number % 4))], "u": ["$push": ["log": .int32(Int32(number))]],
                "upsert": true,
            ]
        }
        let reply = try await cluster.run(["update": "logs"], sequences: [("updates", updates)])
        #expect(reply["n"] == 40)
        for document in try await cluster.all("logs") {
            let log = document["log"]!.asArray!.map { $0.intExactly! }
            #expect(log == log.sorted() && log.count == 10)
        }
    }
}
