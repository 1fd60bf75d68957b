import CairnFiles

extension EngineInspector {
    /// Shows a table: footer, properties, filter, range tombstones, and every block, all of which are read and checked.
    public func table(_ path: String, into report: inout InspectionReport) {
        show(path, readsBlocks: true, expected: nil, into: &report)
    }

    /// - Parameters:
    ///   - readsBlocks: Data blocks too; otherwise the index says how many there are.
    ///   - expected: What the manifest says about the table.
    func show(
        _ path: String, readsBlocks: Bool, expected: TableDescription?, into report: inout InspectionReport
    ) {
        do throws(StorageError) {
            let parts = try TableParts(path, expected: expected, in: fileSystem)
            report.check(bytes: UInt64(TableFooter.byteCount))
            report.facts([
                "size": InspectionText.count(parts.size, "byte"),
                "file id": InspectionText.fileID(parts.footer.fileID),
                "footer": "format \(TableFooter.formatVersion), at \(parts.footerOffset)",
            ])
            var found = TableContents()
            var isWhole = true
            if parts.footer.index.byteCount > 0 {
                do throws(StorageError) {
                    try showBlocks(parts, readsBlocks, &found, &isWhole, &report)
                } catch {
                    isWhole = false
                    note(error, about: path, in: &report)
                }
            }
            showFilter(parts, &report)
            showTombstones(parts, &found, &report)
            guard let properties = showProperties(parts, &report), readsBlocks, isWhole else { return }
            if let difference = found.difference(from: properties) {
                report.damage(path, at: parts.footer.properties.offset, "the properties say \(difference)")
            }
        } catch {
            note(error, about: path, in: &report)
        }
    }

    private func showBlocks(
        _ parts: TableParts, _ readsBlocks: Bool, _ found: inout TableContents, _ isWhole: inout Bool,
        _ report: inout InspectionReport
    ) throws(StorageError) {
        let handle = parts.footer.index
        let index = BlockIterator()
        try index.reset(try parts.block(handle), path: parts.path, offset: handle.offset)
        report.check(bytes: UInt64(handle.byteCount))
        report.line("index at \(handle.offset), \(handle.byteCount) bytes")
        report.line("blocks")
        var list = InspectionList(options)
        var entries = InspectionList(options)
        let data = BlockIterator()
        try index.seekToFirst()
        while index.isValid {
            var target: BlockHandle?
            target = TableReader.handle(index.lentValue)
            guard let target, target.ends(by: handle.offset) else {
                throw StorageError(
                    .corruption, "the index points to no block", file: parts.path, offset: handle.offset)
            }
            if readsBlocks {
                do throws(StorageError) {
                    let before = found.entries
                    let block = try parts.block(target)
                    try data.reset(block, path: parts.path, offset: target.offset)
                    var first: String?
                    var lines: [String] = []
                    try data.seekToFirst()
                    while data.isValid {
                        try found.add(data, path: parts.path, offset: target.offset)
                        if first == nil { first = options.describeKey(data.key.copied()[...]) }
                        if options.showsKeys {
                            if entries.showsNext { lines.append(describe(data)) }
                            entries.note()
                        }
                        try data.next()
                    }
                    report.check(bytes: UInt64(target.byteCount))
                    list.add(
                        to: &report,
                        "at \(target.offset): \(target.byteCount) bytes, \(block.count) decoded, "
                            + "\(found.entries - before) entries from \(first ?? "none")")
                    report.indented { report in for line in lines { report.line(line) } }
                } catch {
                    isWhole = false
                    note(error, about: parts.path, in: &report)
                }
            } else {
                list.note()
            }
            try index.next()
        }
        if readsBlocks { list.finish(&report) } else { report.line("\(list.count), not read") }
        if options.showsKeys { entries.finish(&report) }
    }

    private func describe(_ entry: BlockIterator) -> String {
        let text = "\(options.describeKey(entry.key.copied()[...])) @\(entry.version)"
        switch entry.kind {
        case .put: return "\(text) put, \(InspectionText.count(entry.value().count, "byte"))"
        case .delete: return "\(text) delete"
        case .deleteRange: return "\(text) delete range"
        }
    }

    private func showFilter(_ parts: TableParts, _ report: inout InspectionReport) {
        let handle = parts.footer.filter
        guard handle.byteCount > 0 else { return report.line("filter: none") }
        do throws(StorageError) {
            let filter = try BloomFilter(decoding: try parts.block(handle), path: parts.path, offset: handle.offset)
            report.check(bytes: UInt64(handle.byteCount))
            report.line("filter at \(handle.offset), \(handle.byteCount) bytes, \(filter.byteCount) decoded")
        } catch {
            note(error, about: parts.path, in: &report)
        }
    }

    private func showTombstones(
        _ parts: TableParts, _ found: inout TableContents, _ report: inout InspectionReport
    ) {
        let handle = parts.footer.ranges
        guard handle.byteCount > 0 else { return report.line("range tombstones: none") }
        do throws(StorageError) {
            let tombstones = try RangeTombstones(
                decoding: try parts.block(handle), path: parts.path, offset: handle.offset)
            found.add(tombstones)
            report.check(bytes: UInt64(handle.byteCount))
            report.line("range tombstones at \(handle.offset), \(handle.byteCount) bytes")
            report.indented { report in
                var list = InspectionList(options)
                for fragment in tombstones.fragments {
                    let versions = fragment.versions.map { "@\($0)" }.joined(separator: " ")
                    list.add(
                        to: &report,
                        "\(options.describeKey(fragment.from[...])) to \(options.describeKey(fragment.to[...])) \(versions)"
                    )
                }
                list.finish(&report)
            }
        } catch {
            note(error, about: parts.path, in: &report)
        }
    }

