import CairnFiles

extension EngineInspector {
    /// Under which data key the table at `path` is sealed, as its footer says in the clear.
    ///
    /// - Throws: ``FileError`` if that cannot be told: no table ends there, or it cannot be read.
    public static func cipherLabel(
        ofTable path: String, in fileSystem: any FileSystem
    ) throws(FileError) -> FileCipher.Label {
        let file = try fileSystem.open(path)
        let size = try file.size()
        guard size >= UInt64(TableFooter.byteCount) else {
            throw FileError(.corruption, .decode, path: path, offset: 0, reason: "a table of \(size) bytes")
        }
        let offset = size - UInt64(TableFooter.byteCount)
        let bytes = try file.read(at: offset, count: TableFooter.byteCount)
        do throws(StorageError) {
            return try TableFooter(
                decoding: bytes, at: offset, fileID: bytes[...].loadUInt64(at: 0), path: path
            ).cipher
        } catch {
            throw FileError(.corruption, .decode, path: path, offset: error.offset, reason: error.message)
        }
    }

    /// Whether the manifest beside the table at `path` names it; true where no manifest can be read.
    public func manifestNames(table path: String) -> Bool {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard let name = parts.last, case .table(let number)? = FileName(String(name)) else { return true }
        let directory = parts.count == 1 ? "." : parts.dropLast().joined(separator: "/")
        guard let state = (try? manifest(of: directory))??.state else { return true }
        return state.tables.contains { $0.description.number == number }
    }
}
