import CairnBSON
import CairnDatabase
import CairnRaft
import CairnReplication
import CairnSimulator
import Testing

@testable import CairnSharding

@Suite("Reads that wait for more of a capped collection")
struct TailTests {
    private let clock = TestClock()
    private let disk = SimulatedFileSystem(seed: 1)
    private let collection = CollectionID(100)

    private func makeGroup() throws -> TestGroup {
        let group = try TestGroup(GroupID(1), node: NodeID(rawValue: 1), clock: clock, disk: disk)
        try group.becomeLeader()
        let descriptor = CollectionDescriptor(
            id: collection, uuid: Array(0..<16), database: "d", name: "c", options: ["capped": true, "size": 100_000],
            placement: .single, chunks: [Chunk(.all, group: 1)])
        group.replica.execute(
            GroupRequest(.installDescriptor, collection: collection, epoch: 1, body: descriptor.document)
        ) { #expect((try? $0.get()) != nil) }
        try group.settle()
        return group
    }

    private func insert(_ id: Int32, into group: TestGroup) throws {
        group.replica.execute(
            GroupRequest(
                .insert, collection: collection, epoch: 1, documents: [["_id": .int32(id), "v": .int32(id % 2)]])
        ) { #expect((try? $0.get()) != nil) }
        try group.settle()
    }

    private final class Answer {
        var result: Result<GroupReply, GroupFailure>?
        var documents: [Document]? { try? result?.get().documents }
    }

    private func tail(
        _ group: TestGroup, after: Int64, milliseconds: Int64, filter: Document = Document()
    ) throws -> Answer {
        let answer = Answer()
        group.replica.execute(
            GroupRequest(
                .find, collection: collection, epoch: 1,
                body: [
                    "filter": .document(filter),
                    "tail": ["after": .int64(after), "awaitMilliseconds": .int64(milliseconds)],
                ])
        ) { answer.result = $0 }
        try group.settle()
        return answer
    }

    @Test func itAnswersAsSoonAsSomethingIsThere() throws {
        let group = try makeGroup()
        try insert(1, into: group)
        #expect(try tail(group, after: 0, milliseconds: 1000).documents?.count == 1)
        let waiting = try tail(group, after: 1, milliseconds: 1000)
        #expect(waiting.result == nil)
        try insert(2, into: group)
        #expect(waiting.documents?.map { $0["_id"] } == [2])
    }

    @Test func itAnswersThatNothingCameWhenItsTimeIsOver() throws {
        let group = try makeGroup()
        try insert(1, into: group)
        let waiting = try tail(group, after: 1, milliseconds: 1000)
        let began = clock.nanoseconds
        while waiting.result == nil, clock.advanceToNextTimer() { try group.settle() }
        #expect(waiting.documents == [])
        #expect(clock.nanoseconds - began == 1_000_000_000)
    }

    @Test func whatDoesNotMatchIsPassedOverOnce() throws {
        let group = try makeGroup()
        try insert(0, into: group)
        let waiting = try tail(group, after: 1, milliseconds: 1000, filter: ["v": 1])
        try insert(2, into: group)
        try insert(4, into: group)
        #expect(waiting.result == nil)
        try insert(5, into: group)
        #expect(waiting.documents?.map { $0["_id"] } == [5])
    }

    @Test func aReplicaThatLosesOfficeSendsItOn() throws {
        let group = try makeGroup()
        try insert(1, into: group)
        let waiting = try tail(group, after: 1, milliseconds: 60_000)
        try group.loseOffice(losingEntries: false)
        try group.settle()
        guard case .failure(.notLeader)? = waiting.result else {
            Issue.record("still waiting at a follower: \(String(describing: waiting.result))")
            return
        }
    }

    @Test func onlySoManyWait() throws {
        let group = try makeGroup()
        try insert(1, into: group)
        var answers: [Answer] = []
        for _ in 0..<group.replica.options.tailsMax + 5 {
            answers.append(try tail(group, after: 1, milliseconds: 1000))
        }
        #expect(answers.filter { $0.result != nil }.count == 5)
        try insert(2, into: group)
        #expect(answers.allSatisfy { $0.result != nil })
    }
}
