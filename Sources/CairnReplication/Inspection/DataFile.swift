import CairnFiles
import CairnStorage

/// A file of a node's data directory, known by its name, or under another name by how it begins.
public struct DataFile: Hashable, Sendable {
    /// What a file is for.
    public enum Kind: Hashable, Sendable, CaseIterable {
        case table, wal, manifest
        /// Of the log that all groups share.
        case segment
        case keyring
        /// `CURRENT`: which manifest counts.
        case current
        /// A line or two of text, or none: `NODE_ID`, `TABLET`, marks of replicas that come and go.
        case note
        /// Contents that count for nothing, to be written over or held as a lock.
        case idle
        /// On its way to another name, or left over from what was interrupted.
        case unfinished
    }

    public let path: String
    public let kind: Kind
    public let size: UInt64

    /// All files at or below `path`, and the paths of those that no node writes.
    ///
    /// What goes away meanwhile is left out, because a node may be at work here.
    ///
    /// - Throws: ``FileError`` if `path` cannot be read.
    public static func all(
        below path: String, in fileSystem: any FileSystem
    ) throws(FileError) -> (files: [DataFile], others: [String]) {
        guard try fileSystem.exists(path) else { throw FileError(.notFound, .open, path: path) }
        var files: [DataFile] = []
        var others: [String] = []
        var waiting: [(path: String, isUnfinished: Bool)] = [(path, false)]
        while let (next, isUnfinished) = waiting.popLast() {
            if let names = try? fileSystem.list(next) {
                for name in names.sorted().reversed() {
                    waiting.append(
                        ("\(next)/\(name)", isUnfinished || GroupHost.isUnfinishedSnapshot(name)))
                }
                continue
            }
            do throws(FileError) {
                let size = try fileSystem.size(of: next)
                guard let kind = try isUnfinished ? .unfinished : kind(of: next, in: fileSystem) else {
                    others.append(next)
                    continue
                }
                files.append(DataFile(path: next, kind: kind, size: size))
            } catch {
                if error.code != .notFound { throw error }
            }
        }
        return (files, others)
    }

    /// What the file at `path` is; nil if a node writes nothing like it.
    static func kind(of path: String, in fileSystem: any FileSystem) throws(FileError) -> Kind? {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        if name.hasSuffix(".new") { return .unfinished }
        if SharedLogInspector.isSpare(name) || name == "LOCK" { return .idle }
        if notes.contains(name) || name.hasSuffix(FormerReplica.suffix) || ReplicaFolders.isNote(name) { return .note }
        if name == "keyring" { return .keyring }
        if SharedLogInspector.isSegment(name) { return .segment }
        switch EngineInspector.kind(ofName: name) {
        case .table: return .table
        case .wal: return .wal
        case .manifest: return .manifest
        case .current: return .current
        case .lock: return .idle
        case nil: return try kind(ofContents: path, in: fileSystem)
        }
    }

    /// Of the node's folder and of replicas', beside those of ``ReplicaFolders``.
    private static let notes: Set<String> = ["NODE_ID", "layout", "TABLET", "DAMAGED"]

    private static func kind(ofContents path: String, in fileSystem: any FileSystem) throws(FileError) -> Kind? {
        let file = try fileSystem.open(path)
        let head = try file.read(at: 0, upTo: RecordLogHeader.byteCount)
        if let header = try? RecordLogHeader(decoding: head[...], path: path) {
            if SharedLogInspector.isSegment(header.kind) { return .segment }
            switch EngineInspector.kind(ofLog: header.kind) {
            case .wal: return .wal
            case .manifest: return .manifest
            default: break
            }
        }
        if try KeyringInspector.isKeyring(path, in: fileSystem) { return .keyring }
        return try EngineInspector.isTable(path, in: fileSystem) ? .table : nil
    }

    /// Under which data key the file is sealed, as it says in the clear; ``FileCipher/Label/none`` if under none. Nil for a
    /// file that has nothing to seal.
    ///
    /// - Throws: ``FileError`` if that cannot be told.
    public func cipherLabel(in fileSystem: any FileSystem) throws(FileError) -> FileCipher.Label? {
        switch kind {
        case .keyring, .current, .note, .idle: return nil
        case .wal, .manifest, .segment: return try Self.label(ofLog: path, in: fileSystem)
        case .table: return try EngineInspector.cipherLabel(ofTable: path, in: fileSystem)
        case .unfinished:
            if let label = try? Self.label(ofLog: path, in: fileSystem) { return label }
            return try EngineInspector.cipherLabel(ofTable: path, in: fileSystem)
        }
    }

    private static func label(ofLog path: String, in fileSystem: any FileSystem) throws(FileError) -> FileCipher.Label {
        let head = try fileSystem.open(path).read(at: 0, upTo: RecordLogHeader.byteCount)
        return try RecordLogHeader(decoding: head[...], path: path).cipher
    }
}
