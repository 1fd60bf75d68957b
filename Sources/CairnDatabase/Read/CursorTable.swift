import CairnBSON
import CairnQuery
import CairnStorage

/// A query that was not read to its end, at the version at which it began.
final class OpenCursor {
    let collection: CollectionID
    let version: Version
    let stream: any DocumentStream
    /// Read already, to know that the cursor is not at its end.
    var pending: Document?
    var lastUsed: UInt64

    init(collection: CollectionID, version: Version, stream: any DocumentStream, pending: Document?, lastUsed: UInt64) {
        self.collection = collection
        self.version = version
        self.stream = stream
        self.pending = pending
        self.lastUsed = lastUsed
    }
}

/// The open cursors of one replica. Their number is bounded, and one that nobody asks for is closed after a while.
///
/// - Invariant: the engine retains the version of each cursor exactly as long as the cursor is here.
final class CursorTable {
    private let options: GroupDatabaseOptions
    private var cursors: [Int64: OpenCursor] = [:]
    private var state: UInt64

    init(options: GroupDatabaseOptions) {
        self.options = options
        state = options.cursorSeed
    }

    var count: Int { cursors.count }

    /// Takes a cursor in and returns its id.
    ///
    /// - Throws: ``QueryError`` when there are too many, ``StorageError`` when the version is no longer kept.
    func add(_ cursor: OpenCursor, engine: Engine) throws -> Int64 {
        if cursors.count >= options.cursorsMax {
            closeIdle(now: cursor.lastUsed, engine: engine)
            guard cursors.count < options.cursorsMax else {
                throw QueryError(.exceededMemoryLimit, "too many open cursors in this group: \(cursors.count)")
            }
        }
        try engine.retain(cursor.version)
        while true {
            let id = nextID()
            if id != 0, cursors[id] == nil {
                cursors[id] = cursor
                return id
            }
        }
    }

    subscript(_ id: Int64) -> OpenCursor? { cursors[id] }

    /// - Returns: whether there was such a cursor.
    @discardableResult
    func remove(_ id: Int64, engine: Engine) -> Bool {
        guard let cursor = cursors.removeValue(forKey: id) else { return false }
        engine.release(cursor.version)
        return true
    }

    func removeAll(engine: Engine) {
        for cursor in cursors.values { engine.release(cursor.version) }
        cursors = [:]
    }

    /// Closes cursors of a collection that was dropped.
    func removeAll(of collection: CollectionID, engine: Engine) {
        for (id, cursor) in cursors where cursor.collection == collection { remove(id, engine: engine) }
    }

    func closeIdle(now: UInt64, engine: Engine) {
        for (id, cursor) in cursors where cursor.lastUsed + options.cursorIdleMillisecondsMax < now {
            remove(id, engine: engine)
        }
    }

    /// SplitMix64 over a seed of the process, so that the ids of two replicas, or of two lives of one, do not meet.
    private func nextID() -> Int64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return Int64((mixed ^ (mixed >> 31)) >> 1)
    }
}
