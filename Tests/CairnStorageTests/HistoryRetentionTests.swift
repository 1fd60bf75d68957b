import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

/// What a compaction to the last level leaves of one key: all that some reader may see, and nothing else.
@Suite struct HistoryRetentionTests {
    /// What happened to the key at versions 1, 2, …: a write, a deletion, or nothing that concerns it.
    private enum Event: CaseIterable { case none, put, delete }

    /// The versions of the entries that readers need: of those from `horizon` on and of `pin`.
    ///
    /// A deletion is needed only above something that it hides.
    private func needed(_ events: [Event], horizon: UInt64, pin: UInt64?) -> [UInt64] {
        let entries = events.enumerated().filter { $0.element != .none }
            .map { (version: UInt64($0.offset) + 1, event: $0.element) }
        var result: [UInt64] = []
        // From the oldest on.
        for (place, entry) in entries.enumerated() {
            let end = place + 1 < entries.count ? entries[place + 1].version : .max
            let isSeen = end > horizon || (pin.map { $0 >= entry.version && $0 < end } ?? false)
            guard isSeen, entry.event == .put || !result.isEmpty else { continue }
            result.append(entry.version)
        }
        return result.reversed()
    }

    @Test(arguments: [false, true])
    func entriesAndDeletionsGoExactlyWhenNoReaderCanNeedThem(areInOneTable: Bool) throws {
        var random = SeededGenerator(seed: 7)
        let share = EngineCrashTests.volume(debug: 8, release: 1)
        for first in Event.allCases {
            for second in Event.allCases {
                for third in Event.allCases {
                    for fourth in Event.allCases {
                        for horizon in 0...5 as ClosedRange<UInt64> {
                            for pin in [nil, 1, 2, 3, 4] as [UInt64?] where random.oneIn(share) {
                                try check([first, second, third, fourth], horizon, pin, areInOneTable)
                            }
                        }
                    }
                }
            }
        }
    }

    private func check(_ events: [Event], _ horizon: UInt64, _ pin: UInt64?, _ areInOneTable: Bool) throws {
        var options = EngineOptions.tiny
        options.disablesAutomaticCompaction = true
        let engine = try Engine.open(
            directory: "/e", fileSystem: SimulatedFileSystem(seed: 1), options: options,
            background: ManualBackgroundExecutor())
        for (place, event) in events.enumerated() {
            var batch = WriteBatch()
            switch event {
            case .none: break
            case .put: batch.put([1], [UInt8(place)])
            case .delete: batch.delete([1])
            }
            // Another key, so that each table has something.
            batch.put([2], [UInt8(place)])
            try engine.apply(batch, at: Version(UInt64(place) + 1), mark: UInt64(place) + 1)
            if !areInOneTable { try engine.flush() }
        }
        if let pin { try engine.retain(Version(pin)) }
        engine.setHistoryHorizon(Version(horizon))
        try engine.compactRange()
        var kept: [UInt64] = []
        for table in engine.view.withLock({ $0.tables.all }) {
            let iterator = try table.reader().makeIterator(fillsCache: false)
            try iterator.seekToFirst()
            while iterator.isValid {
                if iterator.key.copied() == [1] { kept.append(iterator.version) }
                try iterator.next()
            }
        }
        #expect(
            kept == needed(events, horizon: horizon, pin: pin),
            "\(events), horizon \(horizon), pin \(pin.map { "\($0)" } ?? "none")")
        try engine.close()
    }

    @Test func aDeletionStaysWhileADeeperLevelHasTheKeyAndGoesWithIt() throws {
        let disk = SimulatedFileSystem(seed: 1)
        var options = EngineOptions.tiny
        options.disablesAutomaticCompaction = true
        options.history = .latest
        let engine = try Engine.open(
            directory: "/e", fileSystem: disk, options: options, background: ManualBackgroundExecutor())
        // An ingested table goes to the last level.
        let writer = try SortedTableWriter(
            path: "/deep", version: Version(1), fileSystem: disk, options: options)
        try writer.put([5], [1])
        try engine.ingest(try writer.finish(), mark: 1)
        #expect(engine.statistics.levels.last!.tables == 1)
        var batch = WriteBatch()
        batch.delete([5])
        batch.put([4], [4])
        batch.put([6], [6])
        try engine.write(batch)
        try engine.flush()
        let picker = CompactionPicker(options: options)
        func deletions() -> UInt64 {
            engine.view.withLock { $0.tables.all.reduce(0) { $0 + $1.description.deletions } }
        }
        #expect(deletions() == 1)
        let set = engine.view.withLock { $0.tables }
        try engine.run(picker.compactionOfLevel0(set), set, engine.retainedVersions())
        #expect(engine.statistics.levels[1].tables == 1)
        #expect(deletions() == 1, "level 6 has what it hides")
        #expect(try engine.get([5]) == nil)
        try engine.compactRange()
        #expect(deletions() == 0)
        #expect(try engine.get([5]) == nil)
        try engine.close()
    }
}
