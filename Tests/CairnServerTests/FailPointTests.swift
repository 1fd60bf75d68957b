import CairnBSON
import CairnQuery
import Testing

@testable import CairnServer

@Suite struct FailPointTests {
    private func hits(_ mode: Value, count: Int) throws -> [Bool] {
        var mode = try FailPointMode(parsing: mode)
        return (0..<count).map { _ in mode.hits(random: 0.5) }
    }

    @Test func modesHitAsManyAsTheySay() throws {
        #expect(try hits("off", count: 2) == [false, false])
        #expect(try hits("alwaysOn", count: 2) == [true, true])
        #expect(try hits(["times": 2], count: 4) == [true, true, false, false])
        #expect(try hits(["times": 0], count: 1) == [false])
        #expect(try hits(["skip": 2], count: 4) == [false, false, true, true])
        #expect(try hits(["activationProbability": 0.6], count: 1) == [true])
        #expect(try hits(["activationProbability": 0.4], count: 1) == [false])
    }

    @Test func onlyCommandsThatConcernItCount() throws {
        let table = FailPointTable()
        _ = try table.configure(
            "failCommand", mode: ["times": 1], data: ["failCommands": ["find"], "errorCode": 7, "appName": "a"])
        #expect(table.plan(for: ["insert"], applicationName: "a", namespace: nil) == nil)
        #expect(table.plan(for: ["find"], applicationName: "b", namespace: nil) == nil)
        #expect(table.plan(for: ["find"], applicationName: "a", namespace: nil) != nil)
        #expect(table.plan(for: ["find"], applicationName: "a", namespace: nil) == nil)
        #expect(try table.configure("failCommand", mode: "off", data: nil) == 1)
    }

    private func labels(_ data: Document, isRetryableWrite: Bool) throws -> Value? {
        try CommandFailurePlan(parsing: data).error(isRetryableWrite: isRetryableWrite)?["errorLabels"]
    }

    @Test func theServerLabelsWhatADriverMayRepeat() throws {
        #expect(try labels(["errorCode": 91], isRetryableWrite: true) == ["RetryableWriteError"])
        #expect(try labels(["errorCode": 91], isRetryableWrite: false) == nil)
        #expect(try labels(["errorCode": 11000], isRetryableWrite: true) == nil)
        #expect(try labels(["errorCode": 11000, "errorLabels": ["A"]], isRetryableWrite: true) == ["A"])
        #expect(try labels(["errorCode": 91, "errorLabels": []], isRetryableWrite: true) == nil)
    }

    @Test func aWriteConcernErrorIsAddedToTheAnswer() throws {
        let plan = try CommandFailurePlan(parsing: ["writeConcernError": ["code": 91, "errmsg": "x"]])
        #expect(plan.error(isRetryableWrite: true) == nil)
        let reply = plan.amend(["n": 1, "ok": 1], isRetryableWrite: true)
        #expect(reply["n"] == 1)
        #expect(reply["writeConcernError"] == ["code": 91, "errmsg": "x"])
        #expect(reply["errorLabels"] == ["RetryableWriteError"])
    }

    @Test(
        arguments: [
            ["failCommands": "find"], ["errorCode": "x"], ["blockConnection": true], ["blockTimeMS": 1, "unknown": 1],
            ["blockConnection": true, "blockTimeMS": 700_000], ["failCommands": [1]],
        ] as [Document])
    func dataThatMeansNothingIsRefused(data: Document) {
        #expect(throws: QueryError.self) { try CommandFailurePlan(parsing: data) }
    }
}
