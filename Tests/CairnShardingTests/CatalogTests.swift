import CairnBSON
import CairnDatabase
import CairnReplication
import CairnSharding
import CairnTestSupport
import Testing

@MainActor @Suite("Collections and indexes")
struct CatalogTests {
    let cluster: TestCluster

    init() throws {
        cluster = try TestCluster(groups: 6, routers: 2)
    }

    private func names(_ database: String = "test") async throws -> [String] {
        let reply = try await cluster.ok(["listCollections": 1], database: database)
        return reply["cursor"]!.asDocument!["firstBatch"]!.asArray!.map { $0.asDocument!["name"]!.stringValue! }
    }

    @Test func createDropAndCreateAgainIsAnotherCollection() async throws {
        try await cluster.ok(["create": "a"])
        try await cluster.ok(["create": "a"])
        try await cluster.fails(.namespaceExists, ["create": "a", "validator": ["x": 1]])
        #expect(try await names() == ["a"])
        _ = try await cluster.insert("a", (0..<50).map { ["_id": .int32($0)] })
        #expect(try await cluster.ok(["drop": "a"])["ns"] == "test.a")
        #expect(try await names().isEmpty)
        try await cluster.ok(["drop": "a"])
        #expect(try await cluster.all("a").isEmpty)
        _ = try await cluster.insert("a", [["_id": 1, "new": true]])
        #expect(try await cluster.all("a") == [["_id": 1, "new": true]])
    }

    @Test func C22_aRouterThatMissedADropMeetsTheNewCollection() async throws {
        _ = try await cluster.insert("a", (0..<50).map { ["_id": .int32($0)] })
        #expect(try await cluster.all("a", router: 1).count == 50)
        try await cluster.ok(["drop": "a"])
        // The other router still has the old descriptor.
        #expect(try await cluster.all("a", router: 1).isEmpty)
        try await cluster.ok(["insert": "a", "documents": [["_id": 7]]], router: 1)
        #expect(try await cluster.all("a") == [["_id": 7]])
    }

    @Test func C03_aRouterWithAnOldEpochIsPutRightUnseen() async throws {
        _ = try await cluster.insert("a", (0..<50).map { ["_id": .int32($0), "x": .int32($0 % 5)] })
        #expect(try await cluster.all("a", router: 1).count == 50)
        for number in 0..<3 {
            try await cluster.ok([
                "createIndexes": "a",
                "indexes": [["key": [.init("x\(number)"): 1], "name": .string(BSONString("x\(number)"))]],
            ])
        }
        #expect(try await cluster.all("a", filter: ["x": 2], router: 1).count == 10)
        try await cluster.ok(
            ["update": "a", "updates": [["q": ["_id": 3], "u": ["$set": ["y": 1]]]]], router: 1)
        try await cluster.ok(["insert": "a", "documents": [["_id": 100]]], router: 1)
        #expect(try await cluster.ok(["count": "a"])["n"] == 51)
    }

    @Test func renameKeepsTheDocumentsAndFencesTheOldName() async throws {
        _ = try await cluster.insert("a", (0..<50).map { ["_id": .int32($0)] })
        #expect(try await cluster.all("a", router: 1).count == 50)
        try await cluster.ok(["renameCollection": "test.a", "to": "other.b"], database: "admin")
        #expect(try await names().isEmpty)
        #expect(try await names("other") == ["b"])
        #expect(try await cluster.all("a", router: 1).isEmpty)
        let reply = try await cluster.ok(["count": "b"], database: "other")
        #expect(reply["n"] == 50)
        _ = try await cluster.insert("c", [["_id": 1]])
        try await cluster.fails(
            .namespaceExists, ["renameCollection": "other.b", "to": "test.c"], database: "admin")
        try await cluster.ok(
            ["renameCollection": "other.b", "to": "test.c", "dropTarget": true], database: "admin")
        #expect(try await cluster.ok(["count": "c"])["n"] == 50)
        try await cluster.fails(
            .namespaceNotFound, ["renameCollection": "other.b", "to": "test.d"], database: "admin")
    }

