import CairnDefects
import CairnFiles
import CairnRaft
import Synchronization

/// One log for all Raft groups of a node: a sequence of segments, one append and one sync for everything that waits.
///
/// A segment is a record log (`CairnFiles`) named by its number. Records say whose they are; a group's records, taken in
/// the order of the log, give its hard state and entries. Only the oldest segment is ever given up, once no group needs
/// a record in it or the few that are needed have been written again at the end, so replay never meets a record whose
/// successors are gone.
///
/// Two halves share it. The *writer* (``append(_:)``, ``synchronize()``, one thread at a time: the log thread) owns the files.
/// *Loops* hold a ``GroupLog`` per group, which answers nearly everything from memory and comes here only to read old
/// entries. The directory of where everything lies is behind one short lock, never held over I/O.
///
/// - Invariant: segment numbers on the disk have no gaps; a named segment has a good header, which says where the segment
///   before it ends, so that a segment cut short is told from one that was never longer.
/// - Invariant: a life of a segment is written once from front to back and never reopened; a start begins a new segment.
public final class SharedLog: Sendable {
    static let kind = RecordLogHeader.Kind("RAFT")
    /// Bytes staged at which a write is made, so that memory stays bounded however much waits.
    static let stagedBytesMax = 4 << 20

    public let directoryPath: String
    public let options: SharedLogOptions
    let fileSystem: any FileSystem
    let lock: any FileLock
    let directory: Mutex<LogDirectory>
    let writer: Mutex<WriterState>
    private let outOfSpace = Atomic(false)

    /// What only the writing thread touches.
    struct WriterState {
        var segment: RecordLogWriter
        var number: UInt32
        var spares: [String]
        var sparesMade: UInt64
        /// A spare that is being filled with zeros, and how far.
        var filling: (file: any WritableFile, path: String, bytes: UInt64)?
        /// What the directory must learn once the staged records are written.
        var updates: [Update] = []
        var mayReclaim = false
        /// Where the segment ended when it was last marked (``SharedLog/markSynced()``).
        var marked: UInt64 = 0
        /// After this nothing more is written.
        var failure: SharedLogError?
    }

    enum Update {
        case entries(GroupID, UInt32, first: LogIndex, [EntryPlace])
        case relocated(GroupID, UInt32, LogIndex, EntryPlace)
        case hardState(GroupID, UInt32, HardState, segment: UInt32)
        case state(GroupID, UInt32, StateRecord, segment: UInt32)
        case purge(GroupID, UInt32, LogPosition)
        case reset(GroupID, UInt32, StateRecord, segment: UInt32)
        case destroyed(GroupID, UInt32)
    }

    init(
        directoryPath: String, options: SharedLogOptions, fileSystem: any FileSystem, lock: any FileLock,
        directory: LogDirectory, writer: WriterState
    ) {
        self.directoryPath = directoryPath
        self.options = options
        self.fileSystem = fileSystem
        self.lock = lock
        self.directory = Mutex(directory)
        self.writer = Mutex(writer)
    }

    // MARK: Groups

    /// The groups that have records, with what was found wrong with them.
    public var groups: [GroupID: GroupDamage?] {
        directory.withLock { directory in
            directory.groups.compactMapValues { $0.isDestroyed ? nil : .some($0.damage) }
        }
    }

    /// The log of `group`, for the loop that it lives on; a new and empty one if the node has none or has destroyed it.
    ///
    /// Call once per life of a group: two ``GroupLog``s of one group would contradict each other.
    public func open(_ group: GroupID) -> GroupLog {
        let records = directory.withLock { directory -> GroupRecords in
            if let known = directory.groups[group], !known.isDestroyed, known.incarnation > directory.ended[group] ?? 0
            {
                return known
            }
            // The directory learns of it with its first record, when its predecessor's end is written.
            let incarnation = max(directory.groups[group]?.incarnation ?? 0, directory.ended[group] ?? 0) + 1
            precondition(incarnation <= LogRecordTag.incarnationMax, "\(group) was created \(incarnation) times")
            return GroupRecords(incarnation: incarnation)
        }
        return GroupLog(log: self, group: group, records: records, cacheBytesMax: options.cacheBytesPerGroup)
    }

    /// The group's destruction has been ordered: whoever opens its number from here on gets a new life of it.
    func markEnded(_ group: GroupID, _ incarnation: UInt32) {
        directory.withLock { $0.ended[group] = incarnation }
    }

