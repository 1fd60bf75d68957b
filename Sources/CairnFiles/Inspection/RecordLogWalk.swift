/// Reads a record log that may be written at this moment.
///
/// A reader that meets a record half written, and behind it records that are younger than its first look, would call it
/// damage. So damage counts only if a second look from the start finds it again.
public struct RecordLogWalk {
    public let header: RecordLogHeader
    /// What the bodies are sealed with, if they are.
    public var cipher: FileCipher? { reader.cipher }
    /// The size that the file had when the walk began.
    public let size: UInt64
    /// Something was bad that was good, or not there, on a second look: whatever was read before is out of date.
    public private(set) var changedMeanwhile = false
    /// The end of the last item that was read.
    public var position: UInt64 { reader.position }

    private var reader: RecordLogReader
    private let knownEnd: UInt64?
    private let fileSystem: any FileSystem
    /// Where damage lasts; nil before any was met.
    private var lasting: Set<UInt64>?

    /// - Throws: as ``RecordLogReader/init(_:kind:knownEnd:in:)``.
    public init(
        _ path: String, kind: RecordLogHeader.Kind, knownEnd: UInt64? = nil, in fileSystem: any FileSystem
    ) throws(FileError) {
        size = try fileSystem.size(of: path)
        reader = try Self.open(path, kind, knownEnd, fileSystem)
        header = reader.header
        self.knownEnd = knownEnd
        self.fileSystem = fileSystem
    }

    /// The next record, lasting damage, or the end.
    public mutating func next() throws(FileError) -> RecordLogReader.Item {
        while true {
            let item = try reader.nextItem()
            guard case .damage(let offset, _) = item else { return item }
            if lasting == nil { lasting = findDamage() }
            if lasting!.contains(offset) { return item }
            changedMeanwhile = true
        }
    }

    private func findDamage() -> Set<UInt64> {
        var result: Set<UInt64> = []
        do throws(FileError) {
            var second = try Self.open(reader.path, header.kind, knownEnd, fileSystem)
            // Another life of the file says nothing about this one.
            guard second.header == header else { return [] }
            while true {
                switch try second.nextItem() {
                case .record: break
                case .damage(let offset, _): result.insert(offset)
                case .end: return result
                }
            }
        } catch {
            // It is gone: given up by its owner since.
            return error.code == .notFound ? [] : result
        }
    }

    private static func open(
        _ path: String, _ kind: RecordLogHeader.Kind, _ knownEnd: UInt64?, _ fileSystem: some FileSystem
    ) throws(FileError) -> RecordLogReader {
        try RecordLogReader(path, kind: kind, knownEnd: knownEnd, in: fileSystem)
    }
}
