import CairnFiles

/// Under which data keys the files of a data directory are sealed: what they say in the clear, so no master key is needed.
public struct DataKeyUsage: Sendable {
    /// The files under one key.
    public struct Use: Hashable, Sendable {
        public var files = 0
        public var bytes: UInt64 = 0

        public init() {}
    }

    /// By the key's id; 0 stands for files in the clear.
    public private(set) var uses: [UInt64: Use] = [:]
    /// Files of which it cannot be told: damaged, or not finished.
    public private(set) var unknown: [String] = []

    /// Reads the header or footer of every file at or below `directory`.
    ///
    /// Beside a running node a file that comes, goes or is renamed meanwhile may be missed.
    public init(of directory: String, in fileSystem: any FileSystem) throws(FileError) {
        for file in try DataFile.all(below: directory, in: fileSystem).files {
            do throws(FileError) {
                guard let label = try file.cipherLabel(in: fileSystem) else { continue }
                uses[label.keyID, default: Use()].files += 1
                uses[label.keyID]!.bytes += file.size
            } catch {
                if (try? fileSystem.exists(file.path)) ?? true { unknown.append(file.path) }
            }
        }
    }

    /// The keys that files are sealed under; nil unless it could be told of every file.
    public var keysInUse: Set<UInt64>? { unknown.isEmpty ? Set(uses.keys) : nil }
}

extension Keyring {
    /// Drops the keys that no file below `directory` needs any more; see ``dropUnused(_:)``.
    @discardableResult
    public func dropUnused(below directory: String, in fileSystem: any FileSystem) throws(FileError) -> [UInt64] {
        try dropUnused { () throws(FileError) in try DataKeyUsage(of: directory, in: fileSystem).keysInUse }
    }
}
