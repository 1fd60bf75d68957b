import CairnFiles
import CairnStorage

/// Shows whatever a path in a node's data directory leads to: a file, by its name or by how it begins, or a directory, by
/// what is in it.
///
/// ```
/// NODE_ID                 whose directory it is
/// keyring                 the data keys, where data is encrypted
/// raft/                   the shared log: segment-N, spare-N
/// groups/GROUP.left       what a replica had promised that left the group
/// groups/GROUP/tablet/    an engine: CURRENT, MANIFEST-N, N.wal, N.sst
/// groups/GROUP/TABLET     which directory beside it is the tablet, once a snapshot replaced the first
/// ```
public struct DataDirectoryInspector: Sendable {
    private let fileSystem: any FileSystem
    private let engine: EngineInspector
    private let log: SharedLogInspector

    public init(fileSystem: any FileSystem, options: InspectionOptions = InspectionOptions()) {
        self.fileSystem = fileSystem
        engine = EngineInspector(fileSystem: fileSystem, options: options)
        log = SharedLogInspector(fileSystem: fileSystem, options: options)
    }

    /// Shows the file or directory at `path`.
    ///
    /// - Throws: ``FileError`` if there is none (`notFound`), if it may not be read, or with code `unsupported` if it is
    ///   nothing that a node writes. Damage is no error here: it is in the report.
    public func inspect(_ path: String, into report: inout InspectionReport) throws(FileError) {
        var path = path
        while path.utf8.count > 1, path.hasSuffix("/") { path.removeLast() }
        guard try fileSystem.exists(path) else { throw FileError(.notFound, .open, path: path) }
        if let names = try? fileSystem.list(path) {
            try directory(path, names, into: &report)
        } else {
            try file(path, into: &report)
        }
    }

    private static func name(of path: String) -> String {
        path.split(separator: "/").last.map(String.init) ?? path
    }

    // MARK: - Files

    private func file(_ path: String, into report: inout InspectionReport) throws(FileError) {
        guard let kind = try DataFile.kind(of: path, in: fileSystem) else {
            throw FileError(.unsupported, .decode, path: path, reason: "no file of a node")
        }
        show(path, kind, into: &report)
    }

    /// Shows a file of a known kind, all of which is read.
    func show(_ path: String, _ kind: DataFile.Kind, into report: inout InspectionReport) {
        switch kind {
        case .table: engine.table(path, into: &report)
        case .wal: engine.wal(path, into: &report)
        case .manifest: engine.manifest(path, into: &report)
        case .segment: log.segment(path, into: &report)
        case .keyring: KeyringInspector(fileSystem: fileSystem).keyring(path, into: &report)
        case .current: engine.current(path, into: &report)
        case .note: text(path, into: &report)
        case .idle:
            let size = (try? fileSystem.size(of: path)) ?? 0
            report.line(
                Self.name(of: path) == "LOCK"
                    ? "the lock of whoever has the directory open; it has no contents"
                    : "a file of \(size) bytes that waits to become a segment")
        case .unfinished: report.line("on its way to another name, or left over")
        }
    }

    /// A small file whose contents say all.
    private func text(_ path: String, into report: inout InspectionReport) {
        do throws(FileError) {
            let bytes = try fileSystem.contents(of: path, limit: 1 << 20)
            let text = String(decoding: bytes, as: UTF8.self)
            guard !text.isEmpty, Array(text.utf8) == bytes, !bytes.contains(0) else {
                return report.damage(path, at: 0, "no text")
            }
            report.check(bytes: UInt64(bytes.count))
            for line in text.split(separator: "\n") { report.line(String(line)) }
        } catch {
            report.damage(error)
        }
    }

    // MARK: - Directories

    private func directory(
        _ path: String, _ names: [String], into report: inout InspectionReport
    ) throws(FileError) {
        let name = Self.name(of: path)
        if names.contains("NODE_ID") || names.contains("groups") || names.contains("raft") {
            node(path, names, into: &report)
        } else if name == "raft" || names.contains(where: SharedLogInspector.isSegment(_:)) {
            log.directory(path, into: &report)
        } else if names.contains(where: { EngineInspector.kind(ofName: $0).map { $0 != .lock } ?? false })
            || Self.isTablet(name)
        {
            engine.directory(path, into: &report)
        } else if names.contains(where: Self.isTablet) {
            group(path, into: &report)
        } else if name == "groups" || (!names.isEmpty && names.allSatisfy { UInt32($0) != nil }) {
            groups(path, into: &report)
        } else {
            throw FileError(.unsupported, .list, path: path, reason: "no directory of a node")
        }
    }

    /// `tablet`, or `tablet-N` once a snapshot took its place.
    private static func isTablet(_ name: String) -> Bool { name == "tablet" || name.hasPrefix("tablet-") }

    private func node(_ path: String, _ names: [String], into report: inout InspectionReport) {
        if names.contains("NODE_ID") {
            report.line("NODE_ID")
            report.indented { report in text("\(path)/NODE_ID", into: &report) }
        } else {
            report.line("NODE_ID is missing")
        }
        if names.contains("keyring") {
            report.line("keyring")
            report.indented { report in
                KeyringInspector(fileSystem: fileSystem).keyring("\(path)/keyring", into: &report)
            }
        }
        if names.contains("raft") {
            report.line("raft")
            report.indented { report in log.directory("\(path)/raft", into: &report) }
        }
        if names.contains("groups") { groups("\(path)/groups", into: &report) }
        let others = names.filter { !["NODE_ID", "LOCK", "keyring", "raft", "groups"].contains($0) }
        if !others.isEmpty { report.line("others: \(others.joined(separator: ", "))") }
    }

    private func groups(_ path: String, into report: inout InspectionReport) {
        do throws(FileError) {
            let names = try fileSystem.list(path)
            for name in names.sorted(by: { (UInt32($0) ?? .max, $0) < (UInt32($1) ?? .max, $1) }) {
                if name.hasSuffix(FormerReplica.suffix) {
                    report.line("\(name): what a replica had promised that left")
                    report.indented { report in text("\(path)/\(name)", into: &report) }
                    continue
                }
                report.line("group \(name)")
                report.indented { report in group("\(path)/\(name)", into: &report) }
            }
        } catch {
            report.damage(error)
        }
    }

    private func group(_ path: String, into report: inout InspectionReport) {
        do throws(FileError) {
            let names = try fileSystem.list(path)
            var tablet = "tablet"
            if names.contains("TABLET") {
                let file = "\(path)/TABLET"
                tablet = String(decoding: try fileSystem.contents(of: file, limit: 1 << 10), as: UTF8.self)
                guard Self.isTablet(tablet), !tablet.contains("/") else {
                    return report.damage(file, at: 0, "it names no tablet")
                }
            }
            if names.contains(tablet) {
                report.line(tablet)
                report.indented { report in engine.directory("\(path)/\(tablet)", into: &report) }
            } else if names.contains("TABLET") {
                report.damage("\(path)/\(tablet)", "the tablet that TABLET names is missing")
            } else {
                report.line("no tablet")
            }
            let others = names.filter { $0 != tablet && $0 != "TABLET" }
            if !others.isEmpty { report.line("on their way, or left over: \(others.joined(separator: ", "))") }
        } catch {
            report.damage(error)
        }
    }
}
