import CairnBSON
import CairnDatabase
import CairnFiles
import CairnQuery
import CairnRaft
import CairnReplication
import CairnSharding
import CairnSimulator
import CairnStorage
import CairnTestSupport
import Testing

/// Groups in memory, a router above them, and the ways in which they can fail.
@MainActor
final class TestCluster: GroupGateway {
    let clock = TestClock()
    let layout: ClusterLayout
    private(set) var groups: [GroupID: TestGroup] = [:]
    private(set) var routers: [Router] = []
    private var random: SeededGenerator

    /// Groups that do not answer.
    var down: Set<GroupID> = []
    /// Asked before each request is carried out: true loses the request.
    var losesRequest: (GroupRequest, GroupID) -> Bool = { _, _ in false }
    /// Asked before each answer is given: true loses the answer.
    var losesAnswer: (GroupRequest, GroupID) -> Bool = { _, _ in false }
    /// Nanoseconds that a request takes to its group; nil for none.
    var delays: (GroupRequest, GroupID) -> UInt64? = { _, _ in nil }
    /// Sees every request that reaches a group.
    var onRequest: (GroupRequest, GroupID) -> Void = { _, _ in }
    /// Requests that reached a group, by operation.
    private(set) var requests: [GroupOperation: Int] = [:]
    private var failure: (any Error)?
    /// Commands that went the short way.
    private(set) var commandsBegun = 0

    init(groups count: Int, routers routerCount: Int = 1, seed: UInt64 = 1, options: RouterOptions = RouterOptions())
        throws
    {
        random = SeededGenerator(seed: seed)
        let node = NodeDescription(
            id: NodeID(rawValue: 1), clientAddress: "n1:27017", peerAddress: "n1:27117", httpAddress: "n1:28017")
        layout = ClusterLayout.spread(nodes: [node], dataGroups: count, replicas: 1)
        let disk = SimulatedFileSystem(seed: seed)
        for group in layout.groups {
            let new = try TestGroup(group.id, node: node.id, clock: clock, disk: disk)
            groups[group.id] = new
            try new.becomeLeader()
        }
        for _ in 0..<routerCount {
            var random = random.split()
            routers.append(
                Router(layout: layout, gateway: self, clock: clock, options: options, random: { random.next() }))
        }
    }

    /// Versions of the layouts that routers told their gateway of.
    private(set) var adopted: [UInt64] = []

    nonisolated func adopt(_ layout: ClusterLayout) {
        MainActor.assumeIsolated { adopted.append(layout.version) }
    }

    nonisolated func leader(of group: GroupID) -> NodeID? { nil }

    nonisolated func call(
        _ request: GroupRequest, to group: GroupID, at node: NodeID, deadline: UInt64,
        completion: @escaping (Result<GroupReply, GroupFailure>) -> Void
    ) {
        // The router is used on the main actor only, so it calls from there.
        nonisolated(unsafe) let completion = completion
        MainActor.assumeIsolated {
            guard let delay = delays(request, group) else { return carry(request, to: group, completion: completion) }
            clock.schedule(afterNanoseconds: delay) {
                MainActor.assumeIsolated { self.carry(request, to: group, completion: completion) }
            }
        }
    }

    private func carry(
        _ request: GroupRequest, to group: GroupID, completion: @escaping (Result<GroupReply, GroupFailure>) -> Void
    ) {
        guard !down.contains(group), !losesRequest(request, group) else {
            return completion(.failure(.unavailable("group \(group) does not answer")))
        }
        requests[request.operation, default: 0] += 1
        onRequest(request, group)
        // Over the wire, as between nodes.
        let arrived: GroupRequest
        do {
            arrived = try GroupRequest(decoding: request.encoded()[...])
        } catch {
            failure = error
            return completion(.failure(.unavailable("\(error)")))
        }
        let loses = losesAnswer(request, group)
        groups[group]!.replica.execute(arrived) { result in
            if loses { return completion(.failure(.unavailable("the answer was lost"))) }
            let answer: GroupAnswer =
                switch result {
                case .success(let reply): .reply(reply)
                case .failure(let failure): .failure(failure)
                }
            switch try! GroupAnswer(decoding: answer.encoded()[...]) {
            case .reply(let reply): completion(.success(reply))
            case .failure(let failure): completion(.failure(failure))
            }
        }
    }

    func group(_ number: Int) -> TestGroup { groups[GroupID(UInt32(number))]! }

