import CairnFiles

extension Engine {
    /// Writes again, under the keyring's active key, what lies under older ones, on the calling thread: memtable, tables,
    /// manifest. Takes turns with compactions, table by table.
    ///
    /// Files that readers hold stay until the readers let go. Without a keyring there is nothing to do.
    ///
    /// - Throws: ``StorageError``; what was rewritten before stays so, and the rest is as it was.
    public func rewriteUnderActiveKey() throws(StorageError) {
        guard let keyring = fileSystem.keyring else { return }
        try flush()
        let files = writer.withLock { $0.log.giveUpUnused() }
        janitor.remove(files)
        while try rewriteOneTable(unless: keyring.activeID) {}
        // An edit of nothing: the manifest sees for itself that its key is old.
        try install(ManifestEdit(), added: [], removed: [])
        // So that whoever looks next finds the old files gone.
        janitor.sweep()
    }

    /// False if there is no table under another key.
    private func rewriteOneTable(unless active: UInt64) throws(StorageError) -> Bool {
        var didRewrite = false
        try alone(stopsFlushes: false) { () throws(StorageError) in
            let set = view.withLock { $0.tables }
            for level in set.levels.indices {
                for table in set.levels[level] {
                    let path = FileName.table(table.description.number).path(in: directory)
                    let label = try mappingFileErrors { () throws(FileError) in
                        try EngineInspector.cipherLabel(ofTable: path, in: fileSystem)
                    }
                    guard label.keyID != active else { continue }
                    var compaction = Compaction(inputs: [(level, table)], outputLevel: level)
                    if level == 0 {
                        // Reads rely on the order of level 0, so its tables go down together.
                        compaction = CompactionPicker(options: options).compactionOfLevel0(set)
                        compaction.isMove = false
                    }
                    try run(compaction, set, retainedVersions())
                    didRewrite = true
                    return
                }
            }
        }
        return didRewrite
    }
}
