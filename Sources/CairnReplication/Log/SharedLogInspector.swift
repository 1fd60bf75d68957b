import CairnFiles
import CairnRaft

/// Shows the log that all groups of a node share to people: its segments, record by record, and what they say about each
/// group.
///
/// A segment may be looked at alone; only its directory says where a segment that was left ends, and what damage means
/// to a group. Takes no lock and changes nothing.
public struct SharedLogInspector: Sendable {
    private let fileSystem: any FileSystem
    private let options: InspectionOptions

    public init(fileSystem: any FileSystem, options: InspectionOptions = InspectionOptions()) {
        self.fileSystem = fileSystem
        self.options = options
    }

    /// Whether `name` is one that the log gives its segments.
    public static func isSegment(_ name: String) -> Bool { SharedLog.segmentNumber(name) != nil }

    /// Whether `name` is that of a file which waits to become a segment.
    public static func isSpare(_ name: String) -> Bool { name.hasPrefix(SharedLog.sparePrefix) }

    /// Whether a record log of this kind is a segment.
    public static func isSegment(_ kind: RecordLogHeader.Kind) -> Bool { kind == SharedLog.kind }

    // MARK: - One segment

    /// Shows a segment: its records, and which groups they belong to.
    public func segment(_ path: String, into report: inout InspectionReport) {
        do throws(FileError) {
            var walk = try RecordLogWalk(path, kind: SharedLog.kind, knownEnd: end(of: path), in: fileSystem)
            report.check(bytes: UInt64(RecordLogHeader.byteCount))
            report.line(
                "segment \(walk.header.number), file id \(InspectionText.fileID(walk.header.fileID)), "
                    + "the one before ends at \(walk.header.note)")
            report.line("records")
            var list = InspectionList(options)
            var groups: [GroupID: GroupTally] = [:]
            reading: while true {
                switch try walk.next() {
                case .end: break reading
                case .damage(let offset, let tag):
                    report.damage(path, at: offset, damageText(tag))
                case .record(let record):
                    guard let tag = LogRecordTag(rawValue: record.tag), let text = describe(tag, record) else {
                        report.damage(path, at: record.offset, "a record that this version does not know")
                        continue
                    }
                    report.check(bytes: record.end - record.offset)
                    if tag.kind != .synced { groups[tag.group, default: GroupTally()].add(tag, record) }
                    if list.showsNext, tag.kind == .entry || tag.kind == .relocatedEntry,
                        let entry = EntryRecord.entry(of: record.body), entry.kind == .normal
                    {
                        let lines = options.describePayload(entry.payload, options.showsKeys)
                        list.add(to: &report, lines.isEmpty ? text : "\(text), \(lines[0])")
                        report.indented { report in
                            var details = InspectionList(options)
                            for line in lines.dropFirst() { details.add(to: &report, line) }
                            details.finish(&report)
                        }
                    } else {
                        list.add(to: &report, text)
                    }
                }
            }
            list.finish(&report)
            report.line("\(InspectionText.count(list.count, "record")), ending at \(walk.position) of \(walk.size)")
            if walk.changedMeanwhile { report.line("the file was written to while it was read") }
            report.line("groups")
            report.indented { report in
                for (group, tally) in groups.sorted(by: { $0.key < $1.key }) { report.line("\(group): \(tally)") }
            }
        } catch {
            report.damage(error)
        }
    }

    /// Where the segment at `path` ends, if the next one is there to say so.
    private func end(of path: String) -> UInt64? {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        guard let number = SharedLog.segmentNumber(name), number < .max else { return nil }
        let next = path.dropLast(name.utf8.count) + SharedLog.segmentName(number + 1)
        return try? RecordLogWalk(String(next), kind: SharedLog.kind, in: fileSystem).header.note
    }

    private func damageText(_ tag: UInt64?) -> String {
        guard let tag, let tag = LogRecordTag(rawValue: tag) else { return "a damaged record of no known group" }
        return "a damaged \(tag.kind.name) record of \(tag.group)"
    }

