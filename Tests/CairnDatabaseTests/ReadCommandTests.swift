import CairnBSON
import CairnQuery
import CairnStorage
import Testing

@testable import CairnDatabase

@Suite struct FindTests {
    @Test func findSortsSkipsLimitsAndProjects() throws {
        let group = try TestGroup()
        try group.start()
        for id in 0..<20 { try group.insert(["_id": Value(id), "k": Value(id % 4), "n": Value(100 - id)]) }
        let found = try group.find(
            ["k": ["$lt": 2]], ["sort": ["k": -1, "n": 1], "skip": 1, "limit": 3, "projection": ["n": 1, "_id": 0]])
        #expect(found == [["n": 87], ["n": 91], ["n": 95]])
    }

    @Test(arguments: [1, 7, 101])
    func cursorsGiveEachDocumentOnceAtOneVersion(batchSize: Int) throws {
        let group = try TestGroup()
        try group.start([.on(1, ["n": 1])])
        for id in 0..<60 { try group.insert(["_id": Value(id), "n": Value(id)]) }
        let first = try group.run(
            group.request(.find, ["filter": ["n": ["$gte": 10]], "batchSize": Value(batchSize), "sort": ["n": 1]]))
        var documents = first.documents
        var body = first.body
        while body["exhausted"] == false {
            // What happens meanwhile is not seen.
            try group.insert(["_id": Value(1_000 + documents.count), "n": 30])
            try group.delete(["n": Value(60 - documents.count)])
            let more = try group.run(
                group.request(.getMore, ["cursor": body["cursor"]!, "batchSize": Value(batchSize)]))
            documents += more.documents
            body = more.body
        }
        #expect(documents.map { $0["n"]!.intExactly! } == Array(10..<60))
        #expect(body["cursor"] == 0)
        #expect(group.database.openCursorCount == 0)
    }

    @Test func cursorsAreKilledAndTimeOut() throws {
        var options = GroupDatabaseOptions()
        options.cursorsMax = 2
        let group = try TestGroup(options: options)
        try group.start()
        for id in 0..<5 { try group.insert(["_id": Value(id)]) }
        let open = group.request(.find, ["batchSize": 1])
        let first = try #require(try group.run(open).body["cursor"])
        _ = try group.run(open)
        #expect(try group.error(open).code == .exceededMemoryLimit)
        let killed = try group.run(group.request(.killCursors, ["cursors": [first, .int64(77)]])).body
        #expect(killed == ["killed": [first], "unknown": [.int64(77)]])
        #expect(try group.error(group.request(.getMore, ["cursor": first])).code == .cursorNotFound)
        group.now += 600_001
        group.database.closeIdleCursors(group.context)
        #expect(group.database.openCursorCount == 0)
        let single = try group.run(group.request(.find, ["batchSize": 1, "singleBatch": true]))
        #expect(single.body["cursor"] == 0 && single.body["exhausted"] == true)
    }

    @Test func C25_aCursorOfAnotherProcessIsNotFound() throws {
        var options = GroupDatabaseOptions()
        options.cursorSeed = 1
        let group = try TestGroup(options: options)
        try group.start()
        for id in 0..<5 { try group.insert(["_id": Value(id)]) }
        let cursor = try #require(try group.run(group.request(.find, ["batchSize": 1])).body["cursor"])
        group.options.cursorSeed = 2
        try group.reopen()
        try group.lead(term: 2)
        _ = try group.run(group.request(.find, ["batchSize": 1]))
        #expect(try group.error(group.request(.getMore, ["cursor": cursor])).code == .cursorNotFound)
    }

    @Test func largeBatchesEndAtTheReplyLimit() throws {
        var options = GroupDatabaseOptions()
        options.replyBytesMax = 5_000
        let group = try TestGroup(options: options)
        try group.start()
        let text = Value(String(repeating: "x", count: 1_000))
        for id in 0..<20 { try group.insert(["_id": Value(id), "t": text]) }
        let reply = try group.run(group.request(.find, ["batchSize": 100]))
        #expect(reply.documents.count == 5)
        #expect(reply.body["exhausted"] == false)
    }

    @Test func sortsBeyondTheirMemoryAreRefused() throws {
        var options = GroupDatabaseOptions()
        options.stageMemory = StageMemory(sortBytesMax: 20_000)
        let group = try TestGroup(options: options)
        try group.start([.on(1, ["n": 1])])
        let text = Value(String(repeating: "x", count: 500))
        for id in 0..<100 { try group.insert(["_id": Value(id), "n": Value(id), "m": Value(id), "t": text]) }
        let sort = group.request(.find, ["sort": ["m": 1]])
        #expect(try group.error(sort).code == .queryExceededMemoryLimitNoDiskUseAllowed)
        #expect(try group.find([:], ["sort": ["n": 1]]).count == 100, "an index needs no memory")
    }

