import CairnBSON
import CairnQuery
import Testing

@testable import CairnServer

@Suite struct ProfilerTests {
    private let profiler = Profiler()
    private let second: Int64 = 1_000_000_000

    private func set(_ level: Int, slow: Int64? = nil, rate: Double? = nil, on database: String = "d") throws {
        _ = try profiler.apply(
            Profiler.Change(level: level, slowMilliseconds: slow, sampleRate: rate), to: database)
    }

    @Test func slowOperationsAreLoggedWhateverTheLevel() {
        #expect(profiler.interest(in: "d", nanoseconds: second) == .init(isLogged: true, isRecorded: false))
        #expect(profiler.interest(in: "d", nanoseconds: 1) == nil)
    }

    @Test func levelsDecideWhatIsRecorded() throws {
        try set(1)
        #expect(profiler.interest(in: "d", nanoseconds: second)?.isRecorded == true)
        #expect(profiler.interest(in: "d", nanoseconds: 1) == nil)
        try set(2)
        #expect(profiler.interest(in: "d", nanoseconds: 1) == .init(isLogged: false, isRecorded: true))
        #expect(profiler.interest(in: "other", nanoseconds: 1) == nil)
    }

    @Test func aSampleRateOfNothingLogsNothing() throws {
        try set(1, rate: 0)
        #expect(profiler.interest(in: "d", nanoseconds: second) == nil)
        try set(2)
        #expect(profiler.interest(in: "d", nanoseconds: second) == .init(isLogged: false, isRecorded: true))
    }

    @Test func aFilterStandsInForTimes() throws {
        _ = try profiler.apply(
            Profiler.Change(level: 1, filter: .set(try Filter(parsing: ["op": "query"]))), to: "d")
        let interest = try #require(profiler.interest(in: "d", nanoseconds: 1))
        #expect(profiler.add(["op": "insert"], of: "d", interest) == false)
        #expect(profiler.add(["op": "query"], of: "d", interest) == true)
        #expect(profiler.records(of: "d").count == 1)
        let reply = try profiler.apply(Profiler.Change(level: 0, filter: .unset), to: "d")
        #expect(reply["was"] == 1)
        #expect(reply["filter"] == ["op": "query"])
    }

    @Test func theOldestEntriesMakeRoom() throws {
        try set(2)
        let interest = Profiler.Interest(isLogged: false, isRecorded: true)
        let text = String(repeating: "x", count: 100_000)
        for number in 0..<50 {
            _ = profiler.add(["n": .int32(Int32(number)), "text": .string(BSONString(text))], of: "d", interest)
        }
        let kept = profiler.records(of: "d")
        #expect(kept.reduce(0) { $0 + $1.byteCount } <= Profiler.profileBytesMax)
        #expect(kept.count == 10)
        #expect(kept.last?["n"] == 49)
    }

    @Test func aProfileIsDroppedWhenItIsOff() throws {
        try set(2)
        _ = profiler.add(["a": 1], of: "d", .init(isLogged: false, isRecorded: true))
        #expect(throws: QueryError.self) { try profiler.drop(profileOf: "d") }
        try set(0)
        #expect(try profiler.drop(profileOf: "d"))
        #expect(try !profiler.drop(profileOf: "d"))
        #expect(profiler.records(of: "d").isEmpty)
    }

    @Test func onlySoManyDatabasesAreProfiled() throws {
        for number in 0..<Profiler.databasesMax { try set(2, on: "d\(number)") }
        #expect(throws: QueryError.self) { try set(2, on: "another") }
        try set(0, on: "d0")
        try set(2, on: "another")
    }
}

@Suite struct RateLimitTests {
    @Test func soManyASecondAndNoMore() {
        var limit = PlanQuestions(perSecond: 2)
        let admitted = [0, 1, 2, 1_000_000_000].map { limit.admit(now: $0) }
        #expect(admitted == [true, true, false, true])
    }
}

@Suite struct PlanSummaryTests {
    @Test func accessesAreNamedOnce() {
        let scan: Value = ["stage": "COLLSCAN"]
        #expect(PlanSummary.text(of: ["queryPlanner": ["winningPlan": scan]]) == "COLLSCAN")
        let index: Value = ["stage": "IXSCAN", "keyPattern": ["a": 1, "b": -1, "c": "hashed"]]
        let shard: Value = ["winningPlan": ["stage": "FETCH", "inputStage": index]]
        let merged: Document = ["queryPlanner": ["winningPlan": ["stage": "SHARD_MERGE", "shards": [shard, shard]]]]
        #expect(PlanSummary.text(of: merged) == "IXSCAN { a: 1, b: -1, c: \"hashed\" }")
        let either: Document = ["queryPlanner": ["winningPlan": ["stage": "OR", "inputStages": [index, scan]]]]
        #expect(PlanSummary.text(of: either) == "IXSCAN { a: 1, b: -1, c: \"hashed\" }, COLLSCAN")
        #expect(PlanSummary.text(of: ["ok": 0]) == nil)
    }
}

@Suite struct RecentSessionsTests {
    private func command(_ number: UInt8) -> Document {
        ["ping": 1, "lsid": ["id": .binary(Binary([UInt8](repeating: number, count: 16), subtype: .uuid))]]
    }

    @Test func aSessionIsListedOnceForItsLifetime() {
        var sessions = RecentSessions()
        sessions.note(command(1), now: 1_000)
        sessions.note(command(1), now: 5_000)
        sessions.note(["ping": 1], now: 5_000)
        let listed = sessions.documents(now: 6_000)
        #expect(listed.count == 1)
        #expect(listed[0]["lastUse"] == .date(milliseconds: 5_000))
        let later = sessions.documents(now: 5_000 + RecentSessions.lifetimeMilliseconds)
        #expect(later.isEmpty)
    }

    @Test func thoseThatRestedLongestMakeRoom() {
        var sessions = RecentSessions()
        for number in 0...RecentSessions.countMax {
            let id = (0..<16).map { UInt8(truncatingIfNeeded: number >> (8 * ($0 % 4))) }
            sessions.note(["lsid": ["id": .binary(Binary(id, subtype: .uuid))]], now: Int64(number))
        }
        #expect(sessions.count <= RecentSessions.countMax)
        let listed = sessions.documents(now: 0)
        #expect(!listed.contains { $0["lastUse"] == .date(milliseconds: 0) })
    }
}
