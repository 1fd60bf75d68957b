import CairnFiles

/// Shows the files of an engine's directory to people: what is in them, and where they are damaged.
///
/// It reads what ``Engine`` reads, with the same code as far as that serves, and needs nothing but the file at hand. It
/// takes no lock and changes nothing; see `InspectionReport` for what that means beside a running engine.
public struct EngineInspector: Sendable {
    let fileSystem: any FileSystem
    let options: InspectionOptions

    public init(fileSystem: any FileSystem, options: InspectionOptions = InspectionOptions()) {
        self.fileSystem = fileSystem
        self.options = options
    }

    /// What a name says the file is; nil for a name that no engine gives.
    public static func kind(ofName name: String) -> Kind? {
        switch FileName(name) {
        case .table: .table
        case .wal: .wal
        case .manifest: .manifest
        case .current: .current
        case .lock: .lock
        case nil: nil
        }
    }

    /// The kinds of file in an engine's directory.
    public enum Kind: Hashable, Sendable { case table, wal, manifest, current, lock }

    /// Whether the file at `path` ends as a table does.
    public static func isTable(_ path: String, in fileSystem: any FileSystem) throws(FileError) -> Bool {
        let size = try fileSystem.size(of: path)
        guard size >= UInt64(TableFooter.byteCount) else { return false }
        let file = try fileSystem.open(path)
        return try file.read(at: size - 8, upTo: 8) == TableFooter.magic
    }

    /// What the header of a record log is called when an engine wrote it.
    public static func kind(ofLog kind: RecordLogHeader.Kind) -> Kind? {
        switch kind {
        case WriteAheadLog.kind: .wal
        case Manifest.kind: .manifest
        default: nil
        }
    }

    /// Shows `CURRENT`.
    public func current(_ path: String, into report: inout InspectionReport) {
        do throws(FileError) {
            let text = String(decoding: try fileSystem.contents(of: path, limit: 1 << 10), as: UTF8.self)
            guard text.hasSuffix("\n"), case .manifest? = FileName(String(text.dropLast())) else {
                return report.damage(path, at: 0, "it names no manifest")
            }
            report.check(bytes: UInt64(text.utf8.count))
            report.line("names the manifest \(text.dropLast())")
        } catch {
            report.damage(error)
        }
    }

    func describe(_ range: KeyRange) -> String {
        "\(options.describeKey(range.smallest[...])) to \(options.describeKey(range.largest[...]))"
            + (range.largestIsExclusive ? " (exclusive)" : "")
    }

    func note(_ error: StorageError, about path: String, in report: inout InspectionReport) {
        report.damage(error.file ?? path, at: error.offset, error.message)
    }
}

extension TableDescription {
    /// Its versions and mark, as far as it has any.
    var versionText: String {
        let versions = smallestVersion <= largestVersion ? "@\(smallestVersion) to @\(largestVersion)" : "none"
        return "\(versions), mark \(mark)"
    }
}