    private func showProperties(_ parts: TableParts, _ report: inout InspectionReport) -> TableDescription? {
        let handle = parts.footer.properties
        do throws(StorageError) {
            let bytes = try parts.block(handle)
            let properties = try bytes.withBorrowedBytes { view throws(StorageError) in
                try TableDescription(decoding: view, path: parts.path, offset: handle.offset)
            }
            report.check(bytes: UInt64(handle.byteCount))
            report.line("properties at \(handle.offset), \(handle.byteCount) bytes")
            report.indented { report in
                report.facts([
                    "number": "\(properties.number)",
                    "blocks": "\(properties.blocks)",
                    "entries":
                        "\(properties.entries) (\(properties.deletions) deletions, \(properties.superseded) superseded)",
                    "tombstones": "\(properties.rangeTombstones)",
                    "versions": properties.versionText,
                    "keys": describe(properties.range),
                    "prefixes":
                        properties.prefixFilterBytes > 0 ? "\(properties.prefixFilterBytes) bytes" : "none",
                ])
            }
            return properties
        } catch {
            note(error, about: parts.path, in: &report)
            return nil
        }
    }
}

/// An open table of which nothing but the footer has been read.
private struct TableParts {
    let path: String
    let size: UInt64
    let footerOffset: UInt64
    let footer: TableFooter
    private let file: any ReadableFile
    private var codec = BlockCodec(decodedBytesMax: TableBuilder.blockBytesMax)

    init(_ path: String, expected: TableDescription?, in fileSystem: any FileSystem) throws(StorageError) {
        self.path = path
        let file = try mappingFileErrors { () throws(FileError) in try fileSystem.open(path) }
        self.file = file
        size = try mappingFileErrors { () throws(FileError) in try file.size() }
        guard size >= UInt64(TableFooter.byteCount) else {
            throw StorageError(.corruption, "a table of \(size) bytes", file: path, offset: 0)
        }
        let footerOffset = size - UInt64(TableFooter.byteCount)
        self.footerOffset = footerOffset
        let bytes = try mappingFileErrors { () throws(FileError) in
            try file.read(at: footerOffset, count: TableFooter.byteCount)
        }
        // The file says whose it is; whether that is the one that the manifest means is another question.
        footer = try TableFooter(
            decoding: bytes, at: footerOffset, fileID: bytes[...].loadUInt64(at: 0), path: path)
        let label = footer.cipher
        let fileID = footer.fileID
        codec.cipher = try mappingFileErrors { () throws(FileError) in
            try fileSystem.cipher(of: label, fileID: fileID, path: path)
        }
        if let expected, expected.fileID != footer.fileID {
            throw StorageError(
                .corruption,
                "file id \(InspectionText.fileID(footer.fileID)), the manifest says "
                    + InspectionText.fileID(expected.fileID), file: path, offset: footerOffset)
        }
    }

    func block(_ handle: BlockHandle) throws(StorageError) -> ArraySlice<UInt8> {
        try mappingFileErrors { () throws(FileError) in
            try codec.read(from: file, at: handle.offset, count: Int(handle.byteCount), fileID: footer.fileID)
        }
    }
}

/// What the blocks of a table have, to be compared with what its properties say.
private struct TableContents {
    var blocksSeen: Set<UInt64> = []
    var entries: UInt64 = 0
    var deletions: UInt64 = 0
    var tombstones: UInt64 = 0
    var range: KeyRange?
    private var last: (key: [UInt8], version: UInt64)?

    /// - Throws: ``StorageError`` with code `corruption` if the entry does not come after the one before it.
    mutating func add(_ entry: BlockIterator, path: String, offset: UInt64) throws(StorageError) {
        let key = entry.key.copied()
        if let last {
            guard isOrderedBefore(last.key, key) || (last.key == key && last.version > entry.version) else {
                throw StorageError(.corruption, "entries out of order", file: path, offset: offset)
            }
        }
        last = (key, entry.version)
        blocksSeen.insert(offset)
        entries += 1
        if entry.kind == .delete { deletions += 1 }
        if range == nil { range = KeyRange(smallest: key, largest: key) } else { range!.largest = key }
    }

    mutating func add(_ found: RangeTombstones) {
        guard let first = found.fragments.first, let last = found.fragments.last else { return }
        tombstones = found.fragments.reduce(0) { $0 + UInt64($1.versions.count) }
        let covered = KeyRange(smallest: first.from, largest: last.to, largestIsExclusive: true)
        range = range.map { $0.union(covered) } ?? covered
    }

    func difference(from properties: TableDescription) -> String? {
        if properties.entries != entries { return "\(properties.entries) entries, there are \(entries)" }
        if properties.deletions != deletions { return "\(properties.deletions) deletions, there are \(deletions)" }
        if properties.blocks != UInt64(blocksSeen.count) {
            return "\(properties.blocks) blocks, there are \(blocksSeen.count)"
        }
        if let range, properties.range.smallest != range.smallest || properties.range.largest != range.largest {
            return "another range of keys"
        }
        return nil
    }
}