    public var statistics: SharedLogStatistics {
        directory.withLock { directory in
            SharedLogStatistics(
                segments: directory.segments.count, bytes: directory.segments.reduce(0) { $0 + $1.end },
                oldestSegmentHolders: directory.segments.first?.live ?? [:])
        }
    }

    // MARK: Writing

    /// Writes `batches` one after another, in as few writes as possible.
    ///
    /// The bytes are in the kernel, not on the disk: ``synchronize()`` before telling anyone.
    ///
    /// - Throws: ``SharedLogError``. After `outOfSpace` the same call may be repeated (what was written of it before is
    ///   written over); every other error is final.
    public func append(_ batches: [LogBatch]) throws(SharedLogError) {
        do throws(SharedLogError) {
            try write(batches)
            outOfSpace.store(false, ordering: .relaxed)
        } catch {
            if error.code == .outOfSpace { outOfSpace.store(true, ordering: .relaxed) }
            throw error
        }
    }

    /// Whether the last append found no room; it has to be repeated then.
    public var isOutOfSpace: Bool { outOfSpace.load(ordering: .relaxed) }

    private func write(_ batches: [LogBatch]) throws(SharedLogError) {
        try writer.withLock { state throws(SharedLogError) in
            if let failure = state.failure { throw failure }
            for batch in batches {
                for item in batch.items { try stage(item, &state) }
            }
            try flush(&state)
            if state.mayReclaim {
                state.mayReclaim = false
                try reclaim(&state)
            }
        }
    }

    /// Writes one batch; see ``append(_:)-([LogBatch])``.
    public func append(_ batch: LogBatch) throws(SharedLogError) {
        try append([batch])
    }

    /// Returns once everything that was appended is on the disk.
    public func synchronize() throws(SharedLogError) {
        try writer.withLock { state throws(SharedLogError) in
            if let failure = state.failure { throw failure }
            try sync(&state)
        }
    }

    /// Puts on record that everything so far is on the disk: a tail that is bad at the next start is damage then, not torn.
    ///
    /// A record says how far the log was synced when it was written, so only a later one vouches for it. For the time when none
    /// comes; costs a record and a sync, and nothing if no record came since the last mark.
    public func markSynced() throws(SharedLogError) {
        try writer.withLock { state throws(SharedLogError) in
            if let failure = state.failure { throw failure }
            try mark(&state)
        }
    }

    private func mark(_ state: inout WriterState) throws(SharedLogError) {
        // A segment that found no room is given up; the next one's header says where it ends.
        guard !state.segment.hasFailed, state.segment.position > UInt64(RecordLogHeader.byteCount),
            state.segment.position != state.marked
        else { return }
        try sync(&state)
        state.segment.stage(tag: LogRecordTag(.synced, GroupID(0), 0).rawValue, capacity: 1) { $0.append(0) }
        try flush(&state)
        try sync(&state)
        state.marked = state.segment.position
    }

    /// Syncs and closes the log in order.
    public func close() throws(SharedLogError) {
        try writer.withLock { state throws(SharedLogError) in
            guard state.failure == nil else { return lock.release() }
            defer {
                state.failure = SharedLogError(.closed)
                lock.release()
            }
            try sync(&state)
            try mark(&state)
        }
    }

    private func stage(_ item: LogBatch.Item, _ state: inout WriterState) throws(SharedLogError) {
        let group = item.group
        let incarnation = item.incarnation
        switch item.operation {
        case .hardState(let hardState):
            try stageRecord(.hardState, group, incarnation, bytes: HardStateRecord.byteCount, &state) {
                HardStateRecord.append(hardState, to: &$0)
            }
            state.updates.append(.hardState(group, incarnation, hardState, segment: state.number))
        case .entries(let entries):
            var places: [EntryPlace] = []
            places.reserveCapacity(entries.count)
            var first = entries[0].index
            for entry in entries {
                let number = state.number
                let bytes = EntryRecord.headBytes + entry.payload.count
                if try makeRoom(for: bytes, &state) || state.number != number, !places.isEmpty {
                    // What is written is known to the directory before it goes on.
                    noteFlushed([.entries(group, incarnation, first: first, places)])
                    places.removeAll(keepingCapacity: true)
                    first = entry.index
                }
                let offset = state.segment.stage(
                    tag: LogRecordTag(.entry, group, incarnation).rawValue, capacity: bytes
                ) { EntryRecord.append(entry, to: &$0) }
                places.append(
                    EntryPlace(
                        term: entry.term, segment: state.number, offset: offset, payloadBytes: entry.payload.count,
                        isSealed: state.segment.cipher != nil))
            }
            state.updates.append(.entries(group, incarnation, first: first, places))
        case .purge(let position):
            state.updates.append(.purge(group, incarnation, position))
            state.mayReclaim = true
        case .reset(let position, let hardState):
            let record = StateRecord(hardState: hardState, base: position)
            try stageRecord(.reset, group, incarnation, bytes: StateRecord.byteCount, &state) {
                record.append(to: &$0)
            }
            state.updates.append(.reset(group, incarnation, record, segment: state.number))
            state.mayReclaim = true
        case .destroy:
            try stageRecord(.destroyed, group, incarnation, bytes: 1, &state) { $0.append(0) }
            state.updates.append(.destroyed(group, incarnation))
            state.mayReclaim = true
        }
    }

