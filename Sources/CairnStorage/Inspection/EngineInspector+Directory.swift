import CairnFiles

extension EngineInspector {
    /// Shows an engine's directory: the tree that the manifest describes, whether its files are there and whole, and what
    /// the log has beyond them.
    ///
    /// Reads the manifest, the ends of all tables, and the log; with `readsEveryBlock` all of the tables.
    public func directory(_ directory: String, into report: inout InspectionReport) {
        do throws(StorageError) {
            let names = try mappingFileErrors { () throws(FileError) in try fileSystem.list(directory) }
            let files = names.compactMap { FileName($0) }
            guard let (state, number) = try manifest(of: directory) else {
                if files.contains(where: { if case .table = $0 { true } else if case .wal = $0 { true } else { false } }
                ) {
                    report.damage(FileName.current.path(in: directory), "CURRENT is missing beside data")
                } else {
                    report.line("no engine: there is no CURRENT")
                }
                return
            }
            report.line("manifest \(FileName.manifest(number).name)")
            report.indented { report in
                show(state, into: &report)
            }
            report.line("tables")
            report.indented { report in
                showTables(of: state, in: directory, into: &report)
            }
            report.line("write-ahead log")
            report.indented { report in
                let isShown = report.tentatively { report in
                    showLog(files, state, in: directory, into: &report)
                } unless: { damages in
                    // Segments below the manifest's first are nobody's any more, and are written over.
                    guard !damages.isEmpty, let now = try? manifest(of: directory) else { return false }
                    return now.state.logNumber != state.logNumber
                }
                if !isShown { report.line("it went on while it was read: look again") }
            }
            showOthers(names, state, number, into: &report)
        } catch {
            note(error, about: directory, in: &report)
        }
    }

    /// Reads the manifest; more than once if a running engine begins another at this moment.
    func manifest(of directory: String) throws(StorageError) -> (state: ManifestState, number: UInt64)? {
        for _ in 0..<3 {
            do throws(StorageError) {
                return try Manifest.read(in: directory, fileSystem: fileSystem)
            } catch {
                // An engine that runs may have replaced the manifest between the two looks.
                if error.code == .unsupportedFormat { throw error }
            }
        }
        return try Manifest.read(in: directory, fileSystem: fileSystem)
    }

    private func showTables(of state: ManifestState, in directory: String, into report: inout InspectionReport) {
        var list = InspectionList(options)
        var totals: (bytes: UInt64, entries: UInt64) = (0, 0)
        for (level, description) in state.tables {
            totals.bytes &+= description.byteCount
            totals.entries &+= description.entries
            list.add(to: &report, describe(description, level: level))
            let path = FileName.table(description.number).path(in: directory)
            // What is only checked says nothing unless it is damaged.
            var checked = InspectionReport { _ in }
            check(description, at: path, into: &checked)
            if checked.damages.isEmpty { continue }
            let isNamed = (try? manifest(of: directory))??.state.tables.contains { $0.description == description }
            guard isNamed ?? true else {
                report.line("table \(description.number) was replaced while it was looked at")
                continue
            }
            report.indented { report in for damage in checked.damages { report.damage(damage) } }
        }
        list.finish(&report)
        report.line(
            "\(InspectionText.count(list.count, "table")), \(totals.bytes) bytes, \(totals.entries) entries"
                + (options.readsEveryBlock ? ", every block read" : ""))
    }

    private func check(_ description: TableDescription, at path: String, into report: inout InspectionReport) {
        do throws(FileError) {
            guard try fileSystem.exists(path) else {
                return report.damage(path, "a table that the manifest names is missing")
            }
            let size = try fileSystem.size(of: path)
            guard size == description.byteCount else {
                return report.damage(
                    path, at: min(size, description.byteCount),
                    "a table of \(description.byteCount) bytes has \(size)")
            }
        } catch {
            return report.damage(error)
        }
        show(path, readsBlocks: options.readsEveryBlock, expected: description, into: &report)
    }

    private func showLog(
        _ files: [FileName], _ state: ManifestState, in directory: String, into report: inout InspectionReport
    ) {
        let damages = report.damages.count
        var numbers: [UInt64] = []
        for case .wal(let number) in files { numbers.append(number) }
        numbers.sort()
        let waiting = numbers.filter { $0 < state.logNumber }
        let segments = numbers.filter { $0 >= state.logNumber }
        if !waiting.isEmpty {
            report.line("\(InspectionText.count(waiting.count, "older file")), kept to be written over")
        }
        for number in segments {
            let path = FileName.wal(number).path(in: directory)
            do throws(FileError) {
                try showSegment(path, number, into: &report)
            } catch {
                if error.code == .notFound {
                    report.line("\(FileName.wal(number).name) was given up while it was looked at")
                } else {
                    report.damage(error)
                }
            }
        }
        if segments.isEmpty { report.line("nothing beyond the tables") }
        guard report.damages.count == damages, !segments.isEmpty else { return }
        do throws(StorageError) {
            var batches = 0
            let last = try WALRecovery(fileSystem: fileSystem, directory: directory)
                .replay(segments, after: state.flushedSequence) { _ throws(StorageError) in batches += 1 }
            report.line("a start would replay \(batches == 1 ? "1 batch" : "\(batches) batches"), through #\(last)")
        } catch {
            // A segment that went meanwhile is no loss; what stays wrong is.
            if (try? fileSystem.exists(error.file ?? directory)) ?? true { note(error, about: directory, in: &report) }
        }
    }

    private func showSegment(
        _ path: String, _ number: UInt64, into report: inout InspectionReport
    ) throws(FileError) {
        var walk = try RecordLogWalk(path, kind: WriteAheadLog.kind, in: fileSystem)
        if walk.header.number != number {
            report.damage(path, at: 16, "segment \(walk.header.number) in the place of \(number)")
        }
        var first: UInt64?
        var last: UInt64 = 0
        var count = 0
        reading: while true {
            switch try walk.next() {
            case .end: break reading
            case .damage(let offset, let tag):
                report.damage(path, at: offset, "a damaged record" + (tag.map { ", #\($0)" } ?? ""))
            case .record(let record):
                first = first ?? record.tag
                last = record.tag
                count += 1
            }
        }
        let range = first.map { ", #\($0) to #\(last)" } ?? ""
        report.line(
            "\(FileName.wal(number).name): \(count) batches\(range), ending at \(walk.position) of \(walk.size)")
    }

    private func showOthers(
        _ names: [String], _ state: ManifestState, _ manifest: UInt64, into report: inout InspectionReport
    ) {
        let tables = Set(state.tables.map { $0.description.number })
        let others = names.filter { name in
            switch FileName(name) {
            case .table(let number): !tables.contains(number)
            case .manifest(let number): number != manifest
            case .wal, .current, .lock: false
            case nil: true
            }
        }
        guard !others.isEmpty else { return }
        report.line("files that the manifest does not name: \(others.joined(separator: ", "))")
    }
}
