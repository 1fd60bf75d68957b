import CairnFiles
import CairnSimulator
import CairnStorage
import CairnTestSupport

/// What an engine must answer: all versions of all keys in a plain dictionary.
struct ReferenceModel {
    private(set) var history: [[UInt8]: [(version: UInt64, value: [UInt8]?)]] = [:]
    private(set) var lastVersion: UInt64 = 0
    private(set) var mark: UInt64 = 0

    mutating func apply(_ batch: WriteBatch, version: UInt64, mark: UInt64) {
        batch.forEach { operation in
            switch operation {
            case .put(let key, let value): set(Array(key), Array(value), version)
            case .delete(let key): set(Array(key), nil, version)
            case .deleteRange(let from, let to):
                for key in history.keys
                where !key.lexicographicallyPrecedes(from) && key.lexicographicallyPrecedes(to) {
                    set(key, nil, version)
                }
            }
        }
        lastVersion = version
        self.mark = mark
    }

    private mutating func set(_ key: [UInt8], _ value: [UInt8]?, _ version: UInt64) {
        var entries = history[key] ?? []
        if entries.last?.version == version { entries.removeLast() }
        entries.append((version, value))
        history[key] = entries
    }

    func value(_ key: [UInt8], at version: UInt64) -> [UInt8]? {
        history[key]?.last { $0.version <= version }?.value
    }

    func contents(at version: UInt64) -> [(key: [UInt8], value: [UInt8])] {
        history.keys.sorted { $0.lexicographicallyPrecedes($1) }
            .compactMap { key in value(key, at: version).map { (key, $0) } }
    }
}

/// The first difference between what `iterator` walks over and `expected`, both ways; nil if there is none.
func difference(_ iterator: EngineIterator, _ expected: [(key: [UInt8], value: [UInt8])]) throws -> String? {
    try iterator.seekToFirst()
    for (place, entry) in expected.enumerated() {
        guard iterator.isValid else { return "ends before entry \(place) of \(expected.count), \(entry.key)" }
        guard Array(iterator.key) == entry.key else {
            return "entry \(place): \(Array(iterator.key)), not \(entry.key)"
        }
        guard Array(iterator.value) == entry.value else { return "value of \(entry.key)" }
        try iterator.next()
    }
    guard !iterator.isValid else { return "goes on after the last entry with \(Array(iterator.key))" }
    try iterator.seekToLast()
    for (place, entry) in expected.enumerated().reversed() {
        guard iterator.isValid else { return "backward: ends after entry \(place), \(entry.key)" }
        guard Array(iterator.key) == entry.key else { return "backward: \(Array(iterator.key)), not \(entry.key)" }
        guard Array(iterator.value) == entry.value else { return "backward: value of \(entry.key)" }
        try iterator.previous()
    }
    guard !iterator.isValid else { return "backward: goes on before the first with \(Array(iterator.key))" }
    return nil
}

/// Draws operations over few keys, so that they meet.
struct Workload {
    var random: SeededGenerator
    var keyCount = 120

    mutating func key() -> [UInt8] {
        // Some share a long beginning, some are prefixes of others, one is empty.
        let number = Int.random(in: 0..<keyCount, using: &random)
        switch number % 4 {
        case 0: return Array("k\(number)".utf8)
        case 1: return [0, 0, 0, 7, 0, 1] + Array("shared-prefix-of-more-than-24-bytes-\(number)".utf8)
        case 2: return Array(repeating: 0x61, count: number / 4)
        default: return [0, 0, 0, 7, 0, 2, UInt8(number)]
        }
    }

    mutating func value() -> [UInt8] {
        let count =
            random.oneIn(10) ? Int.random(in: 200...1500, using: &random) : Int.random(in: 0...60, using: &random)
        // Half of them compress well.
        return random.oneIn(2) ? random.bytes(count) : Array(repeating: UInt8(count & 0xFF), count: count)
    }

    mutating func range() -> (from: [UInt8], to: [UInt8]) {
        let (one, other) = (key(), key())
        return one.lexicographicallyPrecedes(other) ? (one, other) : (other, one)
    }

    mutating func batch() -> WriteBatch {
        var batch = WriteBatch()
        for _ in 0..<Int.random(in: 1...6, using: &random) {
            switch Int.random(in: 0..<20, using: &random) {
            case 0..<14:
                let key = key()
                batch.put(key, value())
            case 14..<19: batch.delete(key())
            default:
                let (from, to) = range()
                batch.deleteRange(from: from, to: to)
            }
        }
        return batch
    }
}

extension EngineOptions {
    /// So small that a few hundred operations fill every level.
    static var tiny: EngineOptions {
        var options = EngineOptions()
        options.memtableBytesMax = 4 << 10
        options.blockBytes = 256
        options.restartInterval = 3
        options.tableBytesMax = 2 << 10
        options.level0Trigger = 2
        options.level1BytesMax = 6 << 10
        options.levelSizeRatio = 3
        return options
    }
}

/// One move of an iterator.
enum WalkStep {
    case seek([UInt8]), seekForPrev([UInt8]), first, last, next, previous

    init(_ work: inout Workload, _ random: inout SeededGenerator) {
        switch Int.random(in: 0..<8, using: &random) {
        case 0: self = .seek(work.key())
        case 1: self = .seekForPrev(work.key())
        case 2: self = .first
        case 3: self = .last
        case 4, 5: self = .next
        default: self = .previous
        }
    }
}

/// The first difference between `iterator` and `contents` when both take `steps`; nil if there is none.
func difference(
    _ iterator: EngineIterator, _ contents: [(key: [UInt8], value: [UInt8])], taking steps: [WalkStep]
) throws -> String? {
    var place: Int? = nil
    for (number, step) in steps.enumerated() {
        switch step {
        case .seek(let key):
            try iterator.seek(to: key[...])
            place = contents.firstIndex { !$0.key.lexicographicallyPrecedes(key) }
        case .seekForPrev(let key):
            try iterator.seekForPrev(key[...])
            place = contents.lastIndex { !key.lexicographicallyPrecedes($0.key) }
        case .first:
            try iterator.seekToFirst()
            place = contents.isEmpty ? nil : 0
        case .last:
            try iterator.seekToLast()
            place = contents.indices.last
        case .next:
            guard let here = place else { continue }
            try iterator.next()
            place = here + 1 < contents.count ? here + 1 : nil
        case .previous:
            guard let here = place else { continue }
            try iterator.previous()
            place = here > 0 ? here - 1 : nil
        }
        guard iterator.isValid == (place != nil) else { return "step \(number), \(step): valid is \(iterator.isValid)" }
        guard let place else { continue }
        guard Array(iterator.key) == contents[place].key, Array(iterator.value) == contents[place].value else {
            return "step \(number), \(step): at \(Array(iterator.key)), not \(contents[place].key)"
        }
    }
    return nil
}