    private func describe(_ tag: LogRecordTag, _ record: LogRecord) -> String? {
        var text = "at \(record.offset): \(record.end - record.offset) bytes, "
        if tag.kind == .synced { return text + "everything before is synced" }
        text += "\(tag.group) life \(tag.incarnation), \(tag.kind.name)"
        switch tag.kind {
        case .entry, .relocatedEntry:
            guard let entry = EntryRecord.entry(of: record.body) else { return nil }
            text += " \(entry.index) of term \(entry.term)"
            switch entry.kind {
            case .normal: text += ", \(InspectionText.count(entry.payload.count, "byte"))"
            case .empty: text += ", empty"
            case .configuration:
                guard let configuration = Configuration(decoding: entry.payload) else {
                    return text + ", a configuration that does not decode"
                }
                text += ", voters " + Self.names(configuration.voters)
                if !configuration.outgoing.isEmpty { text += ", outgoing " + Self.names(configuration.outgoing) }
                if !configuration.learners.isEmpty { text += ", learners " + Self.names(configuration.learners) }
            }
        case .hardState:
            guard let state = HardStateRecord.hardState(of: record.body) else { return nil }
            text += " \(Self.describe(state))"
        case .state, .reset:
            guard let state = StateRecord(record.body) else { return nil }
            text += " after \(state.base.index) of term \(state.base.term), \(Self.describe(state.hardState))"
            if state.isDamaged { text += ", damaged" }
        case .destroyed, .synced: break
        }
        return text
    }

    private static func names(_ nodes: some Sequence<NodeID>) -> String {
        nodes.sorted().map { "\($0)" }.joined(separator: " ")
    }

    private static func describe(_ state: HardState) -> String {
        "term \(state.term), vote \(state.vote.map { "\($0)" } ?? "none"), commit \(state.commit)"
    }

    // MARK: - The whole log

    /// Shows the log's directory: its segments, and of each group what a start would find.
    public func directory(_ directory: String, into report: inout InspectionReport) {
        do throws(FileError) {
            // A running node begins segments and gives them up. If it did so meanwhile, what looks wrong may not be.
            for _ in 1...5 {
                let names = try fileSystem.list(directory)
                var changed = false
                let isShown = try report.tentatively { report throws(FileError) in
                    changed = try show(names, directory, into: &report)
                } unless: { damages throws(FileError) in
                    if changed { return true }
                    if damages.isEmpty { return false }
                    return try fileSystem.list(directory) != names
                }
                if isShown { return }
            }
            report.line("the log went on each time that it was looked at: look again")
        } catch {
            report.damage(error)
        }
    }

    /// - Returns: whether the log went on so that what was read does not fit together.
    private func show(
        _ names: [String], _ directoryPath: String, into report: inout InspectionReport
    ) throws(FileError) -> Bool {
        let numbers = names.compactMap { SharedLog.segmentNumber($0) }.sorted()
        let spares = names.count { Self.isSpare($0) }
        report.line(
            "\(InspectionText.count(numbers.count, "segment"))"
                + (spares == 0 ? "" : ", \(InspectionText.count(spares, "file")) waiting to become one"))
        var walks: [RecordLogWalk?] = []
        var ends: [UInt64?] = []
        for (position, number) in numbers.enumerated() {
            let path = directoryPath + "/" + SharedLog.segmentName(number)
            if position > 0, number != numbers[position - 1] + 1 {
                report.damage(
                    directoryPath + "/" + SharedLog.segmentName(numbers[position - 1] + 1), "the segment is missing")
            }
            do throws(FileError) {
                let header = try RecordLogWalk(path, kind: SharedLog.kind, in: fileSystem).header
                if header.number != UInt64(number) {
                    report.damage(path, at: 16, "the header says segment \(header.number)")
                }
                if position > 0 { ends.append(header.note) }
            } catch {
                report.damage(error)
                if position > 0 { ends.append(nil) }
            }
        }
        ends.append(nil)
        for (number, end) in zip(numbers, ends) {
            let path = directoryPath + "/" + SharedLog.segmentName(number)
            walks.append(try? RecordLogWalk(path, kind: SharedLog.kind, knownEnd: end, in: fileSystem))
        }
        var log = LogDirectory()
        var changed = false
        for (number, walk) in zip(numbers, walks) {
            guard var walk else { continue }
            let path = directoryPath + "/" + SharedLog.segmentName(number)
            log.segments.append(
                LogSegment(
                    number: number, path: path, fileID: walk.header.fileID, cipher: walk.cipher, end: 0))
            try replay(&walk, number, path, &log, into: &report)
            log.segments[log.segments.count - 1].end = walk.position
            changed = changed || walk.changedMeanwhile
        }
        if !changed { showGroups(&log, directoryPath, into: &report) }
        return changed
    }

