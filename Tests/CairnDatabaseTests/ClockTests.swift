import CairnBSON
import CairnQuery
import CairnStorage
import Testing

@testable import CairnDatabase

/// The wall clock is set back by a day, and later right again, while a group has a leader.
@Suite struct ClockTests {
    private static let day: UInt64 = 86_400_000
    private static let hour: UInt64 = 3_600_000

    /// What the leader's timer asks for every minute, with the options' ages.
    private func expire(
        _ group: TestGroup, results: UInt64 = 1_800_000, sessions: UInt64 = 7_200_000
    ) throws -> Document {
        try group.run(
            GroupRequest(
                .expireSessions, collection: .system,
                body: [
                    "before": .int64(Int64(group.now) - Int64(results)),
                    "forget": .int64(Int64(group.now) - Int64(sessions)),
                ])
        ).body
    }

    private func insert(_ number: Int64, _ group: TestGroup) -> GroupRequest {
        group.request(.insert, [:], [["_id": .int64(number)]], session: .test(UInt64(number), 1))
    }

    @Test func B36_versionsGrowAndReadsSeeEveryWrite() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 1])
        let before = group.engine.lastVersion
        group.setWallClock(back: Self.day)
        for number in 2...20 { try group.insert(["_id": .int64(Int64(number))]) }
        #expect(group.engine.lastVersion > before)
        #expect(try group.find([:]).count == 19 + 1)
        // A process that starts under the wrong clock goes on above what it has.
        let last = group.engine.lastVersion
        try group.reopen()
        try group.applyAll()
        try group.lead(term: 2)
        try group.insert(["_id": 21])
        #expect(group.engine.lastVersion > last)
        #expect(try group.find([:]).count == 21)
    }

    @Test func B36_aSessionsResultsStayTheirTimeOverTheWholeExcursion() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 100])
        #expect(try expire(group) == ["expired": 0, "forgotten": 0])
        let first = insert(1, group)
        let reply = try group.run(first).body
        group.setWallClock(back: Self.day)
        #expect(try expire(group) == ["expired": 0, "forgotten": 0])
        group.advance(Self.hour)
        // Written under the wrong clock, an hour after it was set back and a minute before it is right again.
        let second = insert(2, group)
        try group.run(second)
        group.advance(60_000)
        group.setWallClock(forward: Self.day)
        _ = try expire(group)
        #expect(try group.run(second).body == reply, "a retry after a minute is answered, not refused")
        #expect(try group.find(["_id": 2]).count == 1)
        // Nothing is kept for ever either: by the monotonic clock both grow old.
        group.advance(3 * Self.hour)
        _ = try expire(group, sessions: 1_000 * Self.day)
        group.advance(Self.day)
        let late = try expire(group, sessions: 1_000 * Self.day)
        #expect(late["forgotten"] == 0)
        #expect(try group.error(first).code == .incompleteTransactionHistory)
        #expect(try group.error(second).code == .incompleteTransactionHistory)
    }

    @Test func B36_recordsOfALeaderWhoseClockIsBehindItsGroupAreNotBornOld() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 100])
        group.setWallClock(back: Self.day)
        group.database.endTerm()
        try group.lead(term: 2)
        let request = insert(1, group)
        let reply = try group.run(request).body
        // Its successor's clock is right.
        group.setWallClock(forward: Self.day)
        group.database.endTerm()
        try group.lead(term: 3)
        #expect(try expire(group) == ["expired": 0, "forgotten": 0])
        #expect(try group.run(request).body == reply)
    }

    @Test func B36_cursorsAreClosedByTheClockThatIsNotSet() throws {
        let group = try TestGroup()
        try group.start()
        for number in 1...10 { try group.insert(["_id": .int64(Int64(number))]) }
        let open = try group.run(group.request(.find, ["batchSize": 2]))
        let cursor = try #require(open.body["cursor"])
        group.setWallClock(back: Self.day)
        group.database.closeIdleCursors(group.context)
        group.setWallClock(forward: 2 * Self.day)
        group.database.closeIdleCursors(group.context)
        #expect(try !group.run(group.request(.getMore, ["cursor": cursor, "batchSize": 2])).documents.isEmpty)
        group.advance(group.options.cursorIdleMillisecondsMax + 1)
        group.database.closeIdleCursors(group.context)
        #expect(try group.error(group.request(.getMore, ["cursor": cursor, "batchSize": 2])).code == .cursorNotFound)
    }

    @Test func A16_anHourForwardOrBackInOneStepEndsNothingEarly() throws {
        for steps in [[1, -1], [-1, 1], [1, 1]].map({ $0.map { $0 * Int64(Self.hour) } }) {
            let group = try TestGroup()
            try group.start()
            for number in 1...10 { try group.insert(["_id": .int64(Int64(number)), "n": 0]) }
            let open = try group.run(group.request(.find, ["batchSize": 2]))
            let cursor = try #require(open.body["cursor"])
            let request = insert(100, group)
            let reply = try group.run(request).body
            // The leader's timer has run before: it looks at once when a term begins.
            _ = try expire(group)
            var last = group.engine.lastVersion
            for step in steps {
                if step > 0 {
                    group.setWallClock(forward: UInt64(step))
                } else {
                    group.setWallClock(back: UInt64(-step))
                }
                #expect(try expire(group) == ["expired": 0, "forgotten": 0], "\(steps)")
                #expect(try group.run(request).body == reply, "a retry is answered: \(steps)")
                try group.update([:], ["$inc": ["n": 1]])
                #expect(group.engine.lastVersion > last, "versions grow: \(steps)")
                last = group.engine.lastVersion
                group.database.closeIdleCursors(group.context)
            }
            // The reader goes on in the moment at which it began.
            let more = try group.run(group.request(.getMore, ["cursor": cursor, "batchSize": 100]))
            #expect(more.documents.allSatisfy { $0["n"] == 0 } && more.documents.count == 8, "\(steps)")
        }
    }

    @Test func B36_historyIsKeptItsTimeForReaders() throws {
        let group = try TestGroup()
        try group.start()
        try group.insert(["_id": 1, "n": 0])
        group.advance(group.options.historyMilliseconds * 2)
        try group.update(["_id": 1], ["$set": ["n": 1]])
        let version = group.engine.lastVersion
        group.setWallClock(back: Self.day)
        for number in 2...50 { try group.update(["_id": 1], ["$set": ["n": .int64(Int64(number))]]) }
        try group.engine.flush()
        try group.engine.compactRange()
        // The horizon follows the versions, which stood still in all that time.
        try group.engine.retain(version)
        group.engine.release(version)
    }
}
