import CairnFiles
import CairnRaft

/// Streams one checkpoint to one follower.
///
/// The files are one long row of bytes. The sender runs at most a window ahead of what the receiver acknowledged, and goes
/// back to the acknowledged byte when nothing is heard for a while, so a lost frame costs a window and not the
/// transfer. It owns its checkpoint's directory until ``removeFiles()``.
final class SnapshotSender {
    let peer: NodeID
    let transfer: SnapshotTransfer
    let metadata: SnapshotMetadata
    let directory: String
    let totalBytes: UInt64
    private(set) var acknowledged: UInt64 = 0

    private let fileSystem: any FileSystem
    private let files: [SnapshotFile]
    /// Where each file begins in the row of bytes.
    private let starts: [UInt64]
    private let options: GroupHostOptions
    private var sent: UInt64 = 0
    private var begun = false
    private var lastHeard: UInt64
    private var lastSent: UInt64
    private var open: (file: Int, handle: any ReadableFile)?

    /// - Parameter directory: a complete checkpoint as of `metadata`.
    init(
        peer: NodeID, transfer: SnapshotTransfer, metadata: SnapshotMetadata, directory: String,
        fileSystem: any FileSystem, options: GroupHostOptions, now: UInt64
    ) throws(FileError) {
        self.peer = peer
        self.transfer = transfer
        self.metadata = metadata
        self.directory = directory
        self.fileSystem = fileSystem
        self.options = options
        var files: [SnapshotFile] = []
        var starts: [UInt64] = []
        var total: UInt64 = 0
        for name in try fileSystem.list(directory) {
            let byteCount = try fileSystem.size(of: directory + "/" + name)
            files.append(SnapshotFile(name: name, byteCount: byteCount))
            starts.append(total)
            total += byteCount
        }
        self.files = files
        self.starts = starts
        self.totalBytes = total
        self.lastHeard = now
        self.lastSent = 0
    }

    /// The receiver has everything below `position`.
    func acknowledge(_ position: UInt64, now: UInt64) {
        guard position <= totalBytes else { return }
        if !begun || position > acknowledged {
            begun = true
            lastHeard = now
            acknowledged = max(acknowledged, position)
            sent = max(sent, acknowledged)
        }
    }

    /// The receiver does not know the transfer: everything is to be sent again.
    func startOver() {
        begun = false
        acknowledged = 0
        sent = 0
        lastSent = 0
    }

    /// Whether the receiver was silent for so long that the transfer has failed.
    func isTimedOut(now: UInt64) -> Bool {
        now > lastHeard && now - lastHeard > options.snapshotTimeoutNanoseconds
    }

    /// Sends what window and budget allow; the budget goes down by what was sent.
    func pump(now: UInt64, budget: inout UInt64, send: (SnapshotMessage) -> Void) throws(FileError) {
        let isSilent = now >= lastSent + options.snapshotRetryNanoseconds
        if !begun {
            guard lastSent == 0 || isSilent else { return }
            lastSent = now
            send(.begin(transfer, metadata, files: files, keys: fileSystem.keyring?.keys ?? []))
            return
        }
        if isSilent, sent > acknowledged { sent = acknowledged }
        if isSilent, acknowledged == totalBytes {
            // Everything arrived and the answer did not, or the install takes its time: ask again.
            lastSent = now
            send(.begin(transfer, metadata, files: files, keys: fileSystem.keyring?.keys ?? []))
        }
        while budget > 0, sent < totalBytes, sent - acknowledged < options.snapshotWindowBytes {
            let file = fileIndex(at: sent)
            let offset = sent - starts[file]
            let count = Int(min(UInt64(options.snapshotChunkBytes), files[file].byteCount - offset))
            let bytes = try handle(file).read(at: offset, count: count)
            send(
                .chunk(
                    transfer, file: UInt32(file), offset: offset, position: sent,
                    checksum: CRC32C.checksum(bytes), bytes[...]))
            sent += UInt64(count)
            budget -= min(budget, UInt64(count))
            lastSent = now
        }
    }

    /// The last file that begins at or before `position` and is not empty there.
    private func fileIndex(at position: UInt64) -> Int {
        var low = 0
        var high = starts.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= position { low = middle } else { high = middle }
        }
        return low
    }

    private func handle(_ file: Int) throws(FileError) -> any ReadableFile {
        if let open, open.file == file { return open.handle }
        try open?.handle.close()
        open = nil
        let handle = try fileSystem.open(directory + "/" + files[file].name)
        open = (file, handle)
        return handle
    }

    /// Ends the transfer on this side. What cannot be removed now goes at the next start.
    func removeFiles() {
        try? open?.handle.close()
        open = nil
        try? fileSystem.removeTree(directory)
    }
}
