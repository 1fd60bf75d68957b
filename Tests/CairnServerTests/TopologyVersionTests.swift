import CairnBSON
import CairnQuery
import CairnWire
import Testing

@testable import CairnServer

@Suite struct TopologyVersionTests {
    private let process = ObjectID(seconds: 1, random: 2, counter: 3)

    private func version(_ counter: Int64) -> Value { TopologyVersion(processID: process, counter: counter).value }

    private func code(_ body: Document) -> ErrorCode? {
        do throws(QueryError) {
            _ = try AwaitedTopology(body)
            return nil
        } catch {
            return error.code
        }
    }

    @Test func bothHalvesOrNone() throws {
        #expect(try AwaitedTopology(["hello": 1]) == nil)
        let awaited = try AwaitedTopology(["hello": 1, "topologyVersion": version(4), "maxAwaitTimeMS": 10])
        #expect(awaited?.known == TopologyVersion(processID: process, counter: 4))
        #expect(code(["hello": 1, "topologyVersion": version(4)]) == ErrorCode(31_368))
        #expect(code(["hello": 1, "maxAwaitTimeMS": 10]) == ErrorCode(31_368))
        #expect(code(["hello": 1, "topologyVersion": version(4), "maxAwaitTimeMS": -1]) == ErrorCode(31_373))
        #expect(code(["hello": 1, "topologyVersion": version(-4), "maxAwaitTimeMS": 1]) == ErrorCode(31_372))
        #expect(code(["hello": 1, "topologyVersion": ["counter": 1], "maxAwaitTimeMS": 1]) == .typeMismatch)
    }

    @Test func noWaitIsLongerThanItMayBe() throws {
        let awaited = try AwaitedTopology(
            ["hello": 1, "topologyVersion": version(0), "maxAwaitTimeMS": .int64(.max)])
        #expect(awaited?.milliseconds == AwaitedTopology.millisecondsMax)
    }

    @Test func theCounterGrowsOnceWhenTheNodeBeginsToShutDown() {
        let topology = NodeTopology()
        let before = topology.version
        topology.beginShutdown()
        topology.beginShutdown()
        #expect(topology.isShuttingDown)
        #expect(topology.version.counter == before.counter + 1)
        #expect(topology.version.processID == before.processID)
    }

    private func request(_ body: Document, _ flags: OpMsg.Flags) throws -> ClientRequest {
        try ClientRequest(parsing: OpMsg(flags: flags, body: body).encoded(requestID: 1, responseTo: 0)[...])
    }

    @Test func aStreamGoesOnWithWhatTheClientHasHeard() throws {
        let body: Document = ["hello": 1, "topologyVersion": version(0), "maxAwaitTimeMS": 10, "$db": "admin"]
        let streamed = try request(body, .exhaustAllowed)
        let next = streamed.following(["ok": 1, "topologyVersion": version(1)])
        #expect(next?.body["topologyVersion"] == version(1))
        #expect(next?.body["maxAwaitTimeMS"] == 10)
        #expect(streamed.following(["ok": 0, "topologyVersion": version(1)]) == nil)
        #expect(try request(body, []).following(["ok": 1, "topologyVersion": version(1)]) == nil)
        let plain = try request(["hello": 1, "$db": "admin"], .exhaustAllowed)
        #expect(plain.following(["ok": 1, "topologyVersion": version(1)]) == nil)
    }
}
