import CairnFiles

/// What the manifest says: the tables by level and the numbers of ``ManifestEdit``.
struct ManifestState: Hashable {
    /// Level 0 newest first, as in ``TableSet``.
    var levels: [[TableDescription]] = Array(repeating: [], count: TableSet.levelCount)
    var logNumber: UInt64 = 0
    var flushedSequence: UInt64 = 0
    var mark: UInt64 = 0
    var version: UInt64 = 0
    var nextFileNumber: UInt64 = 1
    var horizon: UInt64 = 0

    /// - Throws: ``StorageError`` with code `corruption` if the edit removes what is not there.
    mutating func apply(_ edit: ManifestEdit, path: String = "", offset: UInt64 = 0) throws(StorageError) {
        for number in edit.removed {
            let level = levels.firstIndex { $0.contains { $0.number == number } }
            guard let level else {
                throw StorageError(.corruption, "table \(number) goes and was not there", file: path, offset: offset)
            }
            levels[level].removeAll { $0.number == number }
        }
        for added in edit.added {
            if added.level == 0 {
                levels[0].insert(added.description, at: 0)
            } else {
                levels[added.level].append(added.description)
            }
        }
        logNumber = edit.logNumber ?? logNumber
        flushedSequence = edit.flushedSequence ?? flushedSequence
        mark = edit.mark ?? mark
        version = edit.version ?? version
        nextFileNumber = edit.nextFileNumber ?? nextFileNumber
        horizon = max(horizon, edit.horizon ?? 0)
    }

    /// Throws unless every table stands once, and those of a sorted level one behind the other, which reads rely on.
    func validate(path: String) throws(StorageError) {
        var numbers: Set<UInt64> = []
        for (number, level) in levels.enumerated() {
            for table in level where !numbers.insert(table.number).inserted {
                throw StorageError(.corruption, "table \(table.number) stands twice", file: path, offset: 0)
            }
            guard number > 0 else { continue }
            let sorted = level.sorted { isOrderedBefore($0.range.smallest, $1.range.smallest) }
            for (left, right) in zip(sorted, sorted.dropFirst()) where !left.range.isBefore(right.range) {
                throw StorageError(
                    .corruption, "tables \(left.number) and \(right.number) of level \(number) overlap", file: path,
                    offset: 0)
            }
        }
    }

    /// The edit that makes this state from nothing.
    var snapshot: ManifestEdit {
        var edit = ManifestEdit()
        for (level, tables) in levels.enumerated() {
            // Level 0 is filled from its oldest, because each one goes to the front.
            for description in level == 0 ? tables.reversed() : tables {
                edit.added.append(ManifestEdit.Added(level: level, description: description))
            }
        }
        edit.logNumber = logNumber
        edit.flushedSequence = flushedSequence
        edit.mark = mark
        edit.version = version
        edit.nextFileNumber = nextFileNumber
        edit.horizon = horizon
        return edit
    }
}

/// The log of edits that is the tree's memory: `CURRENT` names a `MANIFEST-n`, which begins with the whole state.
///
/// After a failed write the file takes no more: the next edit starts a new manifest with the state so far, synced before
/// `CURRENT` is switched to it. Until that has succeeded nobody can know whether the failed edit survived, so files that
/// it named or dropped are kept (``limbo``). Not synchronized: the engine's installer owns it.
struct Manifest {
    static let kind = RecordLogHeader.Kind("CMAN")
    /// A manifest that has grown to this, and to several times its first record, is started anew.
    static let bytesMax: UInt64 = 1 << 20

    private let fileSystem: any FileSystem
    private let directory: String
    private var writer: RecordLogWriter?
    private(set) var number: UInt64 = 0
    private var firstRecordEnd: UInt64 = 0
    private(set) var state: ManifestState
    /// Files whose fate hangs on an edit of unknown outcome, and manifests that were superseded or half made.
    private var limbo: [String] = []

    init(fileSystem: any FileSystem, directory: String, state: ManifestState) {
        self.fileSystem = fileSystem
        self.directory = directory
        self.state = state
    }

    /// Files that must stay until the next successful edit.
    var undecidedFiles: Set<String> { Set(limbo) }