    /// Runs a command while the groups' loops turn; when nothing moves any more, time does.
    func run(
        _ body: Document, sequences: [(name: String, documents: [Document])] = [], database: String = "test",
        session: SessionStamp? = nil, router: Int = 0
    ) async throws -> Document {
        var replies = try await runTogether(
            [
                ClientCommand(
                    name: body.first!.name.string, database: database, body: body, sequences: sequences,
                    session: session)
            ],
            routers: [router])
        return replies.removeFirst()
    }

    /// Runs several commands side by side.
    func runTogether(_ commands: [ClientCommand], routers numbers: [Int] = [0]) async throws -> [Document] {
        var replies: [Document?] = Array(repeating: nil, count: commands.count)
        for (index, command) in commands.enumerated() {
            let router = routers[numbers[index % numbers.count]]
            // As nodes and clients do: what is simple the short way, the rest in a task.
            let isBegun = router.begin(command) { outcome in
                switch outcome {
                case .reply(let reply): replies[index] = reply
                case .startOver(let again): Task { @MainActor in replies[index] = await router.run(again) }
                }
            }
            if isBegun { commandsBegun += 1 } else { Task { @MainActor in replies[index] = await router.run(command) } }
        }
        try await turn(commands.map(\.name)) { !replies.contains { $0 == nil } }
        return replies.map { $0! }
    }

    /// Changes the layout through a router.
    func changeLayout(_ change: LayoutChange, router: Int = 0) async throws -> ClusterLayout {
        var changed: Result<ClusterLayout, QueryError>?
        let (router, deadline) = (routers[router], clock.nanoseconds + 10_000_000_000)
        Task { @MainActor in
            do throws(QueryError) {
                changed = .success(try await router.changeLayout(change, deadline: deadline))
            } catch {
                changed = .failure(error)
            }
        }
        try await turn(["\(change)"]) { changed != nil }
        return try changed!.get()
    }

    /// Lets the groups' loops turn until it is done; when nothing moves any more, time does.
    private func turn(_ what: [String], until isDone: () -> Bool) async throws {
        var idle = 0
        while !isDone() {
            await Task.yield()
            var moved = false
            for id in groups.keys.sorted() where try groups[id]!.turn() { moved = true }
            if let failure { throw failure }
            idle = moved ? 0 : idle + 1
            if idle > 20 {
                idle = 0
                guard clock.advanceToNextTimer() else {
                    Issue.record("the cluster hangs: \(what)")
                    throw CancellationError()
                }
            }
        }
    }

    /// Runs a command that must succeed.
    @discardableResult
    func ok(
        _ body: Document, sequences: [(name: String, documents: [Document])] = [], database: String = "test",
        session: SessionStamp? = nil, router: Int = 0, _ location: SourceLocation = #_sourceLocation
    ) async throws -> Document {
        let reply = try await run(body, sequences: sequences, database: database, session: session, router: router)
        #expect(reply["ok"] == 1.0, "\(body.first!.name): \(reply)", sourceLocation: location)
        return reply
    }

    /// Runs a command that must fail with that code.
    @discardableResult
    func fails(
        _ code: ErrorCode, _ body: Document, database: String = "test", session: SessionStamp? = nil,
        _ location: SourceLocation = #_sourceLocation
    ) async throws -> Document {
        let reply = try await run(body, database: database, session: session)
        #expect(reply["ok"] == 0.0, "\(reply)", sourceLocation: location)
        #expect(reply["code"] == .int32(code.rawValue), "\(reply)", sourceLocation: location)
        return reply
    }

    /// Everything that a query gives, through getMore to the end.
    func all(
        _ collection: String, filter: Document = [:], with more: Document = [:], batchSize: Int32? = nil,
        router: Int = 0
    ) async throws -> [Document] {
        var body: Document = ["find": .string(BSONString(collection)), "filter": .document(filter)]
        for element in more { body.append(element.name.string, element.value) }
        if let batchSize { body.append("batchSize", .int32(batchSize)) }
        return try await drain(body, router: router)
    }

    func drain(_ body: Document, router: Int = 0) async throws -> [Document] {
        let collection = body.first!.value
        var cursor = try #require(try await ok(body, router: router)["cursor"]?.asDocument)
        var documents = try #require(cursor["firstBatch"]?.asArray).map { $0.asDocument! }
        while let id = cursor["id"]?.int64Exactly, id != 0 {
            let reply = try await ok(["getMore": .int64(id), "collection": collection], router: router)
            cursor = try #require(reply["cursor"]?.asDocument)
            documents += try #require(cursor["nextBatch"]?.asArray).map { $0.asDocument! }
        }
        return documents
    }

    func insert(_ collection: String, _ documents: [Document], ordered: Bool = true) async throws -> Document {
        try await run(
            ["insert": .string(BSONString(collection)), "ordered": .bool(ordered)],
            sequences: [("documents", documents)])
    }
}
