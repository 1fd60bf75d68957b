import CairnFiles
import CairnSimulator
import CairnTestSupport
import Testing

@testable import CairnStorage

/// Which compactions may run beside each other, and which is the next one: arithmetic over the tables' descriptions.
@Suite struct CompactionClaimsTests {
    private struct Tree {
        var levels: [[Table]] = Array(repeating: [], count: TableSet.levelCount)
        private var number: UInt64 = 0
        private let disk: SimulatedFileSystem
        private let janitor: FileJanitor

        init() {
            disk = SimulatedFileSystem(seed: 1)
            janitor = FileJanitor(fileSystem: disk, background: ManualBackgroundExecutor())
        }

        var set: TableSet { TableSet(levels: levels, horizon: 0) }

        /// Tables are added to sorted levels in the order of their keys.
        @discardableResult
        mutating func add(_ level: Int, _ keys: ClosedRange<UInt8>, bytes: UInt64) -> UInt64 {
            number += 1
            var description = TableDescription()
            description.number = number
            description.byteCount = bytes
            description.range = KeyRange(smallest: [keys.lowerBound], largest: [keys.upperBound])
            description.entries = 2
            levels[level].append(
                Table(
                    description, directory: "/e", fileSystem: disk, cache: BlockCache(capacityBytes: 0),
                    janitor: janitor))
            return number
        }
    }

    private let picker: CompactionPicker
    private let retained = RetainedVersions(horizon: 0, pins: [])

    init() {
        var options = EngineOptions.tiny
        options.level0Trigger = 2
        options.level1BytesMax = 100
        options.levelSizeRatio = 10
        picker = CompactionPicker(options: options)
    }

    private func numbers(_ compaction: Compaction?) -> [UInt64]? {
        compaction?.inputs.map(\.table.description.number)
    }

    @Test func twoTablesOfALevelWithNothingInCommonBelowAreCompactedAtOnce() {
        var tree = Tree()
        tree.add(1, 0...9, bytes: 150)
        tree.add(1, 20...29, bytes: 150)
        tree.add(2, 5...8, bytes: 10)
        tree.add(2, 25...40, bytes: 20)
        var claims = CompactionClaims()
        let first = picker.pick(tree.set, retained: retained, beside: claims)
        #expect(numbers(first) == [1, 3], "the cheapest")
        _ = claims.take(first!)
        let second = picker.pick(tree.set, retained: retained, beside: claims)
        #expect(numbers(second) == [2, 4])
    }

    @Test func aTableBelowThatTwoNeedIsTakenByOneOfThem() {
        var tree = Tree()
        tree.add(1, 0...9, bytes: 150)
        tree.add(1, 20...29, bytes: 150)
        tree.add(2, 5...25, bytes: 10)
        var claims = CompactionClaims()
        let claim = claims.take(picker.pick(tree.set, retained: retained, beside: claims)!)
        #expect(numbers(picker.pick(tree.set, retained: retained, beside: claims)) == nil)
        claims.release(claim)
        #expect(numbers(picker.pick(tree.set, retained: retained, beside: claims)) == [1, 3], "as it was")
    }

    @Test func whereTheFullestLevelIsTakenTheNextOneGives() {
        var tree = Tree()
        for _ in 0..<6 { tree.add(0, 0...9, bytes: 10) }
        tree.add(1, 0...9, bytes: 50)
        tree.add(2, 50...99, bytes: 1500)
        tree.add(3, 60...80, bytes: 10)
        var claims = CompactionClaims()
        _ = claims.take(picker.pick(tree.set, retained: retained, beside: claims)!)
        #expect(claims.takesLevel0)
        let second = picker.pick(tree.set, retained: retained, beside: claims)
        #expect(numbers(second) == [8, 9])
        _ = claims.take(second!)
        // Two more tables arrive in level 0: they wait until the ones before them are down.
        tree.add(0, 0...9, bytes: 10)
        tree.add(0, 0...9, bytes: 10)
        #expect(picker.score(of: 0, in: tree.set, beside: claims) == 1)
        #expect(numbers(picker.pick(tree.set, retained: retained, beside: claims)) == nil)
    }

    @Test func aLevelWhoseSurplusIsOnItsWayIsNotFull() {
        var tree = Tree()
        tree.add(1, 0...9, bytes: 60)
        tree.add(1, 20...29, bytes: 60)
        var claims = CompactionClaims()
        _ = claims.take(picker.pick(tree.set, retained: retained, beside: claims)!)
        #expect(numbers(picker.pick(tree.set, retained: retained, beside: claims)) == nil)
    }

    @Test func whatLevel0WaitsForIsNotTakenByALessFullLevel() {
        var tree = Tree()
        tree.add(1, 0...9, bytes: 150)
        tree.add(1, 20...29, bytes: 150)
        tree.add(2, 70...79, bytes: 1200)
        var claims = CompactionClaims()
        _ = claims.take(picker.pick(tree.set, retained: retained, beside: claims)!)
        // Level 0 is now in greater need, and one of the tables that it overlaps is gone for the moment.
        for _ in 0..<8 { tree.add(0, 0...29, bytes: 10) }
        #expect(numbers(picker.pick(tree.set, retained: retained, beside: claims)) == [3], "not the other of level 1")
    }

    @Test(arguments: 1...60 as ClosedRange<UInt64>)
    func noTableIsPickedTwiceAndNoTwoWriteIntoTheSameKeysOfALevel(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var tree = Tree()
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            let from = UInt8.random(in: 0...200, using: &random)
            tree.add(0, from...(from + UInt8.random(in: 0...50, using: &random)), bytes: 20)
        }
        for level in 1...4 {
            var from = 0
            while from < 230 {
                from += Int.random(in: 1...15, using: &random)
                let to = from + Int.random(in: 0...10, using: &random)
                tree.add(level, UInt8(from)...UInt8(to), bytes: UInt64.random(in: 10...500, using: &random))
                from = to
            }
        }
        var claims = CompactionClaims()
        var picked: [Compaction] = []
        while let next = picker.pick(tree.set, retained: retained, beside: claims) {
            for other in picked {
                #expect(Set(numbers(other)!).isDisjoint(with: numbers(next)!), "seed \(seed)")
                #expect(other.outputLevel != next.outputLevel || !other.range.overlaps(next.range), "seed \(seed)")
            }
            _ = claims.take(next)
            picked.append(next)
        }
        #expect(picked.count > 1, "seed \(seed)")
        #expect(picked.filter(\.takesLevel0).count <= 1, "seed \(seed)")
    }
}