    /// Makes `edit` durable, in the running manifest or in a new one.
    ///
    /// - Parameter outputs: Files that only the edit names; on an error they are kept until the outcome is known.
    /// - Returns: files that can be removed now.
    mutating func commit(
        _ edit: ManifestEdit, outputs: [String], makeNumber: () -> UInt64
    ) throws(FileError) -> [String] {
        var next = state
        do throws(StorageError) { try next.apply(edit) } catch { preconditionFailure("an edit of our own: \(error)") }
        do throws(FileError) {
            if writer != nil, !needsNewFile {
                do throws(FileError) {
                    try writer!.append(edit.encoded())
                    try writer!.synchronize()
                    state = next
                    return []
                } catch  where error.operation != .synchronize {
                    // Cut away what was written of the edit; whatever became of it, the new manifest decides.
                    try? writer!.retire()
                }
            }
            try startNew(next, number: makeNumber())
        } catch {
            limbo += outputs
            throw error
        }
        state = next
        defer { limbo = [] }
        return limbo
    }

    private var needsNewFile: Bool {
        guard let writer else { return true }
        // The key that new files are sealed under may have changed since.
        if let keyring = fileSystem.keyring, writer.header.cipher.keyID != keyring.activeID { return true }
        return writer.hasFailed || writer.position > max(Self.bytesMax, 4 * firstRecordEnd)
    }

    /// The new file is on the disk with its name before `CURRENT` is.
    private mutating func startNew(_ state: ManifestState, number fresh: UInt64) throws(FileError) {
        let path = FileName.manifest(fresh).path(in: directory)
        limbo.append(path)
        var state = state
        state.nextFileNumber = max(state.nextFileNumber, fresh + 1)
        let header = RecordLogHeader(kind: Self.kind, number: fresh, fileID: fileSystem.makeFileID())
        var created = try Self.create(path, header, fileSystem)
        try created.append(state.snapshot.encoded())
        try created.synchronize()
        try fileSystem.replace(
            FileName.current.path(in: directory), with: Array((FileName.manifest(fresh).name + "\n").utf8))
        limbo.removeAll { $0 == path }
        if writer != nil {
            try? writer!.close()
            limbo.append(FileName.manifest(number).path(in: directory))
        }
        writer = created
        number = fresh
        firstRecordEnd = created.position
    }

    private static func create(
        _ path: String, _ header: RecordLogHeader, _ fileSystem: some FileSystem
    ) throws(FileError) -> RecordLogWriter {
        try RecordLogWriter.create(path, header: header, in: fileSystem)
    }

    mutating func close() {
        try? writer?.close()
        writer = nil
    }

    // MARK: - Reading

    /// What the manifest of `directory` says; nil if there is no engine in it.
    static func read(
        in directory: String, fileSystem: any FileSystem
    ) throws(StorageError) -> (state: ManifestState, number: UInt64)? {
        let current = FileName.current.path(in: directory)
        guard try mappingFileErrors({ () throws(FileError) in try fileSystem.exists(current) }) else { return nil }
        let text = String(
            decoding: try mappingFileErrors { () throws(FileError) in
                try fileSystem.contents(of: current, limit: 1 << 10)
            },
            as: UTF8.self)
        guard text.hasSuffix("\n"), case .manifest(let number)? = FileName(String(text.dropLast())) else {
            throw StorageError(.corruption, "it names no manifest", file: current, offset: 0)
        }
        let path = FileName.manifest(number).path(in: directory)
        var reader = try mappingFileErrors { () throws(FileError) in try open(path, fileSystem) }
        guard reader.header.number == number else {
            throw StorageError(.corruption, "manifest \(reader.header.number) in the place of \(number)", file: path)
        }
        var state = ManifestState()
        var records = 0
        while let record = try mappingFileErrors({ () throws(FileError) in try reader.next() }) {
            let edit = try ManifestEdit(decoding: record.body, path: path, offset: record.offset)
            try state.apply(edit, path: path, offset: record.offset)
            records += 1
        }
        // The first record was synced before `CURRENT` named the file.
        guard records > 0 else { throw StorageError(.corruption, "an empty manifest", file: path, offset: 0) }
        try state.validate(path: path)
        return (state, number)
    }

    private static func open(_ path: String, _ fileSystem: some FileSystem) throws(FileError) -> RecordLogReader {
        try RecordLogReader(path, kind: kind, in: fileSystem)
    }
}
