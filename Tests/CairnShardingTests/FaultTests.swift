import CairnBSON
import CairnDatabase
import CairnRaft
import CairnReplication
import CairnSharding
import CairnTestSupport
import Testing

@MainActor @Suite("Lost requests, lost answers, lost leaders")
struct FaultTests {
    private static let session = SessionStamp(sessionHigh: 7, sessionLow: 8, transactionNumber: 1)

    private func numbers(_ count: Int) -> [Document] {
        (0..<count).map { ["_id": .int32(Int32($0)), "x": .int32(Int32($0 % 10))] }
    }

    /// Loses the first answer of each write, so that the router has to send it again.
    private func loseFirstAnswers(_ cluster: TestCluster) {
        var lost: Set<String> = []
        cluster.losesAnswer = { request, group in
            guard request.operation.isWrite, request.session != nil else { return false }
            return lost.insert("\(group) \(request.operation) \(request.session!) \(request.statementIDs)").inserted
        }
    }

    @Test func C12_aLostAnswerIsAskedForAgainAndTheWriteIsDoneOnce() async throws {
        let cluster = try TestCluster(groups: 6)
        loseFirstAnswers(cluster)
        #expect(try await cluster.insert("a", numbers(100))["n"] == 100)
        var reply = try await cluster.ok([
            "update": "a", "updates": [["q": [:], "u": ["$inc": ["x": 100]], "multi": true]],
        ])
        #expect(reply["n"] == 100 && reply["nModified"] == 100)
        reply = try await cluster.ok(["update": "a", "updates": [["q": ["_id": 5], "u": ["$inc": ["x": 1000]]]]])
        #expect(reply["n"] == 1)
        reply = try await cluster.ok([
            "findAndModify": "a", "query": ["_id": 6], "update": ["$inc": ["x": 1000]], "new": true,
        ])
        #expect(reply["value"]?.asDocument?["x"] == 1106)
        reply = try await cluster.ok(["delete": "a", "deletes": [["q": ["_id": 7], "limit": 1]]])
        #expect(reply["n"] == 1)
        cluster.losesAnswer = { _, _ in false }
        let found = try await cluster.all("a", with: ["sort": ["_id": 1]])
        #expect(found.count == 99)
        for document in found {
            let id = document["_id"]!.intExactly!
            #expect(document["x"]!.intExactly! == id % 10 + 100 + (id == 5 || id == 6 ? 1000 : 0))
        }
    }

    @Test func C11_aRepeatedCommandIsAnsweredAndNotCarriedOutAgain() async throws {
        let cluster = try TestCluster(groups: 6, routers: 2)
        let insert: Document = ["insert": "a", "documents": .array(BSONArray(numbers(60).map { .document($0) }))]
        for router in [0, 1, 1] {
            let reply = try await cluster.ok(insert, session: Self.session, router: router)
            #expect(reply["n"] == 60 && reply["writeErrors"] == nil, "\(reply)")
        }
        // One document that is not named by its _id: the repetition must not take another.
        let update: Document = ["update": "a", "updates": [["q": ["x": 3], "u": ["$set": ["x": 333]]]]]
        let second = SessionStamp(sessionHigh: 7, sessionLow: 8, transactionNumber: 2)
        for router in [0, 1, 0] {
            let reply = try await cluster.ok(update, session: second, router: router)
            #expect(reply["n"] == 1 && reply["nModified"] == 1, "\(reply)")
        }
        #expect(try await cluster.all("a", filter: ["x": 333]).count == 1)
        let third = SessionStamp(sessionHigh: 7, sessionLow: 8, transactionNumber: 3)
        var values: [Value] = []
        for router in [0, 1, 0] {
            let reply = try await cluster.ok(
                ["findAndModify": "a", "query": ["x": 4], "sort": ["_id": -1], "update": ["$set": ["x": 444]]],
                session: third, router: router)
            values.append(reply["value"]!)
        }
        #expect(values[0].asDocument?["_id"] == 54)
        #expect(values.allSatisfy { $0 == values[0] })
        #expect(try await cluster.all("a", filter: ["x": 444]).count == 1)
        let fourth = SessionStamp(sessionHigh: 7, sessionLow: 8, transactionNumber: 4)
        for router in [0, 1] {
            let reply = try await cluster.ok(
                ["delete": "a", "deletes": [["q": ["x": 5], "limit": 1]]], session: fourth, router: router)
            #expect(reply["n"] == 1)
        }
        #expect(try await cluster.ok(["count": "a"])["n"] == 59)
        let fifth = SessionStamp(sessionHigh: 7, sessionLow: 8, transactionNumber: 5)
        var upserted: [Value?] = []
        for router in [0, 1] {
            let reply = try await cluster.ok(
                ["update": "a", "updates": [["q": ["x": 77], "u": ["$set": ["y": 1]], "upsert": true]]],
                session: fifth, router: router)
            #expect(reply["n"] == 1)
            upserted.append(reply["upserted"]?.asArray?[0]?.asDocument?["_id"])
        }
        #expect(upserted[0] != nil && upserted[0] == upserted[1])
        #expect(try await cluster.ok(["count": "a"])["n"] == 60)
    }

