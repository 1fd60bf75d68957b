import CairnBSON
import CairnClient
import Foundation
import Logging
import ServiceLifecycle
import Testing

@testable import CairnServer

/// A real node in this process, on free ports and in a folder of its own.
private func withNode(_ body: (String) async throws -> Void) async throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("cairn-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: directory) }
    var attempt = 0
    while true {
        attempt += 1
        let port = Int.random(in: 20_000...50_000)
        var configuration = NodeConfiguration(standaloneIn: directory.path, port: port)
        configuration.heartbeatMilliseconds = 50
        configuration.electionTimeoutMilliseconds = 300
        var logger = Logger(label: "test")
        logger.logLevel = .error
        let node = Node(configuration: try configuration.validated(), arguments: [], logger: logger)
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: node, successTerminationBehavior: .gracefullyShutdownGroup)], logger: logger))
        let running = Task { try await group.run() }
        do {
            let address = "127.0.0.1:\(port)"
            try await untilReady(address, running)
            do { try await body(address) } catch {
                await group.triggerGracefulShutdown()
                try? await running.value
                throw error
            }
            await group.triggerGracefulShutdown()
            try await running.value
            return
        } catch let error as ConfigurationError where attempt < 5 {
            _ = error  // the port was taken: another one
        }
    }
}

private func untilReady(_ address: String, _ running: Task<Void, any Error>) async throws {
    for _ in 0..<200 {
        if let client = try? await CairnClient.connect(to: address) {
            defer { Task { await client.close() } }
            if (try? await client.run(["listDatabases": 1], in: "admin", timeout: .seconds(5))) != nil { return }
        }
        try await Task.sleep(for: .milliseconds(50))
    }
    try await running.value
    Issue.record("the node did not become ready")
}

private struct Stone: Codable, Equatable, Sendable {
    var _id: Int
    var kind: String
    var weight: Double?
    var marks: [String]
}

@Suite(.serialized) struct ClientTests {
    @Test func codableValuesComeBackAsTheyWere() async throws {
        try await withNode { address in
            let client = try await CairnClient.connect(to: address)
            let stones = client.database("hill").collection("stones", of: Stone.self)
            let all = (0..<500).map {
                Stone(
                    _id: $0, kind: $0 % 2 == 0 ? "granite" : "slate", weight: $0 == 3 ? nil : Double($0),
                    marks: ["a", "\($0)"])
            }
            #expect(try await stones.insertMany(all) == 500)
            #expect(try await stones.findOne(["_id": 3]) == all[3])
            #expect(try await stones.find([:], sort: ["_id": 1], batchSize: 37).all() == all)
            #expect(try await stones.count(["kind": "slate"]) == 250)
            let changed = try await stones.updateMany(["kind": "slate"], ["$set": ["weight": .double(1)]])
            #expect(changed.matched == 250 && changed.modified == 249)
            #expect(try await stones.deleteMany(["weight": 1.0]) == 250)
            let totals = try await stones.aggregate([["$group": ["_id": "$kind", "n": ["$sum": 1]]]]).all()
            #expect(totals.map { $0["n"] } == [250])
            #expect(try await stones.createIndex(["kind": 1, "weight": -1]) == "kind_1_weight_-1")
            try await stones.drop()
            #expect(try await stones.count() == 0)
            await client.close()
        }
    }

