import CairnBSON
import CairnDatabase
import CairnQuery
import CairnReplication
import Testing

@testable import CairnSharding

/// Commands whose clients went, or that somebody killed: their task is cancelled.
@MainActor @Suite struct InterruptionTests {
    private let cluster: TestCluster

    init() async throws {
        cluster = try TestCluster(groups: 1)
        let inserted = try await cluster.insert("c", (0..<300).map { ["_id": .int32($0)] })
        #expect(inserted["n"] == 300)
    }

    /// Begins a command, cancels it while a group has its request, and returns its answer, if there is one without the group's.
    private func cancelled(_ body: Document, while operation: GroupOperation) async throws -> Document? {
        cluster.delays = { request, _ in request.operation == operation ? 1_000_000_000_000 : nil }
        let router = cluster.routers[0]
        var reply: Document?
        let task = Task { @MainActor in
            reply = await router.run(
                ClientCommand(name: body.first!.name.string, database: "test", body: body))
        }
        for _ in 0..<50 { await Task.yield() }
        #expect(reply == nil)
        task.cancel()
        for _ in 0..<50 { await Task.yield() }
        return reply
    }

    @Test(
        arguments: [
            (["find": "c"], .find), (["count": "c", "query": ["a": 1]], .count),
            (["aggregate": "c", "pipeline": [["$group": ["_id": 1]]], "cursor": [:]], .aggregate),
        ] as [(Document, GroupOperation)])
    func aReadIsAnsweredAtOnceAndItsGroupIsTold(command: Document, operation: GroupOperation) async throws {
        var tokens: [UInt64?] = []
        var told: [Document] = []
        cluster.onRequest = { request, _ in
            if request.operation == .interrupt { told.append(request.body) } else { tokens.append(request.token) }
        }
        let reply = try await cancelled(command, while: operation)
        #expect(reply?["code"] == 11601)
        #expect(told.count == 1)
    }

    @Test func aWriteIsWaitedForBecauseItMayHappen() async throws {
        let reply = try await cancelled(["insert": "c", "documents": [["_id": 99]]], while: .insert)
        #expect(reply == nil)
    }

    @Test func aGroupThatIsClosedEndsItsReads() async throws {
        let replica = cluster.group(1).replica
        let descriptor = try #require(
            try await cluster.routers[0].collection(Namespace(database: "test", collection: "c"), deadline: .max))
        var request = GroupRequest(
            .find, collection: descriptor.id, epoch: descriptor.epoch, body: ["filter": ["a": 1]])
        request.token = 77
        replica.execute(request) { _ in }
        let interruption: Interruption = try #require(replica.running[77])
        let meter = WorkMeter(interruption: interruption)
        try replica.close()
        _ = meter.run { #expect(throws: QueryError.self) { try WorkMeter.count() } }
        #expect(meter.end == .interruption)
    }

    @Test func aGroupEndsTheReadThatItIsToldOf() async throws {
        let replica = cluster.group(1).replica
        let descriptor = try #require(
            try await cluster.routers[0].collection(Namespace(database: "test", collection: "c"), deadline: .max))
        var answer: Result<GroupReply, GroupFailure>?
        var request = GroupRequest(
            .find, collection: descriptor.id, epoch: descriptor.epoch, body: ["filter": ["a": 1]])
        request.token = 77
        replica.execute(request) { answer = $0 }
        var found: [Value?] = []
        for token in [Int64(76), 77, 77] {
            replica.execute(GroupRequest(.interrupt, collection: .system, body: ["token": .int64(token)])) {
                found.append(try? $0.get().body["found"])
            }
        }
        #expect(found == [false, true, true])
        try cluster.group(1).settle()
        guard case .failure(.error(let error))? = answer else {
            Issue.record("\(String(describing: answer))")
            return
        }
        #expect(error.code == .interrupted)
        #expect(replica.running.isEmpty)
    }
}
