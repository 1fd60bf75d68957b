import CairnBSON
import CairnQuery
import Testing

@testable import CairnDatabase

@Suite("What write commands say of all their statements")
struct WriteOptionsTests {
    @Test func updatesSeeTheVariables() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 1, "a": 1], ["_id": 2, "a": 2], ["_id": 3, "a": 3])
        let statements: [Document] = [
            [
                "q": ["$expr": ["$gte": ["$a", "$$least"]]], "u": [["$set": ["b": "$$value"]]], "multi": true,
            ],
            ["q": ["_id": 1], "u": [["$set": ["b": ["$add": ["$$least", "$$c"]]]]], "c": ["c": 40]],
        ]
        let reply = try group.run(
            group.request(.update, ["let": ["least": 2, "value": "$a"]], statements))
        #expect(reply.body["n"] == 3)
        #expect(try group.find([:], ["sort": ["_id": 1]]).map { $0["b"] } == [42, "$a", "$a"])
    }

    @Test func eachStatementIsCountedWhenThatIsWanted() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 1], ["_id": 2], ["_id": 3])
        let updates: [Document] = [
            ["q": ["_id": ["$gte": 2]], "u": ["$set": ["a": 1]], "multi": true],
            ["q": ["_id": 3], "u": ["$set": ["a": 1]]],
            ["q": ["_id": 8], "u": ["$set": ["a": 1]]],
            ["q": ["_id": 9], "u": ["$set": ["a": 1]], "upsert": true],
        ]
        let stamp = SessionStamp.test(1, 1)
        for _ in 0..<2 {
            let reply = try group.run(
                group.request(.update, ["each": true], updates, session: stamp, statements: [0, 1, 2, 3]))
            #expect(reply.body["each"] == [2, 2, 1, 0, 0, 0, 1, 0])
        }
        #expect(try group.run(group.request(.update, [:], updates)).body["each"] == nil)
        let deletions: [Document] = [["q": ["a": 1], "limit": 1], ["q": ["a": 1], "limit": 0]]
        #expect(try group.run(group.request(.delete, ["each": true], deletions)).body["each"] == [1, 0, 2, 0])
    }

    @Test func theFirstInAnOrderIsChanged() throws {
        let group = try TestGroup()
        try group.start()
        for id in 0..<9 { try group.insert(["_id": Value(id), "v": Value(id * 5 % 9)]) }
        try group.update(["v": ["$gte": 3]], ["$set": ["hit": true]], ["sort": ["v": 1]])
        #expect(try group.find(["hit": true]).map { $0["v"] } == [3])
        let reply = try group.update([:], ["$set": ["a": 1]], ["sort": ["v": 1], "multi": true])
        #expect(reply["writeErrors"]?.asArray?[0]?.asDocument?["code"] == 9)
    }

    @Test func validationIsBypassedForOneRequestAlone() throws {
        let group = try TestGroup()
        try group.start(validator: ["a": ["$exists": true]])
        let bypass: Document = ["bypassDocumentValidation": true]
        #expect(try group.run(group.request(.insert, bypass, [["_id": 1]])).body["n"] == 1)
        #expect(try group.run(group.request(.insert, [:], [["_id": 2]])).body["n"] == 0)
        let change: Document = ["q": ["_id": 1], "u": ["$set": ["b": 1]]]
        #expect(try group.run(group.request(.update, [:], [change])).body["nModified"] == 0)
        #expect(try group.run(group.request(.update, bypass, [change])).body["nModified"] == 1)
    }
}
