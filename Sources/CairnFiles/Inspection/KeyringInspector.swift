/// Shows a keyring to people: its data keys by their ids, and never what they are.
public struct KeyringInspector: Sendable {
    private let fileSystem: any FileSystem

    public init(fileSystem: any FileSystem) {
        self.fileSystem = fileSystem
    }

    /// Shows the keyring at `path`. Whether the master key opens it is known where one was given: the file system has the
    /// keyring then.
    public func keyring(_ path: String, into report: inout InspectionReport) {
        do throws(FileError) {
            let size = try fileSystem.size(of: path)
            let outline = try KeyringOutline(of: path, in: fileSystem)
            report.check(bytes: size)
            let count = InspectionText.count(outline.keyIDs.count, "data key")
            report.line("\(count), format \(KeyringOutline.formatVersion)")
            report.indented { report in
                for id in outline.keyIDs {
                    report.line(
                        Keyring.name(id) + (id == outline.activeID ? "  active: new files are sealed under it" : ""))
                }
            }
            if let opened = fileSystem.keyring, Set(opened.keys.map(\.id)) == Set(outline.keyIDs) {
                report.line("the master key opens all of them")
            }
        } catch {
            report.damage(error)
        }
    }

    /// Whether the file at `path` begins as a keyring does.
    public static func isKeyring(_ path: String, in fileSystem: any FileSystem) throws(FileError) -> Bool {
        let file = try fileSystem.open(path)
        return try file.read(at: 0, upTo: KeyringFile.magic.count) == KeyringFile.magic
    }
}