    func stageRecord(
        _ kind: LogRecordKind, _ group: GroupID, _ incarnation: UInt32, bytes: Int, _ state: inout WriterState,
        _ build: (inout [UInt8]) -> Void
    ) throws(SharedLogError) {
        _ = try makeRoom(for: bytes, &state)
        state.segment.stage(tag: LogRecordTag(kind, group, incarnation).rawValue, capacity: bytes, build)
    }

    /// What a record with a body of `bytes` takes in the segment that is written.
    func recordBytes(bodyBytes bytes: Int, _ state: borrowing WriterState) -> Int {
        RecordLogWriter.recordBytes(bodyBytes: bytes, isSealed: state.segment.cipher != nil)
    }

    /// Flushes when much is staged, and goes on to the next segment when this one is full. True if it flushed.
    func makeRoom(for bytes: Int, _ state: inout WriterState) throws(SharedLogError) -> Bool {
        if state.segment.hasFailed {
            // The disk was full, and the last write did not fit; there may be room now.
            try rotate(&state)
            return true
        }
        let end = state.segment.nextPosition + UInt64(recordBytes(bodyBytes: bytes, state))
        if end > UInt64(options.segmentBytes), state.segment.nextPosition > UInt64(RecordLogHeader.byteCount) {
            try flush(&state)
            try rotate(&state)
            state.mayReclaim = true
            return true
        }
        guard state.segment.stagedBytes >= Self.stagedBytesMax else { return false }
        try flush(&state)
        return true
    }

    /// One write for everything that is staged; then the directory learns of it.
    func flush(_ state: inout WriterState) throws(SharedLogError) {
        do throws(FileError) {
            try state.segment.writeStaged()
        } catch {
            state.updates.removeAll()
            guard error.code == .outOfSpace else {
                state.failure = SharedLogError(.writeFailed, error)
                throw state.failure!
            }
            // What may have been written of it goes; the next append takes a new segment.
            do throws(FileError) {
                try state.segment.retire()
            } catch {
                state.failure = SharedLogError(.writeFailed, error)
                throw state.failure!
            }
            throw SharedLogError(.outOfSpace, error)
        }
        let updates = state.updates
        state.updates.removeAll(keepingCapacity: true)
        let end = state.segment.position
        directory.withLock { directory in
            directory.segments[directory.segments.count - 1].end = end
            for update in updates { directory.apply(update) }
        }
    }

    private func noteFlushed(_ updates: [Update]) {
        directory.withLock { directory in
            for update in updates { directory.apply(update) }
        }
    }

    func sync(_ state: inout WriterState) throws(SharedLogError) {
        if options.defects.contains(.skipLogSync) { return }
        do throws(FileError) {
            try state.segment.synchronize()
        } catch {
            state.failure = SharedLogError(.syncFailed, error)
            throw state.failure!
        }
    }
}

extension LogDirectory {
    mutating func apply(_ update: SharedLog.Update) {
        switch update {
        case .entries(let group, let incarnation, let first, let places):
            noteEntries(group, incarnation, first: first, places)
        case .relocated(let group, let incarnation, let index, let place):
            noteRelocated(group, incarnation, index, place)
        case .hardState(let group, let incarnation, let hardState, let segment):
            noteHardState(group, incarnation, hardState, segment: segment)
        case .state(let group, let incarnation, let state, let segment):
            noteState(group, incarnation, state, segment: segment)
        case .purge(let group, let incarnation, let position):
            notePurge(group, incarnation, position)
        case .reset(let group, let incarnation, let state, let segment):
            noteReset(group, incarnation, state, segment: segment)
        case .destroyed(let group, let incarnation):
            noteDestroyed(group, incarnation)
        }
    }
}
