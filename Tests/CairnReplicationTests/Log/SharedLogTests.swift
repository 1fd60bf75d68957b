import CairnFiles
import CairnRaft
import CairnReplication
import CairnSimulator
import CairnTestSupport
import Testing

@Suite struct SharedLogTests {
    private let disk = SimulatedFileSystem(seed: 21)

    private func open(_ options: SharedLogOptions = LogWorkload.options()) throws -> SharedLog {
        try SharedLog.open(directory: "raft", fileSystem: disk, options: options)
    }

    private func entries(_ range: ClosedRange<UInt64>, term: UInt64, size: Int = 20) -> [Entry] {
        range.map {
            Entry(
                term: Term(term), index: LogIndex($0), kind: .normal,
                payload: [UInt8](repeating: UInt8(truncatingIfNeeded: $0 &* term), count: size)[...])
        }
    }

    /// One batch, made durable and reported.
    private func commit(_ log: SharedLog, _ groups: GroupLog..., fill: (inout LogBatch) -> Void) throws {
        var batch = LogBatch(id: 1)
        fill(&batch)
        try log.append(batch)
        try log.synchronize()
        for group in groups {
            if let term = group.term(at: group.lastIndex) {
                group.persisted(through: LogPosition(term: term, index: group.lastIndex))
            }
        }
    }

    private func all(_ group: GroupLog) throws -> [Entry] {
        try group.entries(from: group.firstIndex, through: group.lastIndex, maxBytes: .max)
    }

