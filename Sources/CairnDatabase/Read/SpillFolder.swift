import CairnBSON
import CairnFiles
import CairnQuery
import Synchronization

/// The folder of a node in which queries put what does not fit into memory: a file a run.
///
/// Files are sealed where the node's are, and belong to one process: it deletes each when the query lets go of it, and all of them
/// when it starts. Nothing of it is ever synced.
///
/// A file is a sequence of blocks (``BlockCodec``), which hold the documents one after the other, whatever the borders of the
/// blocks. Where the blocks are is known in memory only.
public final class SpillFolder: SpillStore {
    /// Bytes of documents in one block.
    static let blockBytes = 256 << 10

    fileprivate let fileSystem: any FileSystem
    private let directory: String
    private let bytesMax: Int
    /// What has to stay free on the device for the node itself.
    private let reserveBytes: UInt64
    private let usedBytes = Atomic(0)

    /// Empties the folder, or makes it.
    ///
    /// - Parameter bytesMax: what all files may take together; a query that would need more is refused.
    public init(
        in directory: String, _ fileSystem: any FileSystem, bytesMax: Int = 32 << 30, reserveBytes: UInt64 = 1 << 30
    ) throws(FileError) {
        self.directory = directory
        self.fileSystem = fileSystem
        self.bytesMax = bytesMax
        self.reserveBytes = reserveBytes
        try fileSystem.removeTree(directory)
        try fileSystem.createDirectory(directory)
    }

    /// Bytes that the files take now.
    public var heldBytes: Int { usedBytes.load(ordering: .relaxed) }

    public func makeRun() throws(QueryError) -> any SpillRun {
        let fileID = fileSystem.makeFileID()
        return try Self.told { () throws(FileError) in
            try SpillFile("\(self.directory)/\(fileID).spill", fileID: fileID, folder: self)
        }
    }

    fileprivate func take(_ bytes: Int) throws(QueryError) {
        // Asked first: what throws must not have taken anything.
        let free = try Self.told { () throws(FileError) in try self.fileSystem.freeSpace(at: self.directory) }
        let used = usedBytes.wrappingAdd(bytes, ordering: .relaxed).newValue
        guard used <= bytesMax, free >= reserveBytes + UInt64(bytes) else {
            usedBytes.wrappingSubtract(bytes, ordering: .relaxed)
            throw QueryError(
                .outOfDiskSpace,
                used > bytesMax
                    ? "what queries have put on the disk exceeds \(bytesMax) bytes"
                    : "the disk has no room for what a query cannot hold in memory")
        }
    }

    fileprivate func release(_ bytes: Int) { usedBytes.wrappingSubtract(bytes, ordering: .relaxed) }

    fileprivate static func told<Value>(_ work: () throws(FileError) -> Value) throws(QueryError) -> Value {
        do throws(FileError) {
            return try work()
        } catch {
            throw QueryError(
                error.code == .outOfSpace ? .outOfDiskSpace : .internalError,
                "what a query cannot hold in memory cannot be put on the disk: \(error)")
        }
    }
}

/// One run: see ``SpillFolder``.
private final class SpillFile: SpillRun {
    private let path: String
    private let fileID: UInt64
    private let folder: SpillFolder
    private let codec: BlockCodec
    private let sealer: FileCipher.Sealer?
    private let writing: any WritableFile
    private var reading: (any ReadableFile)?
    private var blocks: [(offset: UInt64, count: Int)] = []
    private var end: UInt64 = 0
    /// Documents that are not written yet, or not given out yet.
    private var buffer: [UInt8] = []
    private var position = 0
    private var nextBlock = 0

    init(_ path: String, fileID: UInt64, folder: SpillFolder) throws(FileError) {
        self.path = path
        self.fileID = fileID
        self.folder = folder
        let cipher = folder.fileSystem.keyring?.makeCipher(fileID: fileID)
        codec = BlockCodec(cipher: cipher)
        sealer = cipher?.makeSealer()
        writing = try folder.fileSystem.create(path)
    }

    deinit {
        // What is left in the folder goes when the node starts.
        try? writing.close()
        try? reading?.close()
        try? folder.fileSystem.remove(path)
        folder.release(Int(end))
    }

    func append(_ document: Document) throws(QueryError) {
        precondition(reading == nil, "a run that is being read takes no more documents")
        buffer += document.bytes
        while buffer.count - position >= SpillFolder.blockBytes { try writeBlock(SpillFolder.blockBytes) }
        buffer.removeFirst(position)
        position = 0
    }

    private func writeBlock(_ count: Int) throws(QueryError) {
        var stored: [UInt8] = []
        let block = buffer[position..<position + count]
        unsafe codec.encode(
            block.span.bytes, fileID: fileID, offset: end, sealer: sealer, appendingTo: &stored)
        try folder.take(stored.count)
        let offset = end
        end += UInt64(stored.count)
        try SpillFolder.told { () throws(FileError) in try self.writing.write(stored, at: offset) }
        blocks.append((offset, stored.count))
        position += count
    }

    func next() throws(QueryError) -> Document? {
        if reading == nil {
            if buffer.count > position { try writeBlock(buffer.count - position) }
            buffer = []
            position = 0
            reading = try SpillFolder.told { () throws(FileError) in try self.folder.fileSystem.open(self.path) }
        }
        guard try fill(4) else { return nil }
        let count = (0..<4).reduce(0) { $0 | Int(buffer[position + $1]) << ($1 * 8) }
        guard count >= 5, try fill(count) else {
            throw QueryError(.internalError, "\(path) ends within a document")
        }
        defer { position += count }
        return Document(trusted: ArraySlice(Array(buffer[position..<position + count])))
    }

    /// Sees to it that so many bytes are at hand; false when the file has no more.
    private func fill(_ count: Int) throws(QueryError) -> Bool {
        while buffer.count - position < count {
            guard nextBlock < blocks.count else { return false }
            let (offset, stored) = blocks[nextBlock]
            nextBlock += 1
            let block = try SpillFolder.told { () throws(FileError) in
                try self.codec.read(from: self.reading!, at: offset, count: stored, fileID: self.fileID)
            }
            buffer.removeFirst(position)
            position = 0
            buffer += block
        }
        return true
    }
}
