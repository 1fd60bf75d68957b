import CairnFiles
import Synchronization

extension Engine {
    /// Makes a consistent copy in `target`, which must not exist, and returns its mark.
    ///
    /// Flushes first, so the copy has everything that was applied before the call. It shares the tables with this engine
    /// by hard links, so both must be on one device, and ``open(directory:fileSystem:options:background:)`` opens it.
    /// When this returns it is durable. Blocks; not for event loops.
    public func checkpoint(into target: String) throws(StorageError) -> UInt64 {
        try flush()
        // The tables are held on to, so no compaction takes a file away before it is linked.
        let (state, tables) = manifest.withLock { manifest in (manifest.state, view.withLock { $0.tables }) }
        do throws(FileError) {
            if try fileSystem.exists(target) {
                throw FileError(.exists, .createDirectory, path: target, reason: "a checkpoint makes its directory")
            }
            try fileSystem.createDirectory(target)
            for table in tables.all {
                let file = FileName.table(table.description.number)
                try fileSystem.link(file.path(in: directory), to: file.path(in: target))
            }
            // Starting the manifest syncs the directory before CURRENT appears in it, and after.
            var copy = Manifest(fileSystem: fileSystem, directory: target, state: state)
            _ = try copy.commit(ManifestEdit(), outputs: []) { state.nextFileNumber }
            copy.close()
        } catch {
            if error.code != .exists { try? fileSystem.removeTree(target) }
            let failure = StorageError(error)
            if failure.code == .failed { fail(failure) }
            throw failure
        }
        return state.mark
    }
}
