import CairnFiles
import CairnStorage

/// Checks everything at or below a path: every block of every table, every record of every log, and that what the files say
/// of each other is so.
///
/// Takes no lock and changes nothing, so a node may run meanwhile: damage counts if a second look finds it again.
public struct DataDirectoryVerifier: Sendable {
    /// What was checked of one kind of file.
    public struct Row: Hashable, Sendable {
        public var kind: DataFile.Kind
        public var files = 0
        public var amount = InspectedAmount()
    }

    public struct Summary: Sendable {
        /// One for each kind of which there are files, in the order of ``DataFile/Kind``.
        public var rows: [Row] = []
        public var damages: [InspectedDamage] = []
        /// Files that were not checked, because whoever starts here next removes them or is at work on them.
        public var unfinished: [String] = []
        /// Files that no node writes.
        public var others: [String] = []
    }

    /// How far the work is.
    public struct Progress: Sendable {
        public var doneBytes: UInt64
        public var totalBytes: UInt64
        public var files: Int
        public var path: String
    }

    private let fileSystem: any FileSystem
    private let options: InspectionOptions

    public init(fileSystem: any FileSystem) {
        self.fileSystem = fileSystem
        var options = InspectionOptions()
        // Nothing is shown, so nothing needs to be put in words.
        options.linesMax = 0
        self.options = options
    }

    /// - Parameters:
    ///   - progress: Hears where the work is, at its beginning and after each piece.
    ///   - damage: Hears of damage when it is found.
    /// - Throws: ``FileError`` if `path` cannot be read, or with code `unsupported` if nothing of a node is there.
    public func verify(
        _ path: String, progress: @escaping (Progress) -> Void, damage: (InspectedDamage) -> Void
    ) throws(FileError) -> Summary {
        var path = path
        while path.utf8.count > 1, path.hasSuffix("/") { path.removeLast() }
        let (found, others) = try DataFile.all(below: path, in: fileSystem)
        guard !found.isEmpty else {
            throw FileError(.unsupported, .list, path: path, reason: "nothing of a node is there")
        }
        var summary = Summary()
        summary.others = others
        var rows: [DataFile.Kind: Row] = [:]
        let files = found.filter { $0.kind != .unfinished && $0.kind != .idle }
        summary.unfinished = found.filter { $0.kind == .unfinished }.map(\.path)
        var state = Progress(
            doneBytes: 0, totalBytes: files.reduce(0) { $0 + $1.size }, files: files.count, path: path)
        progress(state)
        for file in files {
            state.path = file.path
            let (amount, damages) = check(file, state, progress)
            state.doneBytes += file.size
            progress(state)
            guard let amount else {
                summary.unfinished.append(file.path)
                continue
            }
            rows[file.kind, default: Row(kind: file.kind)].files += 1
            rows[file.kind]!.amount.blocks += amount.blocks
            rows[file.kind]!.amount.bytes += amount.bytes
            for found in damages { damage(found) }
            summary.damages += damages
        }
        for found in disagreements(at: path)
        where !summary.damages.contains(where: { $0.path == found.path && $0.offset == found.offset }) {
            damage(found)
            summary.damages.append(found)
        }
        summary.rows = DataFile.Kind.allCases.compactMap { rows[$0] }
        return summary
    }

    /// What is whole of `file`, and what is not; nil if it went away, or is a table that nobody has named yet.
    private func check(
        _ file: DataFile, _ state: Progress, _ progress: @escaping (Progress) -> Void
    ) -> (InspectedAmount?, [InspectedDamage]) {
        var report = look(at: file, state, progress)
        guard !report.damages.isEmpty else { return (report.checked, []) }
        // A node that runs may have changed it meanwhile.
        guard (try? fileSystem.exists(file.path)) ?? true else { return (nil, []) }
        report = look(at: file, state, { _ in })
        if report.damages.isEmpty { return (report.checked, []) }
        guard (try? fileSystem.exists(file.path)) ?? true else { return (nil, []) }
        if file.kind == .table, !engine.manifestNames(table: file.path) { return (nil, []) }
        return (report.checked, report.damages)
    }

    private var engine: EngineInspector { EngineInspector(fileSystem: fileSystem, options: options) }

    private func look(
        at file: DataFile, _ state: Progress, _ progress: @escaping (Progress) -> Void
    ) -> InspectionReport {
        var state = state
        let end = state.doneBytes + file.size
        var report = InspectionReport(noteChecked: { bytes in
            state.doneBytes = min(end, state.doneBytes + bytes)
            progress(state)
        }) { _ in }
        DataDirectoryInspector(fileSystem: fileSystem, options: options).show(file.path, file.kind, into: &report)
        return report
    }

    /// What files that are whole say of each other and is not so: a table that is missing, a batch that is gone.
    private func disagreements(at path: String) -> [InspectedDamage] {
        var report = InspectionReport { _ in }
        do throws(FileError) {
            try DataDirectoryInspector(fileSystem: fileSystem, options: options).inspect(path, into: &report)
        } catch {
            // A folder that only holds folders of nodes, or was removed: its files were looked at one by one.
        }
        return report.damages
    }
}
