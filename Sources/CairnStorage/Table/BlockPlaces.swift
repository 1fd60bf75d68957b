/// Where the blocks of a cache's shard stand: a hash table with linear probing, half full at most.
///
/// A dictionary would do, but it guards against chosen keys with a hash that shows in the time of a cached lookup, and
/// nobody can choose where blocks begin in a table.
struct BlockPlaces {
    private struct Cell {
        /// 0 is no table's number.
        var table: UInt64 = 0
        var offset: UInt64 = 0
        var place = 0
    }

    private var cells = [Cell](repeating: Cell(), count: 64)
    private(set) var count = 0

    @inline(__always)
    private var mask: Int { cells.count &- 1 }

    @inline(__always)
    private func home(_ key: BlockCache.Key) -> Int { Int(truncatingIfNeeded: key.mixed) & mask }

    /// The cell of `key`, or the empty one where it would go.
    @inline(__always)
    private func cell(of key: BlockCache.Key) -> Int {
        var index = home(key)
        while cells[index].table != 0, cells[index].table != key.table || cells[index].offset != key.offset {
            index = (index &+ 1) & mask
        }
        return index
    }

    subscript(key: BlockCache.Key) -> Int? {
        @inline(__always) get {
            let cell = cells[cell(of: key)]
            return cell.table == 0 ? nil : cell.place
        }
    }

    /// Adds a key that is not there.
    mutating func insert(_ key: BlockCache.Key, at place: Int) {
        precondition(key.table != 0, "a block of table 0")
        if 2 * (count + 1) > cells.count {
            let old = cells
            cells = [Cell](repeating: Cell(), count: 2 * old.count)
            for moved in old where moved.table != 0 {
                cells[cell(of: BlockCache.Key(table: moved.table, offset: moved.offset))] = moved
            }
        }
        cells[cell(of: key)] = Cell(table: key.table, offset: key.offset, place: place)
        count += 1
    }

    @discardableResult
    mutating func remove(_ key: BlockCache.Key) -> Int? {
        var hole = cell(of: key)
        guard cells[hole].table != 0 else { return nil }
        let place = cells[hole].place
        // What stands behind moves up where the hole would otherwise cut it off from its home.
        var index = hole
        while true {
            index = (index &+ 1) & mask
            let moving = cells[index]
            guard moving.table != 0 else { break }
            let wanted = home(BlockCache.Key(table: moving.table, offset: moving.offset))
            guard (index &- wanted) & mask >= (index &- hole) & mask else { continue }
            cells[hole] = moving
            hole = index
        }
        cells[hole] = Cell()
        count -= 1
        return place
    }
}
