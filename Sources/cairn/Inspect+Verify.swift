import ArgumentParser
import CairnFiles
import CairnReplication
import Foundation

extension Inspect {
    /// `cairn inspect --verify PATH`: checks everything there, shows on the standard error how far it is, and ends with a
    /// table of what was checked.
    func verify(in fileSystem: PosixFileSystem) throws {
        let start = ContinuousClock.now
        let isTerminal = isatty(STDERR_FILENO) == 1
        let lines = ProgressLines(isTerminal: isTerminal)
        let summary: DataDirectoryVerifier.Summary
        do throws(FileError) {
            summary = try DataDirectoryVerifier(fileSystem: fileSystem).verify(path) { progress in
                lines.show(progress, seconds: (ContinuousClock.now - start) / .seconds(1))
            } damage: { damage in
                lines.clear()
                print("DAMAGE \(damage)")
            }
        } catch {
            lines.clear()
            print("cairn inspect: \(error)")
            throw ExitCode(2)
        }
        lines.clear()
        print(summary.text(limit: limit == 0 ? .max : limit))
        if !summary.damages.isEmpty { throw ExitCode(1) }
    }
}

/// Where the verification is, on the standard error.
private final class ProgressLines {
    private let isTerminal: Bool
    private var display: ProgressDisplay?

    init(isTerminal: Bool) { self.isTerminal = isTerminal }

    func show(_ progress: DataDirectoryVerifier.Progress, seconds: Double) {
        if display == nil {
            display = ProgressDisplay(total: progress.totalBytes, isTerminal: isTerminal)
            if !isTerminal {
                write(
                    "checking \(InspectionText.count(progress.files, "file")), "
                        + "\(InspectionText.size(progress.totalBytes))\n")
            }
        }
        if let text = display!.update(done: progress.doneBytes, about: progress.path, seconds: seconds) { write(text) }
    }

    func clear() { if let display { write(display.cleared) } }

    private func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}

extension DataDirectoryVerifier.Summary {
    /// The table of what was checked, what was not, and the verdict.
    fileprivate func text(limit: Int) -> String {
        var table = Table(["", "files", "blocks", "bytes"], numbers: [1, 2, 3])
        var files = 0
        var total = InspectedAmount()
        for row in rows {
            table.add([row.kind.title, "\(row.files)", "\(row.amount.blocks)", "\(row.amount.bytes)"])
            files += row.files
            total.blocks += row.amount.blocks
            total.bytes += row.amount.bytes
        }
        table.add(["all", "\(files)", "\(total.blocks)", "\(total.bytes)"])
        var text = table.text
        text += Self.list("not checked, on their way or left over", unfinished, limit)
        text += Self.list("not checked, no files of a node", others, limit)
        let verdict = damages.isEmpty ? "no damage" : InspectionText.count(damages.count, "damaged place")
        return text + "\n\n" + verdict
    }

    private static func list(_ title: String, _ paths: [String], _ limit: Int) -> String {
        guard !paths.isEmpty else { return "" }
        var text = "\n\n\(title):"
        for path in paths.prefix(limit) { text += "\n  \(path)" }
        if paths.count > limit { text += "\n  … and \(paths.count - limit) more (--limit)" }
        return text
    }
}

extension DataFile.Kind {
    fileprivate var title: String {
        switch self {
        case .table: "tables"
        case .wal: "write-ahead logs"
        case .manifest: "manifests"
        case .segment: "Raft log segments"
        case .keyring: "keyrings"
        case .current: "pointers to manifests"
        case .note: "names"
        case .idle: "idle"
        case .unfinished: "unfinished"
        }
    }
}
