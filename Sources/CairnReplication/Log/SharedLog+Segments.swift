import CairnDefects
import CairnFiles
import CairnRaft

/// The life of segments: begun, sealed, copied forward from, recycled.
extension SharedLog {
    static func segmentName(_ number: UInt32) -> String {
        let digits = String(number)
        return "segment-" + String(repeating: "0", count: max(0, 10 - digits.count)) + digits
    }

    static func segmentNumber(_ name: String) -> UInt32? {
        guard name.hasPrefix("segment-"), !name.hasSuffix(".new") else { return nil }
        return UInt32(name.dropFirst("segment-".count))
    }

    static let sparePrefix = "spare-"

    /// Begins segment `number`, in the place of a spare if there is one.
    static func begin(
        _ number: UInt32, previousEnd: UInt64, in directoryPath: String, spares: inout [String], fill: Int,
        fileSystem: any FileSystem
    ) throws(FileError) -> RecordLogWriter {
        let path = directoryPath + "/" + segmentName(number)
        let header = RecordLogHeader(
            kind: kind, number: UInt64(number), fileID: fileSystem.makeFileID(), note: previousEnd)
        if let spare = spares.popLast() {
            return try RecordLogWriter.recycle(spare, as: path, header: header, syncsEachWrite: true, in: fileSystem)
        }
        return try RecordLogWriter.create(
            path, header: header, preallocate: fill, syncsEachWrite: true, in: fileSystem)
    }

    /// Seals the segment that is written and begins the next.
    func rotate(_ state: inout WriterState) throws(SharedLogError) {
        // The next segment's header vouches for everything in this one.
        if !state.segment.hasFailed { try sync(&state) }
        let number = state.number + 1
        let spares = state.spares
        do throws(FileError) {
            let next = try Self.begin(
                number, previousEnd: state.segment.position, in: directoryPath, spares: &state.spares, fill: 0,
                fileSystem: fileSystem)
            try? state.segment.close()
            state.segment = next
            state.number = number
            state.marked = 0
        } catch {
            guard error.code == .outOfSpace else {
                state.failure = SharedLogError(.writeFailed, error)
                throw state.failure!
            }
            state.spares = spares
            throw SharedLogError(.outOfSpace, error)
        }
        let segment = LogSegment(
            number: number, path: state.segment.path, fileID: state.segment.header.fileID,
            cipher: state.segment.cipher, end: state.segment.position)
        directory.withLock { $0.segments.append(segment) }
    }

    /// Gives up segments from the oldest on, as long as nobody needs them or what is needed is little.
    func reclaim(_ state: inout WriterState) throws(SharedLogError) {
        while true {
            let current = state.number
            let oldest = directory.withLock { directory -> LogSegment? in
                guard let oldest = directory.segments.first, oldest.number != current, oldest.pins == 0 else {
                    return nil
                }
                if oldest.liveBytes > 0, !options.defects.contains(.giveUpSegmentInUse) {
                    let few = oldest.liveBytes <= options.segmentBytes / options.copiedPartDivisor
                    guard directory.segments.count > options.segmentsBeforeCopying,
                        few || directory.isMostlyDead(options)
                    else { return nil }
                }
                return oldest
            }
            guard let oldest else { return }
            do throws(SharedLogError) {
                if !options.defects.contains(.giveUpSegmentInUse) { try copyForward(from: oldest, &state) }
            } catch {
                // Without room the segment stays; writes may still find room in the present one.
                if error.code == .outOfSpace { return }
                throw error
            }
            guard try release(oldest, &state) else { return }
        }
    }

    /// Writes again, at the end, what `segment` holds and some group needs: entries, hard states, purge points.
    func copyForward(from segment: LogSegment, _ state: inout WriterState) throws(SharedLogError) {
        let needed = directory.withLock { directory in
            directory.groups.filter { group, records in
                !records.isDestroyed
                    && (records.hardStateSegment == segment.number || records.baseSegment == segment.number
                        || records.recordedBase != records.base || segment.live[group] != nil)
            }
        }
        for (group, records) in needed.sorted(by: { $0.key < $1.key }) {
            let moved = segment.live[group] != nil
            let record = StateRecord(hardState: records.hardState, base: records.base, damage: records.damage)
            try stageRecord(.state, group, records.incarnation, bytes: StateRecord.byteCount, &state) {
                record.append(to: &$0)
            }
            state.updates.append(.state(group, records.incarnation, record, segment: state.number))
            guard moved else { continue }
            for (offset, place) in records.places.enumerated() where place.segment == segment.number {
                try relocate(group, records.incarnation, records.base.index + 1 + offset, place, &state)
            }
        }
        try flush(&state)
        try sync(&state)
    }

