import CairnFiles

extension EngineInspector {
    /// Shows a segment of the write-ahead log: its batches, with sequence number, version and mark.
    public func wal(_ path: String, into report: inout InspectionReport) {
        do throws(FileError) {
            var walk = try RecordLogWalk(path, kind: WriteAheadLog.kind, in: fileSystem)
            report.check(bytes: UInt64(RecordLogHeader.byteCount))
            show(walk.header, of: path, into: &report)
            report.line("batches")
            var list = InspectionList(options)
            var last: UInt64?
            reading: while true {
                switch try walk.next() {
                case .end: break reading
                case .damage(let offset, let tag):
                    report.damage(path, at: offset, "a damaged record" + (tag.map { ", #\($0)" } ?? ""))
                    last = nil
                case .record(let record):
                    do throws(StorageError) {
                        let batch = try WALRecord(record, path: path)
                        report.check(bytes: record.end - record.offset)
                        if let last, batch.sequence != last &+ 1 {
                            report.damage(path, at: record.offset, "record #\(batch.sequence) after #\(last)")
                        }
                        last = batch.sequence
                        let isShown = list.showsNext
                        list.add(to: &report, describe(batch, record))
                        if isShown, options.showsKeys {
                            report.indented { report in show(batch.batch, &report) }
                        }
                    } catch {
                        note(error, about: path, in: &report)
                    }
                }
            }
            list.finish(&report)
            showEnd(of: walk, list.count == 1 ? "1 batch" : "\(list.count) batches", into: &report)
        } catch {
            report.damage(error)
        }
    }

    private func describe(_ record: WALRecord, _ place: LogRecord) -> String {
        "#\(record.sequence) at \(place.offset): \(place.end - place.offset) bytes, @\(record.version), mark \(record.mark), "
            + "\(InspectionText.count(record.batch.count, "operation")), durable through #\(record.durableSequence)"
    }

    private func show(_ batch: WriteBatch, _ report: inout InspectionReport) {
        var list = InspectionList(options)
        batch.forEach { operation in
            switch operation {
            case .put(let key, let value):
                list.add(
                    to: &report, "put \(options.describeKey(key)), \(InspectionText.count(value.count, "byte"))")
            case .delete(let key): list.add(to: &report, "delete \(options.describeKey(key))")
            case .deleteRange(let from, let to):
                list.add(to: &report, "delete \(options.describeKey(from)) to \(options.describeKey(to))")
            }
        }
        list.finish(&report)
    }

    /// Shows a manifest: its edits, and the tree that they make.
    public func manifest(_ path: String, into report: inout InspectionReport) {
        do throws(FileError) {
            var walk = try RecordLogWalk(path, kind: Manifest.kind, in: fileSystem)
            report.check(bytes: UInt64(RecordLogHeader.byteCount))
            show(walk.header, of: path, into: &report)
            report.line("edits")
            var state = ManifestState()
            var list = InspectionList(options)
            reading: while true {
                switch try walk.next() {
                case .end: break reading
                case .damage(let offset, _): report.damage(path, at: offset, "a damaged edit")
                case .record(let record):
                    do throws(StorageError) {
                        let edit = try ManifestEdit(decoding: record.body, path: path, offset: record.offset)
                        list.add(
                            to: &report,
                            "at \(record.offset): \(record.end - record.offset) bytes, \(describe(edit))")
                        try state.apply(edit, path: path, offset: record.offset)
                        report.check(bytes: record.end - record.offset)
                    } catch {
                        note(error, about: path, in: &report)
                    }
                }
            }
            if list.count == 0 {
                report.damage(path, at: UInt64(RecordLogHeader.byteCount), "an empty manifest")
            }
            list.finish(&report)
            showEnd(of: walk, InspectionText.count(list.count, "edit"), into: &report)
            report.line("the tree after the last edit")
            report.indented { report in
                show(state, into: &report)
                var tables = InspectionList(options)
                for (level, description) in state.tables {
                    tables.add(to: &report, describe(description, level: level))
                }
                tables.finish(&report)
            }
        } catch {
            report.damage(error)
        }
    }

    private func describe(_ edit: ManifestEdit) -> String {
        var parts: [String] = []
        for added in edit.added { parts.append("+table \(added.description.number) in level \(added.level)") }
        for number in edit.removed { parts.append("-table \(number)") }
        if let number = edit.logNumber { parts.append("log from \(number)") }
        if let number = edit.flushedSequence { parts.append("flushed #\(number)") }
        if let number = edit.mark { parts.append("mark \(number)") }
        if let number = edit.version { parts.append("@\(number)") }
        if let number = edit.nextFileNumber { parts.append("next file \(number)") }
        if let number = edit.horizon { parts.append("horizon @\(number)") }
        return parts.isEmpty ? "nothing" : parts.joined(separator: ", ")
    }

    func show(_ state: ManifestState, into report: inout InspectionReport) {
        report.facts([
            "tables": state.levels.enumerated().filter { !$0.element.isEmpty }
                .map { "\($0.element.count) in level \($0.offset)" }.joined(separator: ", ").ifEmpty("none"),
            "log": "from segment \(state.logNumber) and record #\(state.flushedSequence + 1) on",
            "mark": "\(state.mark) at @\(state.version)",
            "horizon": "@\(state.horizon)",
            "next file": "\(state.nextFileNumber)",
        ])
    }

    func describe(_ description: TableDescription, level: Int) -> String {
        "level \(level), table \(description.number): \(description.byteCount) bytes, "
            + "\(InspectionText.count(description.blocks, "block")), \(description.entries) entries, "
            + "\(description.versionText), keys \(describe(description.range))"
    }

    func show(_ header: RecordLogHeader, of path: String, into report: inout InspectionReport) {
        report.line("\(header.kind) log \(header.number), file id \(InspectionText.fileID(header.fileID))")
    }

    func showEnd(of walk: RecordLogWalk, _ what: String, into report: inout InspectionReport) {
        let behind = walk.size > walk.position ? ", \(walk.size - walk.position) bytes behind them do not count" : ""
        report.line("\(what), ending at \(walk.position) of \(walk.size)\(behind)")
        if walk.changedMeanwhile { report.line("the file was written to while it was read") }
    }
}

extension ManifestState {
    /// All tables with their levels, the newest first.
    var tables: [(level: Int, description: TableDescription)] {
        levels.enumerated().flatMap { level, tables in tables.map { (level, $0) } }
    }
}

extension String {
    func ifEmpty(_ other: String) -> String { isEmpty ? other : self }
}