    /// A try is held up on its way to the group that it chose; meanwhile the client sends the write again, to another router, which
    /// finds a document in another group.
    @Test(arguments: ["findAndModify", "update", "delete", "upsert"])
    func C11_aTryThatIsStillUnderWayIsOverOnceItsRepetitionLooksForADocument(kind: String) async throws {
        let cluster = try TestCluster(groups: 6, routers: 2)
        let early: Value = .int32(Int32((0..<100).first { Self.group(of: .int32(Int32($0)), groups: 6) == 1 }!))
        let late: Value = .int32(Int32((0..<100).first { Self.group(of: .int32(Int32($0)), groups: 6) == 5 }!))
        let command: Document =
            switch kind {
            case "findAndModify": ["findAndModify": "a", "query": ["x": 1], "update": ["$set": ["x": 2]]]
            case "update": ["update": "a", "updates": [["q": ["x": 1], "u": ["$set": ["x": 2]]]]]
            case "delete": ["delete": "a", "deletes": [["q": ["x": 1], "limit": 1]]]
            default: ["update": "a", "updates": [["q": ["x": 1], "u": ["$inc": ["y": 1]], "upsert": true]]]
            }
        _ = try await cluster.insert("a", kind == "upsert" ? [["_id": -1]] : [["_id": late, "x": 1]])
        var second: Document?
        cluster.delays = { request, _ in
            guard [.findAndModify, .update, .delete].contains(request.operation) else { return nil }
            cluster.delays = { _, _ in nil }
            Task { @MainActor in
                let insert: Document = ["insert": "a", "documents": [["_id": early, "x": 1]]]
                let documents = kind == "upsert" ? nil : insert
                for (body, session) in [(documents, nil), (command, Self.session)] as [(Document?, SessionStamp?)] {
                    guard let body else { continue }
                    let name = body.first!.name.string
                    second = await cluster.routers[1].run(
                        ClientCommand(name: name, database: "test", body: body, session: session))
                }
            }
            return 5_000_000_000
        }
        let first = try await cluster.ok(command, session: Self.session)
        #expect(second?["ok"] == 1.0 && first["n"] == second?["n"] && first["value"] == second?["value"], "\(first)")
        let left = try await cluster.all("a", filter: ["x": 1])
        let changed = try await cluster.all("a", filter: kind == "upsert" ? ["y": 1] : ["x": 2])
        #expect(left.count == 1, "\(left)")
        #expect(changed.count == (kind == "delete" ? 0 : 1), "\(changed)")
    }

    @Test func anInsertOfOneDocumentFindsACollectionThatWasDroppedAndMadeAgain() async throws {
        let cluster = try TestCluster(groups: 6, routers: 2)
        for id in [1, 2] as [Int32] {
            _ = try await cluster.insert("a", [["_id": .int32(id)]])
            try await cluster.ok(["drop": "a"], router: 1)
        }
        #expect(cluster.commandsBegun == 1)
        #expect(try await cluster.insert("a", [["_id": 3]])["n"] == 1)
        #expect(try await cluster.all("a") == [["_id": 3]])
    }

