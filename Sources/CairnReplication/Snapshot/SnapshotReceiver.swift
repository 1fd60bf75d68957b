import CairnFiles
import CairnRaft

/// Writes the files of a snapshot that a leader streams to this replica.
///
/// It takes bytes in order only and answers each message with the byte that it wants next, so that lost, repeated and
/// reordered chunks change nothing. Files are synced as they grow: the last sync, which the event loop waits for, is short.
/// Nothing of it counts until ``finish()`` returned and the host installed the directory.
final class SnapshotReceiver {
    let sender: NodeID
    let transfer: SnapshotTransfer
    let metadata: SnapshotMetadata
    let directory: String
    let totalBytes: UInt64
    private(set) var received: UInt64 = 0
    private(set) var lastHeard: UInt64

    private let fileSystem: any FileSystem
    private let files: [SnapshotFile]
    private let syncBytes: UInt64
    private var file = 0
    private var offset: UInt64 = 0
    private var unsynced: UInt64 = 0
    private var handle: (any WritableFile)?

    /// - Throws: when the directory cannot be made; nothing remains then.
    init(
        sender: NodeID, transfer: SnapshotTransfer, metadata: SnapshotMetadata, files: [SnapshotFile],
        directory: String, fileSystem: any FileSystem, syncBytes: UInt64, now: UInt64
    ) throws(FileError) {
        self.sender = sender
        self.transfer = transfer
        self.metadata = metadata
        self.directory = directory
        self.files = files
        self.totalBytes = files.reduce(0) { $0 &+ $1.byteCount }
        self.fileSystem = fileSystem
        self.syncBytes = syncBytes
        self.lastHeard = now
        try fileSystem.createDirectory(directory)
    }

    var isComplete: Bool { received == totalBytes }

    /// Takes a chunk if it is the next one; any other is ignored.
    ///
    /// - Throws: `FileError`; the transfer has failed then and its directory is to be removed.
    func accept(
        file chunkFile: UInt32, offset chunkOffset: UInt64, position: UInt64, checksum: UInt32,
        _ bytes: ArraySlice<UInt8>, now: UInt64
    ) throws(FileError) {
        lastHeard = now
        guard position == received, !isComplete else { return }
        try skipFinishedFiles()
        guard Int(chunkFile) == file, chunkOffset == offset, !bytes.isEmpty,
            UInt64(bytes.count) <= files[file].byteCount - offset, CRC32C.checksum(bytes) == checksum
        else { return }
        let handle = try currentHandle()
        try handle.write(bytes, at: offset)
        offset += UInt64(bytes.count)
        received += UInt64(bytes.count)
        unsynced += UInt64(bytes.count)
        if unsynced >= syncBytes {
            try handle.synchronizeData()
            unsynced = 0
        }
    }

    /// Makes the empty files that remain, syncs the last file and the directory.
    func finish() throws(FileError) {
        precondition(isComplete, "\(received) of \(totalBytes) bytes")
        try skipFinishedFiles()
        try fileSystem.synchronizeDirectory(directory)
    }

    private func skipFinishedFiles() throws(FileError) {
        while file < files.count, offset == files[file].byteCount {
            _ = try currentHandle()
            try closeFile()
        }
    }

    private func currentHandle() throws(FileError) -> any WritableFile {
        if let handle { return handle }
        let handle = try fileSystem.create(directory + "/" + files[file].name, preallocate: 0)
        self.handle = handle
        return handle
    }

    private func closeFile() throws(FileError) {
        guard let handle else { return }
        try handle.synchronizeData()
        try handle.close()
        self.handle = nil
        unsynced = 0
        offset = 0
        file += 1
    }

    /// Gives up: nothing of the transfer remains. What cannot be removed now goes at the next start.
    func removeFiles() {
        try? handle?.close()
        handle = nil
        try? fileSystem.removeTree(directory)
    }
}