    @Test func aDocumentIsChangedAndReturnedInOneStep() async throws {
        try await withNode { address in
            let client = try await CairnClient.connect(to: address)
            let stones = client.database("hill").collection("stones", of: Stone.self)
            let first = Stone(_id: 1, kind: "granite", weight: 1, marks: [])
            let second = Stone(_id: 2, kind: "granite", weight: 2, marks: [])
            try await stones.insertMany([first, second])

            let heavier: Document = ["$inc": ["weight": 10.0]]
            #expect(try await stones.findOneAndUpdate(["_id": 1], heavier) == first)
            let changed = try await stones.findOneAndUpdate(["_id": 1], heavier, returning: .after)
            #expect(changed?.weight == 21)
            let heaviest = try await stones.findOneAndUpdate(
                ["kind": "granite"], ["$set": ["kind": "slate"]], sort: ["weight": -1], returning: .after)
            #expect(heaviest?._id == 1 && heaviest?.kind == "slate")
            // A compare-and-set that compares in vain.
            #expect(try await stones.findOneAndUpdate(["_id": 1, "kind": "granite"], heavier) == nil)
            #expect(try await stones.findOne(["_id": 1])?.weight == 21)

            let new: Document = ["$set": ["kind": "basalt", "marks": []]]
            #expect(try await stones.findOneAndUpdate(["_id": 3], new) == nil)
            #expect(try await stones.count(["_id": 3]) == 0)
            #expect(try await stones.findOneAndUpdate(["_id": 3], new, upsert: true) == nil)
            #expect(try await stones.count(["_id": 3]) == 1)
            let inserted = try await stones.findOneAndUpdate(["_id": 4], new, upsert: true, returning: .after)
            #expect(inserted?.kind == "basalt")

            let other = Stone(_id: 2, kind: "marble", weight: nil, marks: ["x"])
            #expect(try await stones.findOneAndReplace(["_id": 2], other) == second)
            #expect(try await stones.findOneAndReplace(["_id": 9], other) == nil)
            #expect(try await stones.findOneAndDelete(["_id": 2]) == other)
            #expect(try await stones.findOneAndDelete(["_id": 2]) == nil)
            let plain = client.database("hill").collection("stones")
            let operators = await #expect(throws: ClientError.self) {
                try await plain.findOneAndReplace(["_id": 1], ["$inc": ["weight": 1]])
            }
            #expect(operators?.code == .coding)
            let typeError = await #expect(throws: ClientError.self) {
                try await stones.findOneAndUpdate(["_id": 1], ["$inc": ["kind": 1]])
            }
            #expect(typeError?.serverCode == 14)
            await client.close()
        }
    }

    @Test func aCollectionCanDemandWhatATypeIsReadFrom() async throws {
        try await withNode { address in
            let client = try await CairnClient.connect(to: address)
            let hill = client.database("hill")
            let stones = try await hill.createCollection("stones", of: Stone.self)
            try await stones.insertOne(Stone(_id: 1, kind: "granite", weight: 1, marks: []))
            let plain = hill.collection("stones")
            let refused = await #expect(throws: ClientError.self) {
                try await plain.insertOne(["_id": 2, "kind": 3, "marks": []])
            }
            #expect(refused?.serverCode == 121)
            try await plain.insertOne(["_id": 3, "kind": "slate", "marks": [], "more": 1])
            // The same again is no error, something else is.
            try await hill.createCollection("stones", of: Stone.self)
            let again = await #expect(throws: ClientError.self) {
                try await hill.createCollection("stones", of: Stone.self, allowsOtherFields: false)
            }
            #expect(again?.serverCode == 48)
            let indescribable = await #expect(throws: ClientError.self) {
                try await hill.createCollection("numbers", of: Int.self)
            }
            #expect(indescribable?.code == .coding)
            await client.close()
        }
    }

    @Test func errorsCarryMongoDBsNumbers() async throws {
        try await withNode { address in
            let client = try await CairnClient.connect(to: address)
            let stones = client.database("hill").collection("stones")
            try await stones.insertOne(["_id": 1])
            let duplicate = await #expect(throws: ClientError.self) { try await stones.insertOne(["_id": 1]) }
            #expect(duplicate?.serverCode == 11000)
            let unknown = await #expect(throws: ClientError.self) { try await client.run(["nonsense": 1], in: "hill") }
            #expect(unknown?.serverCode == 59)
            await #expect(throws: ClientError.self) { try await CairnClient.connect(to: "127.0.0.1:1") }
            await #expect(throws: ClientError.self) { try await CairnClient.connect(to: "http://127.0.0.1") }
            await client.close()
        }
    }

    @Test func anOperationEndsByItsDeadlineAndWhenItsTaskIsCancelled() async throws {
        try await withNode { address in
            let client = try await CairnClient.connect(to: address)
            let stones = client.database("hill").collection("stones")
            try await stones.insertOne(["_id": 1])
            let task = Task { try await stones.count(timeout: .seconds(30)) }
            task.cancel()
            let began = ContinuousClock.now
            _ = try? await task.value
            #expect(ContinuousClock.now - began < .seconds(5))
            let underWay = Task { try await stones.insertOne(["_id": 2], timeout: .seconds(60)) }
            await client.close()
            _ = try? await underWay.value
            #expect(ContinuousClock.now - began < .seconds(20))
            let late = await #expect(throws: ClientError.self) { try await stones.count() }
            #expect(late?.code == .closed)
        }
    }

    @Test func dataOutlivesTheProcess() async throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("cairn-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: directory) }
        for life in 0..<3 {
            let port = Int.random(in: 20_000...50_000)
            var logger = Logger(label: "test")
            logger.logLevel = .error
            let node = Node(
                configuration: try NodeConfiguration(standaloneIn: directory.path, port: port).validated(),
                arguments: [], logger: logger)
            let group = ServiceGroup(
                configuration: .init(
                    services: [.init(service: node, successTerminationBehavior: .gracefullyShutdownGroup)],
                    logger: logger))
            let running = Task { try await group.run() }
            try await untilReady("127.0.0.1:\(port)", running)
            let client = try await CairnClient.connect(to: "127.0.0.1:\(port)")
            let stones = client.database("hill").collection("stones")
            #expect(try await stones.count() == life * 100)
            try await stones.insertMany((0..<100).map { ["_id": .int64(Int64(life * 100 + $0))] })
            await client.close()
            await group.triggerGracefulShutdown()
            try await running.value
        }
    }
}