    /// The answer is lost, and when the insert is sent again the group refuses it for its collection's old epoch: what follows
    /// must be the same write, or it would find its own document and call it a duplicate.
    @Test(arguments: [true, false])
    func C11_anInsertOfOneDocumentIsDoneOnceThoughItsAnswerIsLostAndTheCollectionChanges(isNumbered: Bool) async throws
    {
        let cluster = try TestCluster(groups: 6, routers: 2)
        _ = try await cluster.insert("a", [["_id": 1]])
        cluster.losesAnswer = { request, _ in
            guard request.operation == .insert else { return false }
            cluster.losesAnswer = { _, _ in false }
            Task { @MainActor in
                let index: Document = ["key": ["x": 1], "name": "x"]
                let body: Document = ["createIndexes": "a", "indexes": .array([.document(index)])]
                let command = ClientCommand(name: "createIndexes", database: "test", body: body)
                #expect(await cluster.routers[1].run(command)["ok"] == 1.0)
            }
            return true
        }
        let insert: Document = ["insert": "a", "ordered": true]
        let reply = try await cluster.ok(
            insert, sequences: [("documents", [["_id": 2]])], session: isNumbered ? Self.session : nil)
        #expect(reply["n"] == 1 && reply["writeErrors"] == nil, "\(reply)")
        #expect(cluster.commandsBegun == 1 && (cluster.requests[.insert] ?? 0) >= 3)
        #expect(try await cluster.ok(["count": "a"])["n"] == 2)
    }

    @Test func aClaimIsForgottenByTheNextLeaderAndMadeAgain() async throws {
        let cluster = try TestCluster(groups: 3)
        _ = try await cluster.insert("a", numbers(30))
        cluster.delays = { request, group in
            guard request.operation == .findAndModify else { return nil }
            cluster.delays = { _, _ in nil }
            // Between the claim and the write the group gets another leader.
            try! cluster.groups[group]!.loseOffice(losingEntries: false)
            try! cluster.groups[group]!.becomeLeader()
            return 1_000_000
        }
        let reply = try await cluster.ok(
            ["findAndModify": "a", "query": ["x": 3], "update": ["$set": ["x": 100]]], session: Self.session)
        #expect(reply["value"]?.asDocument?["x"] == 3)
        #expect(try await cluster.all("a", filter: ["x": 100]).count == 1)
    }

    @Test func C26_aGroupThatDoesNotAnswerMakesAnErrorNotAShorterAnswer() async throws {
        let cluster = try TestCluster(groups: 6)
        _ = try await cluster.insert("a", numbers(100))
        cluster.down = [GroupID(4)]
        try await cluster.fails(.hostUnreachable, ["find": "a"])
        try await cluster.fails(.hostUnreachable, ["count": "a"])
        try await cluster.fails(.hostUnreachable, ["distinct": "a", "key": "x"])
        try await cluster.fails(
            .hostUnreachable, ["update": "a", "updates": [["q": [:], "u": ["$inc": ["x": 1]], "multi": true]]])
        let reply = try await cluster.fails(
            .hostUnreachable,
            [
                "insert": "a",
                "documents": .array(BSONArray(numbers(20).map { .document($0.replacing("_id", with: .null)) })),
            ],
            session: Self.session)
        #expect(reply["errorLabels"]?.asArray?[0] == "RetryableWriteError")
        // What does not concern the group goes on.
        let id = (0..<100).first { Self.group(of: .int32(Int32($0)), groups: 6) != 4 }!
        #expect(try await cluster.all("a", filter: ["_id": .int32(Int32(id))]).count == 1)
    }

    private static func group(of id: Value, groups: Int) -> Int {
        Int(HashSlot.slot(of: id)) * groups / HashSlot.count + 1
    }

    @Test func aCursorWhoseGroupIsGoneFailsInsteadOfEnding() async throws {
        let cluster = try TestCluster(groups: 6)
        _ = try await cluster.insert("a", numbers(2000))
        let reply = try await cluster.ok(["find": "a", "batchSize": 10])
        let id = reply["cursor"]!.asDocument!["id"]!
        #expect(id != 0)
        cluster.down = [GroupID(2)]
        var failed = false
        for _ in 0..<100 {
            let next = try await cluster.run(["getMore": id, "collection": "a", "batchSize": 100])
            if next["ok"] == 0.0 {
                #expect(next["code"] == 43, "\(next)")
                failed = true
                break
            }
            #expect(next["cursor"]?.asDocument?["id"] == id, "it must not end early")
        }
        #expect(failed)
        try await cluster.fails(.cursorNotFound, ["getMore": id, "collection": "a"])
    }

    @Test func aWriteWaitsForANewLeader() async throws {
        let cluster = try TestCluster(groups: 3)
        _ = try await cluster.insert("a", numbers(30))
        let group = cluster.group(2)
        try group.loseOffice(losingEntries: false)
        // It is elected again while the router waits.
        cluster.clock.schedule(afterNanoseconds: 2_000_000_000) { try! group.becomeLeader() }
        let started = cluster.clock.nanoseconds
        let reply = try await cluster.ok([
            "update": "a", "updates": [["q": [:], "u": ["$inc": ["x": 1]], "multi": true]],
        ])
        #expect(reply["n"] == 30)
        #expect(cluster.clock.nanoseconds - started >= 2_000_000_000)
    }