    private func relocate(
        _ group: GroupID, _ incarnation: UInt32, _ index: LogIndex, _ place: EntryPlace, _ state: inout WriterState
    ) throws(SharedLogError) {
        guard let entry = try? read([place], of: group).first, entry.index == index else {
            // The damage is this group's alone; the others' records move on.
            directory.withLock { directory in
                guard directory.groups[group]?.incarnation == incarnation else { return }
                directory.groups[group]!.damage = GroupDamage(
                    file: directoryPath + "/" + Self.segmentName(place.segment), offset: place.offset,
                    hardStateIsLost: false, reason: "entry \(index) cannot be read")
            }
            return
        }
        let bytes = EntryRecord.headBytes + entry.payload.count
        try stageRecord(.relocatedEntry, group, incarnation, bytes: bytes, &state) {
            EntryRecord.append(entry, to: &$0)
        }
        let end = state.segment.nextPosition
        let offset = end - UInt64(recordBytes(bodyBytes: bytes, state))
        let target = EntryPlace(
            term: entry.term, segment: state.number, offset: offset, payloadBytes: entry.payload.count,
            isSealed: state.segment.cipher != nil)
        state.updates.append(.relocated(group, incarnation, index, target))
    }

    /// Takes `segment` out of the log and keeps its file as a spare. False if it is needed after all.
    func release(_ segment: LogSegment, _ state: inout WriterState) throws(SharedLogError) -> Bool {
        let mayGo = directory.withLock { directory in
            guard directory.segments.first?.number == segment.number, directory.segments[0].pins == 0,
                directory.segments[0].liveBytes == 0 || options.defects.contains(.giveUpSegmentInUse)
            else { return false }
            directory.segments.removeFirst()
            return true
        }
        guard mayGo else { return false }
        do throws(FileError) {
            if state.spares.count < options.sparesMax, hasRoomForSpares {
                state.sparesMade += 1
                let spare = directoryPath + "/" + Self.sparePrefix + String(state.sparesMade)
                try fileSystem.rename(segment.path, to: spare)
                // Before the file is written over, no name may say that it is still this segment.
                try fileSystem.synchronizeDirectory(directoryPath)
                state.spares.append(spare)
            } else {
                try fileSystem.remove(segment.path)
                try fileSystem.synchronizeDirectory(directoryPath)
            }
        } catch {
            state.failure = SharedLogError(.writeFailed, error)
            throw state.failure!
        }
        return true
    }

    private var hasRoomForSpares: Bool {
        Self.hasRoomForSpares(in: directoryPath, options, fileSystem)
    }

    /// Whether the disk is so far from full that a segment more or less does not matter.
    static func hasRoomForSpares(
        in directoryPath: String, _ options: SharedLogOptions, _ fileSystem: any FileSystem
    ) -> Bool {
        guard let free = try? fileSystem.freeSpace(at: directoryPath) else { return true }
        return free >= options.spaceReserveBytes + 2 * UInt64(options.segmentBytes)
    }

    /// Does a small part of getting a spare segment ready; false when there is nothing left to do.
    ///
    /// For the log thread while nobody waits: at most one mebibyte of zeros and a sync.
    public func prepareSpare() -> Bool {
        writer.withLock { state in
            guard options.fillsAhead, state.failure == nil else { return false }
            do throws(FileError) {
                if state.filling == nil {
                    guard state.spares.isEmpty, hasRoomForSpares else { return false }
                    state.sparesMade += 1
                    let path = directoryPath + "/" + Self.sparePrefix + String(state.sparesMade)
                    state.filling = (try fileSystem.create(path), path, 0)
                }
                guard let (file, path, bytes) = state.filling else { return false }
                let part = min(UInt64(options.segmentBytes) - bytes, 1 << 20)
                try file.write([UInt8](repeating: 0, count: Int(part)), at: bytes)
                try file.synchronizeData()
                state.filling!.bytes += part
                if bytes + part < UInt64(options.segmentBytes) { return true }
                state.filling = nil
                state.spares.append(path)
                try file.close()
            } catch {
                // It was a convenience; without it, segments grow as they are written.
                if let path = state.filling?.path { try? fileSystem.remove(path) }
                state.filling = nil
            }
            return false
        }
    }
}

extension LogDirectory {
    /// Whether the log has grown long and less than half of it is needed: then even a full segment is worth copying, for it
    /// will not be the oldest again before the whole log has been written once more.
    fileprivate func isMostlyDead(_ options: SharedLogOptions) -> Bool {
        guard segments.count > 2 * options.segmentsBeforeCopying else { return false }
        var bytes: UInt64 = 0
        var live: UInt64 = 0
        for segment in segments {
            bytes += segment.end
            live += UInt64(segment.liveBytes)
        }
        return live * 2 < bytes
    }
}
