import CairnFiles
import CairnRaft

/// Reading old entries back, from any loop.
extension SharedLog {
    /// The widest piece of a segment that is read at once.
    private static let spanBytesMax = 1 << 20

    /// Entries `from ... through`, cut off before `maxBytes` are exceeded, but at least one.
    func read(
        _ group: GroupID, _ incarnation: UInt32, from: LogIndex, through: LogIndex, maxBytes: Int
    ) throws(SharedLogError) -> [Entry] {
        let places = directory.withLock { directory -> [EntryPlace] in
            guard let records = directory.groups[group], records.incarnation == incarnation,
                from > records.base.index, from <= records.last
            else { return [] }
            var found: [EntryPlace] = []
            var bytes = 0
            var index = from
            while index <= min(through, records.last) {
                let place = records.places[index - records.base.index - 1]
                bytes += Int(place.payloadBytes) + 32
                if bytes > maxBytes, !found.isEmpty { break }
                guard place.segment != 0 else { break }
                if found.last?.segment != place.segment, let segment = directory.segmentIndex(place.segment) {
                    directory.segments[segment].pins += 1
                }
                found.append(place)
                index = index.next
            }
            return found
        }
        defer {
            directory.withLock { directory in
                var last: UInt32 = 0
                for place in places where place.segment != last {
                    last = place.segment
                    if let segment = directory.segmentIndex(last) { directory.segments[segment].pins -= 1 }
                }
            }
        }
        guard !places.isEmpty else {
            throw SharedLogError(
                .unreadable,
                FileError(.notFound, .read, path: directoryPath, reason: "entry \(from) of \(group) has no place"))
        }
        let entries = try read(places, of: group)
        for (offset, entry) in entries.enumerated() where entry.index != from + offset {
            throw SharedLogError(
                .unreadable,
                FileError(
                    .corruption, .read, path: directoryPath,
                    reason: "entry \(entry.index) of \(group) where \(from + offset) belongs"))
        }
        return entries
    }

    /// The entries at `places`, in their order; neighbours are read together.
    func read(_ places: [EntryPlace], of group: GroupID) throws(SharedLogError) -> [Entry] {
        var entries: [Entry] = []
        entries.reserveCapacity(places.count)
        var start = 0
        while start < places.count {
            let first = places[start]
            var end = start + 1
            var stop = first.offset + UInt64(first.recordBytes)
            while end < places.count, places[end].segment == first.segment, places[end].offset >= stop,
                places[end].offset + UInt64(places[end].recordBytes) - first.offset <= UInt64(Self.spanBytesMax)
            {
                stop = places[end].offset + UInt64(places[end].recordBytes)
                end += 1
            }
            do throws(FileError) {
                let (file, fileID, cipher) = try segmentFile(first.segment)
                let bytes = try file.read(at: first.offset, count: Int(stop - first.offset))
                for place in places[start..<end] {
                    let record = try RecordLogReader.record(
                        in: bytes[...], startingAt: first.offset, at: place.offset, fileID: fileID,
                        cipher: cipher, path: file.path)
                    guard let entry = EntryRecord.entry(of: record.body),
                        let tag = LogRecordTag(rawValue: record.tag), tag.group == group, entry.term == place.term
                    else {
                        throw FileError(
                            .corruption, .decode, path: file.path, offset: place.offset,
                            reason: "not the entry that was written here")
                    }
                    entries.append(entry)
                }
            } catch {
                throw SharedLogError(error.code == .io ? .io : .unreadable, error)
            }
            start = end
        }
        return entries
    }

    /// The open file of segment `number`, its id and its cipher.
    private func segmentFile(_ number: UInt32) throws(FileError) -> (any ReadableFile, UInt64, FileCipher?) {
        let known = directory.withLock { directory -> LogSegment? in
            directory.segmentIndex(number).map { directory.segments[$0] }
        }
        guard let known else {
            throw FileError(
                .notFound, .read, path: directoryPath + "/" + Self.segmentName(number), reason: "given up already")
        }
        if let file = known.file { return (file, known.fileID, known.cipher) }
        let file = try fileSystem.open(known.path)
        directory.withLock { directory in
            if let index = directory.segmentIndex(number) { directory.segments[index].file = file }
        }
        return (file, known.fileID, known.cipher)
    }
}