    @Test func countAndDistinct() throws {
        let group = try TestGroup()
        try group.start()
        for id in 0..<10 { try group.insert(["_id": Value(id), "k": [Value(id % 3), "x"]]) }
        #expect(try group.run(group.request(.count)).body["n"] == 10)
        #expect(try group.run(group.request(.count, ["skip": 4, "limit": 3])).body["n"] == 3)
        #expect(try group.run(group.request(.count, ["query": ["k": 1]])).body["n"] == 3)
        let values = try group.run(group.request(.distinct, ["key": "k", "query": ["_id": ["$lt": 5]]])).body["values"]
        #expect(Set(try #require(values?.asArray)) == [0, 1, 2, "x"])
    }

    @Test func unknownSpecificationsAreErrors() throws {
        let group = try TestGroup()
        try group.start()
        #expect(try group.error(group.request(.find, ["filter": ["a": ["$nope": 1]]])).code == .badValue)
        #expect(try group.error(group.request(.find, ["hint": "nope"])).code == .badValue)
        #expect(try group.error(group.request(.find, ["limit": -1])).code == ErrorCode(51024))
        #expect(try group.error(group.request(.find, ["filter": 5])).code == .typeMismatch)
    }
}

@Suite struct PlannerTests {
    @Test func idIsLookedUp() throws {
        let group = try TestGroup()
        try group.start()
        for id in 0..<10 { try group.insert(["_id": Value(id)]) }
        #expect(try group.plan(["_id": 3]).stage == "IDHACK")
        #expect(try group.ids(["_id": ["$in": [3, 99, 5, 3.0]]], ["sort": ["_id": 1]]) == [3, 5])
        let statistics = try group.run(
            group.request(.explain, ["command": ["find": ["filter": ["_id": 3]]], "verbosity": "executionStats"])
        ).body["executionStats"]?.asDocument
        #expect(statistics?["totalDocsExamined"] == 1)
        #expect(statistics?["nReturned"] == 1)
    }

