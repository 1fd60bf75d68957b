import Synchronization

/// Decoded blocks of all engines of a process, the most used kept, bounded in bytes.
///
/// Sixteen shards with a lock each; within one, the clock algorithm: a hand goes round and takes what was not used since
/// it last came by. Index and filter blocks belong to their open table and are not evicted, but count.
public final class BlockCache: Sendable {
    /// A table's number in the cache is given when it is opened and never again, so no block of another file, or of an
    /// earlier file of the same name, can be mistaken for its own.
    struct Key: Hashable {
        var table: UInt64
        var offset: UInt64

        /// A number whose bits all depend on both.
        @inline(__always)
        var mixed: UInt64 {
            var mixed = (table &* 0x9E37_79B9_7F4A_7C15) ^ (offset &* 0xC2B2_AE3D_27D4_EB4F)
            mixed ^= mixed >> 29
            return mixed &* 0xBF58_476D_1CE4_E5B9
        }
    }

    private struct Slot {
        var key: Key
        var block: ArraySlice<UInt8>
        var bytes: Int
        var isRecent: Bool
        var isFree: Bool
    }

    private struct Shard {
        var places = BlockPlaces()
        var slots: [Slot] = []
        var free: [Int] = []
        var hand = 0
        var bytes = 0
        var hits: UInt64 = 0
        var misses: UInt64 = 0
    }

    private static let shardCount = 16
    /// What an entry costs beside its block.
    private static let overheadBytes = 128

    public let capacityBytes: Int
    private let shards: [LockedShard]
    private let pinned = Atomic<Int>(0)
    private let tables = Atomic<UInt64>(0)

    private final class LockedShard: Sendable {
        let shard = Mutex(Shard())
    }

    public init(capacityBytes: Int) {
        self.capacityBytes = max(0, capacityBytes)
        shards = (0..<Self.shardCount).map { _ in LockedShard() }
    }

    func makeTableNumber() -> UInt64 { tables.add(1, ordering: .relaxed).newValue }

    /// Counts memory that an open table holds on to; negative when it lets go.
    func pin(_ bytes: Int) { pinned.add(bytes, ordering: .relaxed) }

    private func shard(of key: Key) -> LockedShard {
        shards[Int(key.mixed >> 60)]
    }

    func block(_ key: Key) -> ArraySlice<UInt8>? {
        shard(of: key).shard.withLock { shard -> ArraySlice<UInt8>? in
            guard let place = shard.places[key] else {
                shard.misses &+= 1
                return nil
            }
            shard.hits &+= 1
            shard.slots[place].isRecent = true
            return shard.slots[place].block
        }
    }

    func insert(_ block: ArraySlice<UInt8>, _ key: Key) {
        let room = max(0, capacityBytes - pinned.load(ordering: .relaxed)) / Self.shardCount
        let bytes = block.count + Self.overheadBytes
        guard bytes <= room else { return }
        shard(of: key).shard.withLock { shard in
            guard shard.places[key] == nil else { return }
            while shard.bytes + bytes > room { Self.evictOne(&shard) }
            let slot = Slot(key: key, block: block, bytes: bytes, isRecent: false, isFree: false)
            if let place = shard.free.popLast() {
                shard.slots[place] = slot
                shard.places.insert(key, at: place)
            } else {
                shard.places.insert(key, at: shard.slots.count)
                shard.slots.append(slot)
            }
            shard.bytes += bytes
        }
    }

    private static func evictOne(_ shard: inout Shard) {
        while true {
            if shard.hand >= shard.slots.count { shard.hand = 0 }
            let place = shard.hand
            shard.hand += 1
            if shard.slots[place].isFree { continue }
            if shard.slots[place].isRecent {
                shard.slots[place].isRecent = false
                continue
            }
            shard.places.remove(shard.slots[place].key)
            shard.bytes -= shard.slots[place].bytes
            shard.slots[place].isFree = true
            shard.slots[place].block = []
            shard.free.append(place)
            return
        }
    }

    /// Forgets the blocks of a table that is no more.
    func removeAll(ofTable table: UInt64, offsets: some Sequence<UInt64>) {
        for offset in offsets {
            let key = Key(table: table, offset: offset)
            shard(of: key).shard.withLock { shard in
                guard let place = shard.places.remove(key) else { return }
                shard.bytes -= shard.slots[place].bytes
                shard.slots[place].isFree = true
                shard.slots[place].block = []
                shard.free.append(place)
            }
        }
    }

    /// Bytes that open tables hold on to: indexes, filters and range deletions.
    public var pinnedBytes: Int { pinned.load(ordering: .relaxed) }

    /// Bytes held, with those of open tables.
    public var usedBytes: Int {
        shards.reduce(pinned.load(ordering: .relaxed)) { $0 + $1.shard.withLock { $0.bytes } }
    }

    public var hits: UInt64 { shards.reduce(0) { $0 + $1.shard.withLock { $0.hits } } }
    public var misses: UInt64 { shards.reduce(0) { $0 + $1.shard.withLock { $0.misses } } }
}
