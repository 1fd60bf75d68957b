import CairnBSON
import CairnDatabase
import CairnReplication
import CairnSharding
import CairnTestSupport
import Testing

@MainActor @Suite("Cursors")
struct CursorTests {
    @Test func tenThousandDocumentsComeOnceEach() async throws {
        let cluster = try TestCluster(groups: 6)
        for start in stride(from: 0, to: 10_000, by: 2_500) {
            let documents: [Document] = (start..<start + 2_500).map {
                ["_id": .int32(Int32($0)), "x": .int32(Int32(($0 * 7919) % 10_007))]
            }
            #expect(try await cluster.insert("a", documents, ordered: false)["n"] == 2_500)
        }
        let found = try await cluster.all("a")
        #expect(found.count == 10_000)
        #expect(Set(found.map { $0["_id"]! }).count == 10_000)
        let sorted = try await cluster.all("a", with: ["sort": ["x": -1], "projection": ["_id": 1]], batchSize: 333)
        #expect(sorted.count == 10_000)
        #expect(sorted.map { ($0["_id"]!.intExactly! * 7919) % 10_007 }.isDescending)
        #expect(cluster.routers[0].openCursors == 0)
        for number in 1...6 { #expect(cluster.group(number).replica.database.openCursorCount == 0) }
    }

    @Test func theFirstBatchHasTheSizeThatMongoDBGives() async throws {
        let cluster = try TestCluster(groups: 6)
        _ = try await cluster.insert("a", (0..<500).map { ["_id": .int32($0)] })
        for (body, count) in [
            (["find": "a"], 101), (["find": "a", "batchSize": 7], 7), (["find": "a", "batchSize": 0], 0),
            (["find": "a", "limit": 20], 20), (["find": "a", "sort": ["_id": 1]], 101),
        ] as [(Document, Int)] {
            let cursor = try await cluster.ok(body)["cursor"]!.asDocument!
            #expect(cursor["firstBatch"]?.asArray?.count == count, "\(body)")
            #expect((cursor["id"] == 0) == (count == 20), "\(body)")
        }
        let single = try await cluster.ok(["find": "a", "limit": -5])["cursor"]!.asDocument!
        #expect(single["firstBatch"]?.asArray?.count == 5 && single["id"] == 0)
    }

    @Test func killedAndIdleCursorsAreGoneEverywhere() async throws {
        let cluster = try TestCluster(groups: 3)
        _ = try await cluster.insert("a", (0..<500).map { ["_id": .int32($0)] })
        let id = try await cluster.ok(["find": "a", "batchSize": 5])["cursor"]!.asDocument!["id"]!
        var reply = try await cluster.ok(["killCursors": "a", "cursors": [id, .int64(99)]])
        #expect(reply["cursorsKilled"]?.asArray?.count == 1 && reply["cursorsNotFound"]?.asArray?.count == 1)
        try await cluster.fails(.cursorNotFound, ["getMore": id, "collection": "a"])
        reply = try await cluster.ok(["find": "a", "batchSize": 5])
        #expect(cluster.routers[0].openCursors == 1)
        cluster.clock.advance(nanoseconds: 601_000_000_000)
        cluster.routers[0].tick()
        #expect(cluster.routers[0].openCursors == 0)
        for number in 1...3 { #expect(cluster.group(number).replica.database.openCursorCount == 0) }
    }

    @Test func aScanOverGroupsSeesOneMoment() async throws {
        let cluster = try TestCluster(groups: 6)
        _ = try await cluster.insert("a", (0..<600).map { ["_id": .int32($0), "x": 0] })
        let reply = try await cluster.ok(["find": "a", "batchSize": 10])
        let id = reply["cursor"]!.asDocument!["id"]!
        try await cluster.ok(["update": "a", "updates": [["q": [:], "u": ["$set": ["x": 1]], "multi": true]]])
        try await cluster.ok(["delete": "a", "deletes": [["q": ["_id": ["$lt": 300]], "limit": 0]]])
        var seen = reply["cursor"]!.asDocument!["firstBatch"]!.asArray!.map { $0.asDocument! }
        var next = id
        while next != 0 {
            let cursor = try await cluster.ok(["getMore": next, "collection": "a"])["cursor"]!.asDocument!
            seen += cursor["nextBatch"]!.asArray!.map { $0.asDocument! }
            next = cursor["id"]!
        }
        #expect(seen.count == 600)
        #expect(seen.allSatisfy { $0["x"] == 0 })
    }

    @Test func aScanAsksEachGroupOnceWhileNothingIsWritten() async throws {
        let cluster = try TestCluster(groups: 6)
        _ = try await cluster.insert("a", (0..<60).map { ["_id": .int32($0)] })
        // Promises get into the logs with the first.
        #expect(try await cluster.all("a").count == 60)
        let (finds, promises) = (cluster.requests[.find] ?? 0, cluster.requests[.promiseReadVersion] ?? 0)
        #expect(try await cluster.all("a").count == 60)
        #expect(cluster.requests[.find] == finds + 6)
        #expect((cluster.requests[.promiseReadVersion] ?? 0) == promises)
    }

    @Test func pagesOfAnOrderThatLeavesEqualsFitTogether() async throws {
        let cluster = try TestCluster(groups: 6)
        _ = try await cluster.insert("a", (0..<300).map { ["_id": .int32($0), "x": .int32($0 % 3)] })
        var pages: [Document] = []
        for skip in stride(from: 0, to: 300, by: 20) {
            pages += try await cluster.all("a", with: ["sort": ["x": 1], "skip": .int32(Int32(skip)), "limit": 20])
        }
        #expect(pages.count == 300)
        #expect(Set(pages.map { $0["_id"]! }).count == 300)
        #expect(pages.map { $0["x"]!.intExactly! } == (0..<3).flatMap { Array(repeating: $0, count: 100) })
        #expect(try await cluster.all("a", with: ["sort": ["x": 1]]) == pages)
    }

    /// What all groups give first is then not enough, and they are asked again.
    @Test func theFirstInAnOrderMayAllBeInOneGroup() async throws {
        let cluster = try TestCluster(groups: 6)
        let documents = (0..<600).map { id -> Document in
            let isFirst = HashSlot.slot(of: .int32(Int32(id))) < UInt16(HashSlot.count / 6)
            return ["_id": .int32(Int32(id)), "x": .int32(Int32(isFirst ? id : 10_000 + id))]
        }
        _ = try await cluster.insert("a", documents)
        let expected = documents.sorted { $0["x"]!.intExactly! < $1["x"]!.intExactly! }
        for (skip, limit) in [(0, 30), (20, 50), (0, 200)] {
            let found = try await cluster.all(
                "a", with: ["sort": ["x": 1], "skip": .int32(Int32(skip)), "limit": .int32(Int32(limit))])
            #expect(found == Array(expected[skip..<skip + limit]))
        }
        for number in 1...6 { #expect(cluster.group(number).replica.database.openCursorCount == 0) }
    }

    @Test func aCursorOutlivesTheOfficeOfItsLeader() async throws {
        let cluster = try TestCluster(groups: 2)
        _ = try await cluster.insert("a", (0..<500).map { ["_id": .int32($0)] })
        let id = try await cluster.ok(["find": "a", "batchSize": 5])["cursor"]!.asDocument!["id"]!
        try cluster.group(1).loseOffice(losingEntries: false)
        let next = try await cluster.ok(["getMore": id, "collection": "a"])["cursor"]!.asDocument!
        #expect(next["nextBatch"]?.asArray?.count == 495 && next["id"] == 0)
    }

    @Test func aCursorOfAnotherNamespaceIsRefused() async throws {
        let cluster = try TestCluster(groups: 2)
        _ = try await cluster.insert("a", (0..<500).map { ["_id": .int32($0)] })
        let id = try await cluster.ok(["find": "a", "batchSize": 5])["cursor"]!.asDocument!["id"]!
        try await cluster.fails(.unauthorized, ["getMore": id, "collection": "b"])
    }
}

extension [Int] {
    var isDescending: Bool { zip(self, dropFirst()).allSatisfy { $0 >= $1 } }
}