    @Test func theIndexWithMostEqualitiesWins() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["a": 1]), .on(2, ["a": 1, "b": 1]), .on(3, ["b": 1, "c": -1])])
        #expect(try group.plan(["a": 1, "b": 2]).index == "a_1_b_1")
        #expect(try group.plan(["a": 1]).index == "a_1")
        #expect(try group.plan(["b": 1, "c": ["$gt": 5]]).index == "b_1_c_-1")
        #expect(try group.plan(["c": 1]).stage == "COLLSCAN")
        #expect(try group.plan(["c": 1], ["sort": ["a": 1]]).index == "a_1")
        #expect(try group.plan(["a": 1], ["sort": ["b": -1]]).index == "a_1_b_1")
        #expect(try group.plan(["a": 1], ["hint": "b_1_c_-1"]).index == "b_1_c_-1")
        #expect(try group.plan(["a": 1], ["hint": ["$natural": 1]]).stage == "COLLSCAN")
    }

    @Test func explainShowsBoundsAndSort() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["a": 1, "b": -1])])
        let body = try group.run(
            group.request(
                .explain,
                [
                    "command": ["find": ["filter": ["a": 5, "b": ["$gt": 1]], "sort": ["c": 1], "limit": 2]],
                    "verbosity": "executionStats",
                ])
        ).body
        let plan = try #require(body["queryPlanner"]?.asDocument?["winningPlan"]?.asDocument)
        #expect(plan["stage"] == "LIMIT")
        let sort = try #require(plan["inputStage"]?.asDocument)
        #expect(sort["stage"] == "SORT")
        let fetch = try #require(sort["inputStage"]?.asDocument)
        #expect(fetch["stage"] == "FETCH")
        let bounds = fetch["inputStage"]?.asDocument?["indexBounds"]
        #expect(bounds == ["a": ["[5, 5]"], "b": ["(1, inf]"]], "\(bounds ?? .null)")
    }

    @Test func scansAreBoundedByTheRange() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["a": 1, "b": -1])])
        for id in 0..<100 { try group.insert(["_id": Value(id), "a": Value(id / 10), "b": Value(id % 10)]) }
        let request = group.request(
            .explain,
            [
                "command": ["find": ["filter": ["a": ["$in": [3, 5]], "b": ["$gte": 8]]]],
                "verbosity": "executionStats",
            ])
        let statistics = try group.run(request).body["executionStats"]?.asDocument
        #expect(statistics?["totalKeysExamined"] == 4)
        #expect(statistics?["nReturned"] == 4)
    }

    @Test func countsThatKeysDecideLookAtNoDocument() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["a": 1, "b": -1])])
        let values: [Value] = [
            1, .double(1), .int64(2), 2.5, .double(.nan), .double(-.infinity), .null, "1", "x", true, false,
            .date(milliseconds: -5), .objectID(ObjectID(high: 1, low: 2)), ["c": 1], .minKey,
        ]
        for (id, value) in values.enumerated() { try group.insert(["_id": Value(id), "a": value, "b": Value(id % 3)]) }
        try group.insert(["_id": 100, "b": 1])
        func count(_ filter: Document, _ more: Document = [:]) throws -> Value? {
            var body: Document = ["query": .document(filter)]
            for element in more { body.set(element.name.string, element.value) }
            return try group.run(group.request(.count, body)).body["n"]
        }
        func statistics(_ filter: Document) throws -> Document {
            let body: Document = ["command": ["count": ["query": .document(filter)]], "verbosity": "executionStats"]
            return try #require(try group.run(group.request(.explain, body)).body["executionStats"]?.asDocument)
        }
        let decided: [Document] = [
            ["a": 1], ["a": ["$gt": 1]], ["a": ["$lte": 2]], ["a": ["$in": [1, "1", true]]], ["a": ["$gte": "1"]],
            ["a": ["$lt": true]], ["a": 1, "b": ["$gte": 1]], ["a": ["$gt": 0, "$lt": 2.5]],
            ["a": ["$lte": .date(milliseconds: 0)]],
        ]
        for filter in decided {
            let scanned = try count(filter, ["hint": ["$natural": 1]])
            #expect(try count(filter) == scanned, "\(filter)")
            let statistics = try statistics(filter)
            #expect(statistics["totalDocsExamined"] == 0 && statistics["nReturned"] == scanned, "\(filter)")
            #expect(statistics["executionStages"]?.asDocument?["inputStage"]?.asDocument?["stage"] == "COUNT_SCAN")
        }
        #expect(try count(["a": ["$gt": 1]], ["skip": 1]) == 1)
        #expect(try count(["a": ["$gt": 0]], ["skip": 1, "limit": 2]) == 2)
        // Null stands for what is missing, a range may leave a field behind it to the document.
        let open: [Document] = [
            ["a": nil], ["a": ["$in": [1, nil]]], ["a": ["$gt": 0], "b": 1], ["a": ["$exists": true]], ["a": ["c": 1]],
        ]
        for filter in open {
            #expect(try count(filter) == count(filter, ["hint": ["$natural": 1]]), "\(filter)")
            #expect(try statistics(filter)["totalDocsExamined"] != 0, "\(filter)")
        }
        // With an array there may be several keys a document.
        try group.insert(["_id": 200, "a": [1, 2]])
        #expect(try count(["a": ["$gte": 1]]) == 5)
        #expect(try statistics(["a": ["$gte": 1]])["totalDocsExamined"] == 5)
    }

    @Test func multikeyBoundsOfOneArrayAreNotCombined() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["a.b": 1, "a.c": 1])])
        try group.insert(["_id": 1, "a": [["b": 1, "c": 9], ["b": 9, "c": 2]]])
        #expect(try group.ids(["a.b": 1, "a.c": 2]) == [1])
        #expect(try group.ids(["a.b": ["$gt": 0, "$lt": 20]]) == [1], "each document once")
    }

    @Test func sparseAndPartialIndexesAreUsedOnlyWhereTheyHaveEverything() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["s": 1], sparse: true), .on(2, ["p": 1], partial: ["active": true])])
        try group.insert(["_id": 1, "s": 1, "p": 1, "active": true], ["_id": 2, "p": 1], ["_id": 3, "s": nil])
        #expect(try group.plan(["s": 1]).index == "s_1")
        #expect(try group.plan(["s": nil]).stage == "COLLSCAN")
        #expect(try group.ids(["s": nil], ["sort": ["_id": 1]]) == [2, 3])
        #expect(try group.plan([:], ["sort": ["s": 1]]).stage == "COLLSCAN")
        #expect(try group.plan(["p": 1]).stage == "COLLSCAN")
        #expect(try group.plan(["p": 1, "active": true]).index == "p_1")
        #expect(try group.ids(["p": 1, "active": true]) == [1])
        try group.validate()
    }

    @Test func orUsesAnIndexForEachBranch() throws {
        let group = try TestGroup()
        try group.start([.on(1, ["a": 1]), .on(2, ["b": 1])])
        for id in 0..<20 { try group.insert(["_id": Value(id), "a": Value(id), "b": Value(20 - id)]) }
        let filter: Document = ["$or": [["a": 3], ["b": 17], ["_id": 5]]]
        #expect(try group.plan(filter).stage == "OR")
        #expect(Set(try group.ids(filter)) == [3, 5])
        #expect(try group.ids(filter).count == 2)
    }
}
