import CairnFiles
import CairnRaft

/// Opening: reading all segments from the oldest to the newest, and beginning a new one.
extension SharedLog {
    /// Opens the log in `directoryPath`, which it makes if it is missing, and locks it.
    ///
    /// A torn tail is cut. Damage in a record whose frame still says whose it is marks that group (see ``groups`` and
    /// ``GroupLog/damage``) and nobody else. May be interrupted by a power cut at any point and begun again.
    ///
    /// - Throws: ``SharedLogError`` with code `locked`, or `damaged` with file and offset if a segment is missing, has a bad
    ///   header, or has damage that cannot be said to be one group's.
    public static func open(
        directory directoryPath: String, fileSystem: any FileSystem, options: SharedLogOptions = SharedLogOptions()
    ) throws(SharedLogError) -> SharedLog {
        do throws(FileError) {
            try fileSystem.createDirectory(directoryPath)
            let lock = try fileSystem.lock(directoryPath + "/LOCK")
            return try recover(directoryPath, fileSystem, options, lock)
        } catch {
            switch error.code {
            case .locked: throw SharedLogError(.locked, error)
            case .corruption, .truncated, .unsupported: throw SharedLogError(.damaged, error)
            case .outOfSpace: throw SharedLogError(.outOfSpace, error)
            default: throw SharedLogError(error.operation == .synchronize ? .syncFailed : .io, error)
            }
        }
    }

    /// How far the log of each group in `directoryPath` goes. Takes no lock and changes nothing.
    ///
    /// - Throws: ``SharedLogError`` with code `damaged` as ``open(directory:fileSystem:options:)`` does; there are no groups
    ///   where there is no log.
    public static func summaries(
        in directoryPath: String, fileSystem: any FileSystem
    ) throws(SharedLogError) -> [GroupLogSummary] {
        do throws(FileError) {
            guard try fileSystem.exists(directoryPath) else { return [] }
            var directory = LogDirectory()
            try readAll(
                try fileSystem.list(directoryPath).compactMap(segmentNumber).sorted(), directoryPath, fileSystem,
                &directory)
            directory.judgeDamage(directoryPath: directoryPath)
            return directory.groups.filter { !$0.value.isDestroyed }.sorted { $0.key < $1.key }.map { group, records in
                GroupLogSummary(
                    group: group,
                    last: LogPosition(
                        term: records.places.last?.term ?? records.base.term, index: records.last),
                    committed: records.hardState.commit,
                    damage: records.damage.map { "its log is damaged: \($0.file): \($0.reason)" })
            }
        } catch {
            throw SharedLogError([.corruption, .truncated, .unsupported].contains(error.code) ? .damaged : .io, error)
        }
    }

    private static func recover(
        _ directoryPath: String, _ fileSystem: any FileSystem, _ options: SharedLogOptions, _ lock: any FileLock
    ) throws(FileError) -> SharedLog {
        var numbers: [UInt32] = []
        var spares: [String] = []
        var sparesMade: UInt64 = 0
        for name in try fileSystem.list(directoryPath) {
            if let number = segmentNumber(name) {
                numbers.append(number)
            } else if name.hasSuffix(".new") {
                try fileSystem.remove(directoryPath + "/" + name)
            } else if name.hasPrefix(sparePrefix) {
                sparesMade = max(sparesMade, UInt64(name.dropFirst(sparePrefix.count)) ?? 0)
                spares.append(directoryPath + "/" + name)
            }
        }
        // A spare that was being filled is short; what is gained by filling it up is not worth the wait.
        while spares.count > options.sparesMax { try fileSystem.remove(spares.removeLast()) }
        numbers.sort()
        var directory = LogDirectory()
        try readAll(numbers, directoryPath, fileSystem, &directory)
        directory.judgeDamage(directoryPath: directoryPath)

        var number: UInt32 = 1
        var previousEnd: UInt64 = 0
        if let last = directory.segments.last {
            try settleOnDisk(last, fileSystem)
            if last.end == UInt64(RecordLogHeader.byteCount), directory.segments.count > 1 {
                // The last start wrote nothing; its number is free again once the name is durably gone.
                directory.segments.removeLast()
                sparesMade += 1
                let spare = directoryPath + "/" + sparePrefix + String(sparesMade)
                try fileSystem.rename(last.path, to: spare)
                try fileSystem.synchronizeDirectory(directoryPath)
                spares.append(spare)
            }
            number = directory.segments.last!.number + 1
            previousEnd = directory.segments.last!.end
        }
        let fills = options.fillsAhead && hasRoomForSpares(in: directoryPath, options, fileSystem)
        let segment = try begin(
            number, previousEnd: previousEnd, in: directoryPath, spares: &spares,
            fill: fills ? options.segmentBytes : 0, fileSystem: fileSystem)
        directory.segments.append(
            LogSegment(
                number: number, path: segment.path, fileID: segment.header.fileID, cipher: segment.cipher,
                end: segment.position))
        let damaged = directory.groups.filter { $0.value.damage != nil && !$0.value.isDestroyed }
        let log = SharedLog(
            directoryPath: directoryPath, options: options, fileSystem: fileSystem, lock: lock, directory: directory,
            writer: WriterState(
                segment: segment, number: number, spares: spares, sparesMade: sparesMade))
        try log.settle(damaged)
        return log
    }