    @Test func dropDatabaseTakesAllCollections() async throws {
        for name in ["a", "b", "c"] { _ = try await cluster.insert(name, [["_id": 1]]) }
        try await cluster.ok(["insert": "x", "documents": [["_id": 1]]], database: "other")
        let databases = try await cluster.ok(["listDatabases": 1, "nameOnly": true], database: "admin")
        #expect(
            databases["databases"]?.asArray?.map { $0.asDocument!["name"]!.stringValue! } == ["other", "test"])
        #expect(try await cluster.ok(["dropDatabase": 1])["dropped"] == "test")
        #expect(try await names().isEmpty)
        #expect(try await names("other") == ["x"])
    }

    @Test func indexesAreListedMadeOnceAndDropped() async throws {
        _ = try await cluster.insert("a", (0..<50).map { ["_id": .int32($0), "x": .int32($0 % 5)] })
        let create: Document = [
            "createIndexes": "a",
            "indexes": [["key": ["x": 1], "name": "x_1"], ["key": ["y": -1.0], "name": "y_-1"]],
        ]
        var reply = try await cluster.ok(create)
        #expect(reply["numIndexesBefore"] == 1 && reply["numIndexesAfter"] == 3)
        reply = try await cluster.ok(create)
        #expect(reply["numIndexesBefore"] == 3 && reply["note"] != nil)
        try await cluster.fails(
            .indexKeySpecsConflict, ["createIndexes": "a", "indexes": [["key": ["z": 1], "name": "x_1"]]])
        reply = try await cluster.ok(["listIndexes": "a"])
        let listed = reply["cursor"]!.asDocument!["firstBatch"]!.asArray!.map { $0.asDocument! }
        #expect(listed.map { $0["name"]!.stringValue! } == ["_id_", "x_1", "y_-1"])
        #expect(listed[2]["key"] == ["y": -1])
        #expect(try await cluster.all("a", filter: ["x": 3]).count == 10)
        #expect(try await cluster.ok(["validate": "a"])["valid"] == true)
        try await cluster.fails(.indexNotFound, ["dropIndexes": "a", "index": "nope"])
        try await cluster.fails(.invalidOptions, ["dropIndexes": "a", "index": "_id_"])
        #expect(try await cluster.ok(["dropIndexes": "a", "index": "x_1"])["nIndexesWas"] == 3)
        #expect(try await cluster.ok(["dropIndexes": "a", "index": "*"])["nIndexesWas"] == 2)
        try await cluster.fails(.namespaceNotFound, ["listIndexes": "nothing"])
        #expect(try await cluster.all("a", filter: ["x": 3]).count == 10)
    }

    @Test func C20_aUniqueIndexPutsAnEmptyCollectionInOneGroup() async throws {
        try await cluster.ok(["create": "users"])
        // Another router has seen the collection while it was spread.
        #expect(try await cluster.all("users", router: 1).isEmpty)
        try await cluster.ok([
            "createIndexes": "users", "indexes": [["key": ["mail": 1], "name": "mail_1", "unique": true]],
        ])
        // Many routers insert the same value: one wins.
        let commands = (0..<12).map { number in
            ClientCommand(
                name: "insert", database: "test",
                body: [
                    "insert": "users",
                    "documents": [["_id": .int32(Int32(number)), "mail": .string(BSONString("m\(number % 3)"))]],
                ])
        }
        let replies = try await cluster.runTogether(commands, routers: [0, 1])
        #expect(replies.filter { $0["n"] == 1 }.count == 3, "\(replies)")
        for reply in replies where reply["n"] == 0 {
            #expect(reply["writeErrors"]?.asArray?[0]?.asDocument?["code"] == 11000)
        }
        #expect(try await cluster.ok(["count": "users"])["n"] == 3)
        let owners = (1...6).filter { number in
            cluster.group(number).replica.database.descriptors.contains {
                $0.name == "users" && $0.groups == [UInt32(number)]
            }
        }
        #expect(owners.count == 1)
    }

    @Test func C20_aPopulatedSpreadCollectionGetsAClearError() async throws {
        _ = try await cluster.insert("users", (0..<20).map { ["_id": .int32($0), "mail": .int32($0)] })
        let reply = try await cluster.fails(
            .cannotCreateIndex,
            ["createIndexes": "users", "indexes": [["key": ["mail": 1], "name": "mail_1", "unique": true]]])
        #expect(reply["errmsg"]?.stringValue?.contains("placement") == true)
        // All is as it was.
        _ = try await cluster.insert("users", [["_id": 100, "mail": 0]])
        #expect(try await cluster.ok(["count": "users"])["n"] == 21)
    }

    @Test func aUniqueIndexMakesAMissingCollectionInOneGroup() async throws {
        try await cluster.ok([
            "createIndexes": "users", "indexes": [["key": ["mail": 1], "name": "mail_1", "unique": true]],
        ])
        let reply = try await cluster.insert(
            "users", [["_id": 1, "mail": "a"], ["_id": 2, "mail": "a"], ["_id": 3, "mail": "b"]])
        #expect(reply["n"] == 1)
        #expect(reply["writeErrors"]?.asArray?[0]?.asDocument?["index"] == 1)
    }

    @Test func anIndexBuildThatMeetsDuplicatesLeavesNoIndex() async throws {
        try await cluster.ok(["create": "users", "placement": "single"])
        _ = try await cluster.insert("users", (0..<20).map { ["_id": .int32($0), "mail": .int32($0 / 2)] })
        try await cluster.fails(
            .duplicateKey,
            ["createIndexes": "users", "indexes": [["key": ["mail": 1], "name": "mail_1", "unique": true]]])
        let reply = try await cluster.ok(["listIndexes": "users"])
        #expect(reply["cursor"]?.asDocument?["firstBatch"]?.asArray?.count == 1)
        #expect(try await cluster.insert("users", [["_id": 100, "mail": 0]])["n"] == 1)
    }

    @Test func aDropThatAGroupMissedIsFinishedLater() async throws {
        _ = try await cluster.insert("a", (0..<50).map { ["_id": .int32($0)] })
        cluster.down = [GroupID(3)]
        try await cluster.fails(.hostUnreachable, ["drop": "a"])
        // The name is free at once.
        #expect(try await names().isEmpty)
        cluster.down = []
        cluster.clock.advance(nanoseconds: 60_000_000_000)
        try await cluster.resumeCatalogWork()
        let entries = try await cluster.ok(["count": "collections"], database: "config")
        #expect(entries["n"] == 0)
        for number in 1...6 {
            #expect(!cluster.group(number).replica.database.descriptors.contains { $0.name == "a" })
        }
    }

    @Test func anIndexWhoseRouterIsGoneIsFinishedByItsGroups() async throws {
        for start in stride(from: Int32(0), to: 9_000, by: 1_000) {
            _ = try await cluster.insert("a", (start..<start + 1_000).map { ["_id": .int32($0), "x": .int32($0 % 7)] })
        }
        cluster.losesRequest = { request, _ in request.operation == .buildIndex }
        let index: Document = ["key": ["x": 1], "name": "x_1"]
        try await cluster.fails(.hostUnreachable, ["createIndexes": "a", "indexes": .array([.document(index)])])
        cluster.losesRequest = { _, _ in false }
        try await cluster.fails(.badValue, ["find": "a", "hint": "x_1"])
        // The leaders notice it, have patience, and go on.
        try await cluster.tick()
        let before = (1...6).map { cluster.group($0).proposals }
        cluster.clock.advance(nanoseconds: 9_000_000_000)
        try await cluster.tick()
        #expect((1...6).map { cluster.group($0).proposals } == before)
        cluster.clock.advance(nanoseconds: 2_000_000_000)
        try await cluster.tick()
        let found = try await cluster.all("a", filter: ["x": ["$gte": 0]], with: ["hint": "x_1"])
        #expect(found.count == 9_000)
    }

    @Test func aChangeThatAGroupMissedReachesItLater() async throws {
        _ = try await cluster.insert("a", (0..<50).map { ["_id": .int32($0)] })
        cluster.losesRequest = { request, group in
            request.operation == .installDescriptor && group == GroupID(3)
        }
        let index: Document = ["key": ["x": 1], "name": "x_1"]
        try await cluster.fails(.hostUnreachable, ["createIndexes": "a", "indexes": .array([.document(index)])])
        cluster.losesRequest = { _, _ in false }
        func hasIndex(_ number: Int) -> Bool {
            cluster.group(number).replica.database.descriptors.contains { $0.name == "a" && $0.indexes.count == 1 }
        }
        #expect(!hasIndex(3) && hasIndex(2))
        cluster.clock.advance(nanoseconds: 60_000_000_000)
        try await cluster.resumeCatalogWork()
        #expect(hasIndex(3))
        // Once is enough.
        let before = cluster.requests[.installDescriptor]
        try await cluster.resumeCatalogWork()
        #expect(cluster.requests[.installDescriptor] == before)
    }

    @Test func statisticsAreSummedOverTheGroups() async throws {
        _ = try await cluster.insert("a", (0..<50).map { ["_id": .int32($0)] })
        let statistics = try await cluster.ok(["collStats": "a"])
        #expect(statistics["count"] == 50 && statistics["nindexes"] == 1)
        #expect(try await cluster.ok(["dbStats": 1])["objects"] == 50)
    }
}

extension TestCluster {
    /// The second's work of every group, carried through.
    func tick() async throws {
        for id in groups.keys.sorted() {
            groups[id]!.replica.tick()
            try groups[id]!.settle()
        }
    }

    func resumeCatalogWork() async throws {
        var done = false
        let router = routers[0]
        Task { @MainActor in
            await router.resumeCatalogWork()
            done = true
        }
        while !done {
            await Task.yield()
            for id in groups.keys.sorted() { try groups[id]!.turn() }
        }
    }
}