    @Test func A26_entriesThatGaveWayNeverReturn() throws {
        let log = try open()
        let group = log.open(GroupID(1))
        try commit(log, group) { group.append(entries(1...9, term: 1), to: &$0) }
        let start = disk.operationCount
        try commit(log, group) { group.append(entries(5...6, term: 2), to: &$0) }
        #expect(group.lastIndex == LogIndex(6))
        #expect(disk.operationCount - start == 2, "one write and one sync")
        disk.killProcess()
        let short = try open().open(GroupID(1))
        #expect(try all(short) == entries(1...4, term: 1) + entries(5...6, term: 2))
        // The power goes after the write and before the sync: the old tail is whole, or the new one is in its place.
        for seed in 0..<30 as Range<UInt64> {
            let other = SimulatedFileSystem(seed: seed)
            let log = try SharedLog.open(directory: "raft", fileSystem: other, options: LogWorkload.options())
            let group = log.open(GroupID(1))
            var batch = LogBatch(id: 1)
            group.append(entries(1...9, term: 1), to: &batch)
            try log.append(batch)
            try log.synchronize()
            var conflict = LogBatch(id: 2)
            group.append(entries(5...6, term: 2, size: 700), to: &conflict)
            try log.append(conflict)
            other.restart()
            let left = try all(
                SharedLog.open(directory: "raft", fileSystem: other, options: LogWorkload.options()).open(GroupID(1)))
            #expect(
                [
                    entries(1...9, term: 1), entries(1...4, term: 1) + entries(5...5, term: 2, size: 700),
                    entries(1...4, term: 1) + entries(5...6, term: 2, size: 700),
                ].contains(left), "seed \(seed)")
        }
    }

    @Test func A27_aLateReportAboutAnOldTermMarksNothing() throws {
        let log = try open()
        let group = log.open(GroupID(1))
        var batch = LogBatch(id: 1)
        group.append(entries(1...5, term: 2), to: &batch)
        group.append(entries(3...6, term: 3), to: &batch)
        group.persisted(through: LogPosition(term: Term(2), index: LogIndex(5)))
        #expect(group.persistedIndex == .zero)
        group.persisted(through: LogPosition(term: Term(2), index: LogIndex(2)))
        #expect(group.persistedIndex == LogIndex(2))
        group.append(entries(2...2, term: 4), to: &batch)
        #expect(group.persistedIndex == LogIndex(1))
        group.persisted(through: LogPosition(term: Term(3), index: LogIndex(6)))
        #expect(group.persistedIndex == LogIndex(1))
    }

    @Test func A34_groupsThatShareSegmentsHaveSeparateFates() throws {
        let log = try open()
        let groups = (1...8).map { log.open(GroupID($0)) }
        let idle = groups[0]
        let busy = groups[1]
        for group in groups {
            try commit(log, group) {
                group.append(entries(1...3, term: 1), hardState: HardState(term: Term(1), vote: NodeID(2)), to: &$0)
            }
        }
        let gone = groups[2]
        try commit(log) { gone.destroy(in: &$0) }
        let reborn = log.open(GroupID(3))
        #expect(reborn.incarnation == gone.incarnation + 1)
        #expect(reborn.lastIndex == .zero && reborn.hardState == HardState())
        try commit(log, reborn) { reborn.append(entries(1...1, term: 7), to: &$0) }
        var files = 0
        for index in 4...200 as ClosedRange<UInt64> {
            try commit(log, busy) {
                busy.append(entries(index...index, term: 1, size: 100), to: &$0)
                if index % 10 == 0 { busy.purge(through: LogIndex(index - 3), in: &$0) }
            }
            files = max(files, try disk.list("raft").count)
        }
        #expect(files <= 8, "an idle group does not pin the log: \(files) files")
        #expect(try all(idle) == entries(1...3, term: 1))
        disk.restart()
        let again = try open()
        for (number, group) in groups.enumerated() where number != 1 && number != 2 {
            let found = again.open(group.group)
            #expect(found.damage == nil)
            #expect(try all(found) == entries(1...3, term: 1))
            #expect(found.hardState == HardState(term: Term(1), vote: NodeID(2)))
        }
        #expect(try all(again.open(GroupID(3))) == entries(1...1, term: 7))
        let found = again.open(GroupID(2))
        #expect(found.firstIndex <= busy.firstIndex && found.lastIndex == LogIndex(200))
        #expect(try all(found).suffix(3) == all(busy))
    }

    @Test func A43_aSnapshotTakesTheLogsPlaceWhole() throws {
        for seed in 0..<30 as Range<UInt64> {
            let disk = SimulatedFileSystem(seed: seed)
            let log = try SharedLog.open(directory: "raft", fileSystem: disk, options: LogWorkload.options())
            let group = log.open(GroupID(1))
            var batch = LogBatch(id: 1)
            group.append(entries(1...12, term: 1), hardState: HardState(term: Term(1)), to: &batch)
            try log.append(batch)
            try log.synchronize()
            var install = LogBatch(id: 2)
            let position = LogPosition(term: Term(3), index: LogIndex(8))
            group.reset(to: position, hardState: HardState(term: Term(3), commit: LogIndex(8)), in: &install)
            try log.append(install)
            if seed % 2 == 0 { try log.synchronize() }
            disk.restart()
            let found = try SharedLog.open(directory: "raft", fileSystem: disk, options: LogWorkload.options())
                .open(GroupID(1))
            if seed % 2 == 0 || found.base != .zero {
                #expect(found.base == position && found.lastIndex == position.index)
                #expect(found.hardState == HardState(term: Term(3), commit: LogIndex(8)))
                #expect(found.term(at: LogIndex(8)) == Term(3))
            } else {
                #expect(try all(found) == entries(1...12, term: 1))
            }
        }
    }

    @Test func A33_damageIsTheAffairOfItsGroup() throws {
        let log = try open()
        let harmed = log.open(GroupID(1))
        let other = log.open(GroupID(2))
        try commit(log, harmed) { harmed.append(entries(1...1, term: 1), to: &$0) }
        let segment = "raft/" + (try disk.list("raft").first { $0.hasPrefix("segment") }!)
        var reader = try RecordLogReader(segment, kind: RecordLogHeader.Kind("RAFT"), in: disk)
        _ = try reader.next()
        let offset = Int(reader.position)
        try commit(log, harmed) { harmed.append(entries(2...2, term: 1), to: &$0) }
        try commit(log, harmed, other) {
            harmed.append(entries(3...4, term: 1), to: &$0)
            other.append(entries(1...4, term: 1), hardState: HardState(term: Term(5)), to: &$0)
        }
        try commit(log, other) { other.append(entries(5...5, term: 1), to: &$0) }
        disk.killProcess()
        let bodyBytes = 24 + 17 + 20
        for byte in 0..<bodyBytes {
            let damaged = disk.copy(seed: 1)
            try damaged.flipBit(byte % 8, ofByte: offset + byte, in: segment)
            // The second start still knows, and the repair ends it.
            for start in 0..<2 {
                let log = try SharedLog.open(directory: "raft", fileSystem: damaged, options: LogWorkload.options())
                let group = log.open(GroupID(1))
                let damage = try #require(group.damage, "byte \(byte), start \(start)")
                if start == 0 { #expect(damage.file == segment && damage.offset == UInt64(offset)) }
                #expect(!damage.hardStateIsLost)
                let unharmed = log.open(GroupID(2))
                #expect(unharmed.damage == nil)
                #expect(try all(unharmed) == entries(1...5, term: 1))
                #expect(unharmed.hardState == HardState(term: Term(5)))
                if start == 1 {
                    var batch = LogBatch(id: 9)
                    group.reset(to: LogPosition(term: Term(1), index: LogIndex(4)), in: &batch)
                    try log.append(batch)
                    try log.synchronize()
                }
                damaged.killProcess()
            }
            let repaired = try SharedLog.open(directory: "raft", fileSystem: damaged, options: LogWorkload.options())
                .open(GroupID(1))
            #expect(repaired.damage == nil && repaired.lastIndex == LogIndex(4))
        }
    }

    @Test func A33_aBadEndIsDamageIfTheLogWasMarkedAsSynced() throws {
        for isMarked in [false, true] {
            let disk = SimulatedFileSystem(seed: 7)
            let log = try SharedLog.open(directory: "raft", fileSystem: disk, options: LogWorkload.options())
            let group = log.open(GroupID(1))
            try commit(log, group) { group.append(entries(1...3, term: 1), to: &$0) }
            if isMarked {
                try log.markSynced()
                let size = disk.operationCount
                try log.markSynced()
                #expect(disk.operationCount == size, "a second mark of the same state costs nothing")
            }
            disk.killProcess()
            let segment = "raft/" + (try disk.list("raft").first { $0.hasPrefix("segment") }!)
            // In the first of three entries, all of one write.
            try disk.flipBit(2, ofByte: RecordLogHeader.byteCount + 24 + 20, in: segment)
            let found = try SharedLog.open(directory: "raft", fileSystem: disk, options: LogWorkload.options())
                .open(GroupID(1))
            // Without the mark it looks like a write that the power was cut in.
            #expect((found.damage != nil) == isMarked)
            if !isMarked { #expect(found.lastIndex == .zero) }
        }
    }

    @Test func A33_aLostHardStateIsKnownToBeLost() throws {
        let log = try open()
        let group = log.open(GroupID(1))
        let other = log.open(GroupID(2))
        try commit(log, group) { group.append([], hardState: HardState(term: Term(4), vote: NodeID(1)), to: &$0) }
        try commit(log, other) { other.append(entries(1...2, term: 1), to: &$0) }
        disk.killProcess()
        let segment = "raft/" + (try disk.list("raft").first { $0.hasPrefix("segment") }!)
        try disk.flipBit(2, ofByte: RecordLogHeader.byteCount + 24 + 3, in: segment)
        let again = try open()
        #expect(again.open(GroupID(1)).damage?.hardStateIsLost == true)
        #expect(again.open(GroupID(2)).damage == nil)
    }

    @Test func A33_aBadSegmentHeaderOrAMissingSegmentIsNamed() throws {
        let log = try open()
        let group = log.open(GroupID(1))
        for index in 1...60 as ClosedRange<UInt64> {
            try commit(log, group) { group.append(entries(index...index, term: 1, size: 100), to: &$0) }
        }
        disk.killProcess()
        let names = try disk.list("raft").filter { $0.hasPrefix("segment") }
        try #require(names.count > 3)
        for name in names {
            let damaged = disk.copy(seed: 1)
            try damaged.flipBit(5, ofByte: 30, in: "raft/" + name)
            do throws(SharedLogError) {
                _ = try SharedLog.open(directory: "raft", fileSystem: damaged)
                Issue.record("\(name) was taken")
            } catch {
                #expect(error.code == .damaged && error.cause?.path == "raft/" + name && error.cause?.offset == 0)
            }
        }
        let missing = disk.copy(seed: 1)
        try missing.remove("raft/" + names[1])
        do throws(SharedLogError) {
            _ = try SharedLog.open(directory: "raft", fileSystem: missing)
            Issue.record("a segment is missing")
        } catch {
            #expect(error.code == .damaged && error.cause?.path == "raft/" + names[1])
        }
        // The first one cannot be missed by its number, but by its entries.
        let headless = disk.copy(seed: 1)
        try headless.remove("raft/" + names[0])
        #expect(try SharedLog.open(directory: "raft", fileSystem: headless).open(GroupID(1)).damage != nil)
    }

    @Test func B17_theLogHasOneOwner() throws {
        let log = try open()
        do throws(SharedLogError) {
            _ = try SharedLog.open(directory: "raft", fileSystem: disk)
            Issue.record("two owners")
        } catch {
            #expect(error.code == .locked)
        }
        try log.close()
        _ = try open()
    }

    @Test func anEntryLargerThanASegmentIsKept() throws {
        var options = LogWorkload.options()
        options.cacheBytesPerGroup = 0
        let log = try open(options)
        let group = log.open(GroupID(1))
        var random = SeededGenerator(seed: 3)
        let large = Entry(term: Term(1), index: LogIndex(2), kind: .normal, payload: random.bytes(300_000)[...])
        let whole = entries(1...1, term: 1) + [large] + entries(3...4, term: 1)
        try commit(log, group) { group.append(whole, to: &$0) }
        #expect(try all(group) == whole)
        #expect(try group.entries(from: LogIndex(1), through: LogIndex(4), maxBytes: 1000).count == 1)
        #expect(try group.entries(from: LogIndex(2), through: LogIndex(4), maxBytes: 1000).count == 1)
        #expect(try group.entries(from: LogIndex(3), through: LogIndex(4), maxBytes: 1000).count == 2)
        disk.killProcess()
        #expect(try all(open().open(GroupID(1))) == whole)
    }

    @Test func purgedEntriesAreCompactedAndTermsBeforeThemKnown() throws {
        let log = try open()
        let group = log.open(GroupID(1))
        try commit(log, group) {
            group.append(entries(1...3, term: 1) + entries(4...6, term: 3), to: &$0)
            group.purge(through: LogIndex(4), in: &$0)
        }
        #expect(group.firstIndex == LogIndex(5) && group.term(at: LogIndex(4)) == Term(3))
        #expect(group.term(at: LogIndex(3)) == nil && group.term(at: LogIndex(7)) == nil)
        do throws(RaftLogError) {
            _ = try group.entries(from: LogIndex(4), through: LogIndex(5), maxBytes: 100)
            Issue.record("a purged entry was read")
        } catch {
            #expect(error.code == .compacted)
        }
    }
}