    private func replay(
        _ walk: inout RecordLogWalk, _ number: UInt32, _ path: String, _ log: inout LogDirectory,
        into report: inout InspectionReport
    ) throws(FileError) {
        var records = 0
        var groups: Set<GroupID> = []
        var damages: [InspectedDamage] = []
        reading: while true {
            switch try walk.next() {
            case .end: break reading
            case .damage(let offset, let tag):
                damages.append(InspectedDamage(path: path, offset: offset, reason: damageText(tag)))
                if let tag, let tag = LogRecordTag(rawValue: tag), tag.kind != .synced {
                    log.noteDamage(tag, path: path, offset: offset)
                }
            case .record(let record):
                guard let tag = LogRecordTag(rawValue: record.tag), log.replay(tag, record, segment: number) else {
                    damages.append(
                        InspectedDamage(
                            path: path, offset: record.offset, reason: "a record that this version does not know"))
                    continue
                }
                records += 1
                if tag.kind != .synced { groups.insert(tag.group) }
            }
        }
        report.line(
            "\(SharedLog.segmentName(number)): \(InspectionText.count(records, "record")) of "
                + "\(InspectionText.count(groups.count, "group")), ending at \(walk.position) of \(walk.size)")
        report.indented { report in for damage in damages { report.damage(damage) } }
    }

    private func showGroups(
        _ log: inout LogDirectory, _ directoryPath: String, into report: inout InspectionReport
    ) {
        log.judgeDamage(directoryPath: directoryPath)
        report.line("groups")
        report.indented { report in
            for (group, records) in log.groups.sorted(by: { $0.key < $1.key }) {
                if records.isDestroyed {
                    report.line("\(group) life \(records.incarnation): destroyed")
                    continue
                }
                let bytes = log.segments.reduce(0) { $0 + ($1.live[group] ?? 0) }
                let entries =
                    records.places.isEmpty
                    ? "no entries after \(records.base.index)"
                    : "entries \(records.base.index.next) to \(records.last) (last of term \(records.places.last!.term)), "
                        + "\(bytes) bytes"
                report.line("\(group) life \(records.incarnation): \(Self.describe(records.hardState)), \(entries)")
                guard let damage = records.damage else { continue }
                report.damage(
                    damage.file.isEmpty ? directoryPath : damage.file, at: damage.offset,
                    "\(group) is damaged: \(damage.reason)" + (damage.hardStateIsLost ? ", its vote may be lost" : ""))
            }
        }
    }
}

/// What one segment has of one group.
private struct GroupTally: CustomStringConvertible {
    private var records = 0
    private var bytes: UInt64 = 0
    private var first: LogPosition?
    private var last: LogPosition?

    init() {}

    mutating func add(_ tag: LogRecordTag, _ record: LogRecord) {
        records += 1
        bytes += record.end - record.offset
        guard tag.kind == .entry || tag.kind == .relocatedEntry, let position = EntryRecord.position(of: record.body)
        else { return }
        if first.map({ position.index < $0.index }) ?? true { first = position }
        if last.map({ position.index >= $0.index }) ?? true { last = position }
    }

    var description: String {
        var text = "\(InspectionText.count(records, "record")), \(bytes) bytes"
        if let first, let last {
            text += ", entries \(first.index) of term \(first.term) to \(last.index) of term \(last.term)"
        }
        return text
    }
}

extension LogRecordKind {
    /// What it is called on a screen.
    var name: String {
        switch self {
        case .entry: "entry"
        case .hardState: "hard state"
        case .state: "state"
        case .reset: "reset"
        case .destroyed: "destroyed"
        case .relocatedEntry: "relocated entry"
        case .synced: "synced"
        }
    }
}
