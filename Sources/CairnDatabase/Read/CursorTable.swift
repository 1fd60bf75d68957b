import CairnBSON
import CairnQuery
import CairnStorage
import Synchronization

/// A query that was not read to its end, at the version at which it began. Its next documents may be read on any thread.
final class OpenCursor: Sendable {
    let collection: CollectionID
    let version: Version
    /// Bytes of documents in one batch; the document that crosses the line is the last.
    let bytesMax: Int
    /// Ends a read that is under way, and with it the cursor.
    let interruption: Interruption
    /// Whether the query needed long for its first batch.
    let isLong: Bool
    private let reading: Mutex<Reading>

    private struct Reading {
        let stream: any DocumentStream
        /// Read already, to know that the cursor is not at its end.
        var pending: Document?
    }

    init(
        collection: CollectionID, version: Version, bytesMax: Int, isLong: Bool = false,
        interruption: Interruption = Interruption(),
        stream: sending any DocumentStream
    ) {
        self.collection = collection
        self.version = version
        self.bytesMax = bytesMax
        self.interruption = interruption
        self.isLong = isLong
        reading = Mutex(Reading(stream: stream, pending: nil))
    }

    /// Reads up to `count` documents.
    ///
    /// - Throws: what the stream throws; what was read before is lost then, so that the cursor cannot go on.
    func batch(count: Int) throws -> (documents: [Document], isExhausted: Bool) {
        guard count > 0 else { return ([], false) }
        return try reading.withLock { reading in
            var documents: [Document] = []
            var bytes = 0
            while let document = try reading.pending ?? reading.stream.next() {
                reading.pending = nil
                documents.append(document)
                bytes += document.byteCount
                if documents.count >= count || bytes >= bytesMax {
                    reading.pending = try reading.stream.next()
                    return (documents, reading.pending == nil)
                }
            }
            return (documents, true)
        }
    }

    /// Lets the documents that follow cost what they cost.
    func liftLimit() {
        reading.withLock { $0.stream.liftLimit() }
    }
}

/// The open cursors of one replica. Their number is bounded, and one that nobody asks for is closed after a while.
///
/// - Invariant: the engine retains the version of each cursor exactly as long as the cursor is here.
final class CursorTable {
    private let options: GroupDatabaseOptions
    private var cursors: [Int64: Entry] = [:]
    private var state: UInt64

    private struct Entry {
        let cursor: OpenCursor
        var lastUsed: UInt64
    }

    init(options: GroupDatabaseOptions) {
        self.options = options
        state = options.cursorSeed
    }

    var count: Int { cursors.count }

    /// Takes a cursor in and returns its id.
    ///
    /// - Parameter now: milliseconds of the clock that never jumps.
    ///
    /// - Throws: ``QueryError`` when there are too many, ``StorageError`` when the version is no longer kept.
    func add(_ cursor: OpenCursor, now: UInt64, engine: Engine) throws -> Int64 {
        if cursors.count >= options.cursorsMax {
            closeIdle(now: now, engine: engine)
            guard cursors.count < options.cursorsMax else {
                throw QueryError(.exceededMemoryLimit, "too many open cursors in this group: \(cursors.count)")
            }
        }
        try engine.retain(cursor.version)
        while true {
            let id = nextID()
            if id != 0, cursors[id] == nil {
                cursors[id] = Entry(cursor: cursor, lastUsed: now)
                return id
            }
        }
    }

    /// The cursor, for another batch.
    func use(_ id: Int64, now: UInt64) -> OpenCursor? {
        cursors[id]?.lastUsed = now
        return cursors[id]?.cursor
    }

    /// - Returns: whether there was such a cursor.
    @discardableResult
    func remove(_ id: Int64, engine: Engine) -> Bool {
        guard let entry = cursors.removeValue(forKey: id) else { return false }
        engine.release(entry.cursor.version)
        return true
    }

    func removeAll(engine: Engine) {
        for entry in cursors.values { engine.release(entry.cursor.version) }
        cursors = [:]
    }

    /// Closes cursors of a collection that was dropped.
    func removeAll(of collection: CollectionID, engine: Engine) {
        for (id, entry) in cursors where entry.cursor.collection == collection { remove(id, engine: engine) }
    }

    func closeIdle(now: UInt64, engine: Engine) {
        for (id, entry) in cursors where entry.lastUsed + options.cursorIdleMillisecondsMax < now {
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