    /// Brings to the disk what the kernel may hold of the segment that was written last: what this start shows, the next must find.
    ///
    /// A sync alone does not do that. If the process ended over one that failed, the kernel takes the bytes for written, shows
    /// them, and reports the next sync as a success. So the same bytes are written once more at the same place, which
    /// is no new use of a nonce, and a power cut in the middle leaves each sector as it was or as it should be.
    private static func settleOnDisk(_ segment: LogSegment, _ fileSystem: any FileSystem) throws(FileError) {
        let source = try fileSystem.open(segment.path)
        let file = try fileSystem.openForWriting(segment.path)
        var offset: UInt64 = 0
        while offset < segment.end {
            let bytes = try source.read(at: offset, count: Int(min(segment.end - offset, 1 << 20)))
            try file.write(bytes, at: offset)
            offset += UInt64(bytes.count)
        }
        try file.synchronizeData()
        try file.close()
        try source.close()
    }

    /// Puts on record which groups are damaged, because the evidence may be recycled before they are repaired; then gives
    /// up what the last life left over.
    private func settle(_ damaged: [GroupID: GroupRecords]) throws(FileError) {
        do throws(SharedLogError) {
            try writer.withLock { state throws(SharedLogError) in
                for (group, records) in damaged.sorted(by: { $0.key < $1.key }) {
                    let record = StateRecord(
                        hardState: records.hardState, base: records.base, damage: records.damage)
                    try stageRecord(.state, group, records.incarnation, bytes: StateRecord.byteCount, &state) {
                        record.append(to: &$0)
                    }
                    state.updates.append(.state(group, records.incarnation, record, segment: state.number))
                }
                try flush(&state)
                try sync(&state)
                try reclaim(&state)
            }
        } catch {
            throw error.cause ?? FileError(.io, .write, path: directoryPath)
        }
    }

    private static func readAll(
        _ numbers: [UInt32], _ directoryPath: String, _ fileSystem: any FileSystem, _ directory: inout LogDirectory
    ) throws(FileError) {
        // Each segment's header says where the one before it ends.
        var ends: [UInt64?] = []
        for (position, number) in numbers.enumerated() {
            let path = directoryPath + "/" + segmentName(number)
            if position > 0, number != numbers[position - 1] + 1 {
                let missing = directoryPath + "/" + segmentName(numbers[position - 1] + 1)
                throw FileError(.corruption, .open, path: missing, reason: "the segment is missing")
            }
            let header = try RecordLogReader(path, kind: kind, in: fileSystem).header
            guard header.number == UInt64(number) else {
                throw FileError(
                    .corruption, .decode, path: path, offset: 16, reason: "the header says segment \(header.number)")
            }
            if position > 0 { ends.append(header.note) }
        }
        ends.append(nil)
        for (position, number) in numbers.enumerated() {
            let path = directoryPath + "/" + segmentName(number)
            var reader = try RecordLogReader(path, kind: kind, knownEnd: ends[position], in: fileSystem)
            directory.segments.append(
                LogSegment(
                    number: number, path: path, fileID: reader.header.fileID, cipher: reader.cipher, end: 0))
            reading: while true {
                switch try reader.nextItem() {
                case .end:
                    break reading
                case .damage(let offset, let tag):
                    guard let tag, let tag = LogRecordTag(rawValue: tag), tag.kind != .synced else {
                        throw FileError(
                            .corruption, .decode, path: path, offset: offset, reason: "a record of no known group")
                    }
                    directory.noteDamage(tag, path: path, offset: offset)
                case .record(let record):
                    guard let tag = LogRecordTag(rawValue: record.tag),
                        directory.replay(tag, record, segment: number)
                    else {
                        throw FileError(
                            .unsupported, .decode, path: path, offset: record.offset,
                            reason: "a record that this version does not know")
                    }
                }
            }
            directory.segments[directory.segments.count - 1].end = reader.position
        }
    }
}

