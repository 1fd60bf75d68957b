import CairnBSON
import CairnQuery
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnDatabase

@Suite("Capped collections")
struct CappedTests {
    private func makeGroup(
        bytes: Int64 = 1 << 20, documents: Int64? = nil, indexes: [IndexDescriptor] = []
    ) throws -> TestGroup {
        let group = try TestGroup()
        group.descriptor.options = ["capped": true, "size": .int64(bytes)]
        if let documents { group.descriptor.options.set("max", .int64(documents)) }
        try group.start(indexes)
        return group
    }

    private func tail(_ group: TestGroup, after: Int64, _ more: Document = Document()) throws -> GroupReply {
        var body = more
        body.set("tail", ["after": .int64(after)])
        return try group.run(group.request(.find, body))
    }

    @Test func theOldestGoWithTheInsertionThatNeedsTheirRoom() throws {
        let group = try makeGroup(documents: 3)
        for id in [5, 1, 4, 2] { try group.insert(["_id": Value(id)]) }
        #expect(try group.ids([:]) == [1, 4, 2])
        #expect(try group.ids([:], ["sort": ["$natural": -1]]) == [2, 4, 1])
        try group.insert(["_id": 9], ["_id": 8], ["_id": 7], ["_id": 6])
        #expect(try group.ids([:]) == [8, 7, 6])
        try group.validate()
    }

    @Test func aDocumentThatCannotFitPushesNothingOut() throws {
        let group = try makeGroup(bytes: 100)
        try group.insert(["_id": 1])
        let reply = try group.insert(["_id": 2, "text": Value(String(repeating: "x", count: 100))])
        #expect(reply["writeErrors"]?.asArray?[0]?.asDocument?["code"] == 2)
        #expect(try group.ids([:]) == [1])
        try group.validate()
    }

    @Test func aSecondDocumentOfAnIDIsRefusedBeforeAnythingGoes() throws {
        let group = try makeGroup(documents: 2)
        try group.insert(["_id": 1], ["_id": 2])
        let reply = try group.insert(["_id": 1])
        #expect(reply["writeErrors"]?.asArray?[0]?.asDocument?["code"] == 11_000)
        #expect(try group.ids([:]) == [1, 2])
    }

    /// Against a model: a list of documents that is cut at its front.
    @Test(arguments: 1...8)
    func anyMixOfWritesKeepsOrderAndLimits(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let bytesMax = 1_500
        let documentsMax = 25
        let group = try makeGroup(
            bytes: Int64(bytesMax), documents: Int64(documentsMax), indexes: seed % 2 == 0 ? [.on(1, ["a": 1])] : [])
        var model: [Document] = []
        var term: UInt64 = 1
        for step in 0..<400 {
            let id = Int32.random(in: 0..<60, using: &random)
            let text = String(repeating: "x", count: Int.random(in: 0..<120, using: &random))
            let new: Document = ["_id": .int32(id), "a": .int32(id % 4), "text": Value(text)]
            let place = model.firstIndex { $0["_id"] == .int32(id) }
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<5:
                try group.insert(new)
                guard place == nil else { continue }
                model.append(new)
                while model.count > documentsMax || model.reduce(0, { $0 + $1.byteCount }) > bytesMax {
                    model.removeFirst()
                }
            case 5..<7:
                try group.update(["_id": .int32(id)], .document(new))
                if let place { model[place] = new }
            case 7:
                try group.delete(["_id": .int32(id)], limit: 1)
                if let place { model.remove(at: place) }
            case 8:
                try group.delete(["a": .int32(id % 4), "_id": ["$lt": 10]])
                model.removeAll { $0["a"] == .int32(id % 4) && Value.compare($0["_id"]!, 10) < 0 }
            default:
                guard step % 3 == 0 else { continue }
                try group.reopen()
                term += 1
                try group.lead(term: term)
            }
            #expect(try group.find([:]) == model, "step \(step)")
        }
        #expect(try group.find([:], ["sort": ["$natural": -1]]) == model.reversed())
        try group.validate()
    }

    @Test func replicasDropTheSameDocuments() throws {
        let group = try makeGroup(documents: 5)
        let other = try TestGroup(seed: 2)
        for id in 0..<40 {
            try group.insert(["_id": Value(id)])
            if id % 7 == 0 { try group.delete(["_id": Value(id)]) }
        }
        try group.applyAll(to: other.database)
        #expect(try group.database.contentHash() == other.database.contentHash())
    }

    @Test func lowerLimitsActWithTheNextInsertion() throws {
        let group = try makeGroup(documents: 10)
        for id in 0..<10 { try group.insert(["_id": Value(id)]) }
        group.descriptor.epoch += 1
        group.descriptor.options.set("max", 3)
        try group.install()
        #expect(try group.ids([:]).count == 10)
        try group.insert(["_id": 10])
        #expect(try group.ids([:]) == [8, 9, 10])
        try group.validate()
    }

    @Test func aTailGoesOnBehindWhatItSaw() throws {
        let group = try makeGroup(documents: 5)
        #expect(try tail(group, after: 0).body["count"] == 0)
        try group.insert(["_id": 1], ["_id": 2, "a": 1], ["_id": 3])
        let first = try tail(group, after: 0, ["batchSize": 2])
        #expect(first.documents.map { $0["_id"] } == [1, 2])
        let second = try tail(group, after: first.body["position"]!.int64Exactly!)
        #expect(second.documents.map { $0["_id"] } == [3])
        let end = second.body["position"]!.int64Exactly!
        #expect(try tail(group, after: end).documents.isEmpty)
        let filtered = try tail(group, after: 0, ["filter": ["a": 1]])
        #expect(filtered.documents.count == 1)
        #expect(filtered.body["position"] == .int64(end), "what does not match is not looked at again")
        let skipped = try tail(group, after: 0, ["skip": 2, "limit": 5, "projection": ["_id": 1]])
        #expect(skipped.documents == [["_id": 3]])
        #expect(skipped.body["skipped"] == .int64(2))
        for id in 10..<15 { try group.insert(["_id": Value(id)]) }
        let lost = try group.error(group.request(.find, ["tail": ["after": .int64(end)]]))
        #expect(lost.code == .cappedPositionLost)
    }

    @Test func onlyACappedCollectionHasATail() throws {
        let group = try TestGroup()
        try group.start()
        let error = try group.error(group.request(.find, ["tail": ["after": .int64(0)]]))
        #expect(error.code == .badValue)
    }

    @Test func aSealedCollectionIsReadAndNotWritten() throws {
        let group = try makeGroup()
        try group.insert(["_id": 1])
        group.descriptor.epoch += 1
        group.descriptor.isSealed = true
        try group.install()
        #expect(try group.ids([:]) == [1])
        let answer = try group.answer(group.request(.insert, [:], [["_id": 2]]))
        guard case .failure(.staleEpoch) = answer else {
            Issue.record("a sealed collection took a write: \(answer)")
            return
        }
        group.descriptor.epoch += 1
        group.descriptor.isSealed = false
        try group.install()
        try group.insert(["_id": 2])
        #expect(try group.ids([:]) == [1, 2])
    }
}