    @Test func A31_whatALostTipPromisedIsNotAnswered() async throws {
        let cluster = try TestCluster(groups: 1)
        _ = try await cluster.insert("a", [["_id": 1, "x": 0]])
        let group = cluster.group(1)
        group.commits = false
        var losses = 0
        cluster.onRequest = { request, id in
            guard request.operation == .update, id == GroupID(1), losses == 0 else { return }
            losses = 1
            cluster.clock.schedule(afterNanoseconds: 100_000_000) {
                // The entry never committed; the next leader knows nothing of it.
                try! group.loseOffice(losingEntries: true)
                group.commits = true
                try! group.becomeLeader()
            }
        }
        let reply = try await cluster.ok(["update": "a", "updates": [["q": ["_id": 1], "u": ["$inc": ["x": 1]]]]])
        #expect(reply["n"] == 1)
        #expect(try await cluster.all("a") == [["_id": 1, "x": 1]])
    }

    @Test func A16_scansGoOnAfterAWallClockWasAnHourAhead() async throws {
        for routerIsRight in [true, false] {
            let cluster = try TestCluster(groups: 4)
            _ = try await cluster.insert("a", numbers(40))
            // One group's leader is an hour ahead while it writes; then all of them.
            cluster.clock.wallOffsetMilliseconds = 3_600_000
            for id in 0..<(routerIsRight ? 40 : 3) {
                _ = try await cluster.ok([
                    "update": "a", "updates": [["q": ["_id": .int32(Int32(id))], "u": ["$set": ["y": 1]]]],
                ])
            }
            cluster.clock.wallOffsetMilliseconds = routerIsRight ? 0 : -3_600_000
            #expect(try await cluster.all("a").count == 40)
            let page = try await cluster.all("a", with: ["sort": ["_id": 1]], batchSize: 7)
            #expect(page.map { $0["_id"] } == (0..<40).map { .int32($0) })
            _ = try await cluster.insert("a", [["_id": 100]])
            #expect(try await cluster.all("a").count == 41, "what was acknowledged is seen")
        }
    }

    @Test func C27_aRefusalIsFollowedABoundedNumberOfTimes() async throws {
        let cluster = try TestCluster(groups: 1)
        _ = try await cluster.insert("a", [["_id": 1]])
        // A group that never has a leader: the router gives up at its deadline and has not asked without end.
        try cluster.group(1).loseOffice(losingEntries: false)
        let before = cluster.requests[.find] ?? 0
        try await cluster.fails(.hostUnreachable, ["find": "a"])
        #expect(cluster.requests[.find]! - before < 200)
        let started = cluster.clock.nanoseconds
        try await cluster.fails(.maxTimeMSExpired, ["find": "a", "maxTimeMS": 100])
        #expect(cluster.clock.nanoseconds - started <= 200_000_000)
    }

    @Test func randomLossesNeverLoseOrRepeatAWrite() async throws {
        for seed in UInt64(1)...4 {
            var random = SeededGenerator(seed: seed)
            let cluster = try TestCluster(groups: 3, routers: 2, seed: seed)
            cluster.losesAnswer = { _, _ in random.oneIn(7) }
            cluster.losesRequest = { _, _ in random.oneIn(9) }
            try await cluster.ok(["create": "a"])
            var commands: [ClientCommand] = []
            for number in 0..<40 {
                commands.append(
                    ClientCommand(
                        name: "update", database: "test",
                        body: [
                            "update": "a",
                            "updates": [
                                [
                                    "q": ["_id": .int32(Int32(number % 8))],
                                    "u": ["$inc": ["total": 1], "$push": ["by": .int32(Int32(number))]], "upsert": true,
                                ]
                            ],
                        ]))
            }
            let replies = try await cluster.runTogether(commands, routers: [0, 1])
            #expect(replies.allSatisfy { $0["n"] == 1 }, "seed \(seed): \(replies.filter { $0["n"] != 1 })")
            cluster.losesAnswer = { _, _ in false }
            cluster.losesRequest = { _, _ in false }
            for document in try await cluster.all("a") {
                #expect(document["total"] == 5, "seed \(seed): \(document)")
                #expect(Set(document["by"]!.asArray!).count == 5, "seed \(seed): \(document)")
            }
        }
    }
}