extension LogDirectory {
    /// Does again what `record` says was done. False if it says nothing that is known.
    mutating func replay(_ tag: LogRecordTag, _ record: LogRecord, segment: UInt32) -> Bool {
        let (group, incarnation) = (tag.group, tag.incarnation)
        switch tag.kind {
        case .entry, .relocatedEntry:
            guard let position = EntryRecord.position(of: record.body) else { return false }
            let isSealed = segmentIndex(segment).map { segments[$0].cipher != nil } ?? false
            let place = EntryPlace(
                term: position.term, segment: segment, offset: record.offset,
                payloadBytes: record.body.count - EntryRecord.headBytes, isSealed: isSealed)
            if tag.kind == .entry {
                noteEntries(group, incarnation, first: position.index, [place])
            } else {
                noteRelocated(group, incarnation, position.index, place)
            }
        case .hardState:
            guard let hardState = HardStateRecord.hardState(of: record.body) else { return false }
            noteHardState(group, incarnation, hardState, segment: segment)
        case .state:
            guard let state = StateRecord(record.body) else { return false }
            noteState(group, incarnation, state, segment: segment)
        case .reset:
            guard let state = StateRecord(record.body) else { return false }
            noteReset(group, incarnation, state, segment: segment)
        case .destroyed:
            noteDestroyed(group, incarnation)
        case .synced:
            break
        }
        return true
    }

    /// A record of this kind and group is damaged; what that means shows when the rest has been read.
    mutating func noteDamage(_ tag: LogRecordTag, path: String, offset: UInt64) {
        guard admit(tag.group, tag.incarnation) else { return }
        if groups[tag.group]!.damagePlace == nil { groups[tag.group]!.damagePlace = (path, offset) }
        switch tag.kind {
        case .entry:
            groups[tag.group]!.damagedSinceLast += 1
            let records = groups[tag.group]!
            let through = records.last + records.damagedSinceLast
            groups[tag.group]!.damagedThrough = max(records.damagedThrough ?? .zero, through)
        case .hardState, .state:
            // The next hard state makes up for it; a lost purge point shows as entries missing in front.
            groups[tag.group]!.hardStateIsDamaged = true
        case .relocatedEntry:
            // Shows as a hole unless it was written over or purged.
            break
        case .reset, .destroyed:
            groups[tag.group]!.damagedThrough = LogIndex(UInt64.max)
            groups[tag.group]!.hardStateIsDamaged = true
        case .synced:
            break
        }
    }

    /// Decides, after everything has been read, which groups are damaged.
    mutating func judgeDamage(directoryPath: String) {
        for (group, records) in groups where !records.isDestroyed {
            var reason: String?
            if let hole = records.places.firstIndex(where: { $0.segment == 0 }) {
                reason = "entry \(records.base.index + 1 + hole) is missing"
            } else if let through = records.damagedThrough, through > records.base.index {
                reason = "an entry's record is damaged"
            } else if records.hardStateIsDamaged {
                reason = "the hard state's record is damaged"
            } else if records.baseIsProvisional {
                reason = "the log's beginning is missing"
            }
            guard reason != nil || records.damage != nil else { continue }
            groups[group]!.damage = GroupDamage(
                file: records.damagePlace?.file ?? directoryPath, offset: records.damagePlace?.offset,
                hardStateIsLost: records.hardStateIsDamaged || records.damage?.hardStateIsLost ?? false,
                reason: reason ?? records.damage!.reason)
        }
    }
}
