import ArgumentParser
import CairnDatabase
import CairnFiles
import CairnReplication

/// `cairn inspect`: what a file of the data folder says, and whether it is whole.
struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print a file of a node's data folder, or an overview of a folder.",
        discussion: """
            PATH is a data folder, a folder in it, or a file:

              cairn inspect DATA                                  everything, in short
              cairn inspect DATA/raft                             the log of all groups, and what it has of each
              cairn inspect DATA/raft/segment-0000000001          its records
              cairn inspect DATA/groups/1/tablet                  tables by level, the write-ahead log, the manifest
              cairn inspect DATA/groups/1/tablet/MANIFEST-000004  its edits, and the tree after the last
              cairn inspect DATA/groups/1/tablet/000007.wal       its batches
              cairn inspect DATA/groups/1/tablet/000005.sst       footer, properties, blocks
              cairn inspect DATA/keyring                          how many data keys, and which is active
              cairn inspect --verify DATA                         checks every block of every file, and counts them

            Files are read and checked whole, however little is shown; the tables of a folder only with --verify, which
            shows how far it is and, at the end, how much was checked instead of what is in the files. Nothing is ever
            written and no lock is taken, so the node may be down or up.

            The exit code is 0 when all is well, 1 when something is damaged (each place is named on a line that
            begins with DAMAGE), and 2 when PATH cannot be read or is nothing that a node writes.
            """)

    @Argument(help: ArgumentHelp("A file or folder of the data folder.", valueName: "path"))
    var path: String

    @Flag(help: "Show the keys of tables and the operations of batches and log entries too.")
    var keys = false

    @Option(help: ArgumentHelp("Show at most this many lines of each list; 0 shows all.", valueName: "count"))
    var limit = 20

    @Flag(help: "Check every block of every file at or below PATH, and show what was checked.")
    var verify = false

    @Option(help: ArgumentHelp("The master key of an encrypted data folder.", valueName: "file"))
    var keyFile: String?

    @Option(help: ArgumentHelp("The keyring, where it is not in a folder above PATH.", valueName: "file"))
    var keyring: String?

    func validate() throws {
        guard limit >= 0 else { throw ValidationError("--limit: \(limit) is negative") }
    }

    func run() throws {
        let fileSystem: PosixFileSystem
        do throws(FileError) { fileSystem = PosixFileSystem(keyring: try openKeyring()) } catch {
            print("cairn inspect: \(error)")
            throw ExitCode(2)
        }
        if verify { try verify(in: fileSystem) } else { try show(in: fileSystem) }
    }

    private func show(in fileSystem: PosixFileSystem) throws {
        var options = InspectionOptions()
        options.showsKeys = keys
        options.linesMax = limit == 0 ? nil : limit
        options.describeKey = { KeyDescription.text(of: $0) }
        options.describePayload = { ProposalDescription.lines(of: $0, showsKeys: $1) }
        var report = InspectionReport { print($0) }
        do throws(FileError) {
            try DataDirectoryInspector(fileSystem: fileSystem, options: options).inspect(path, into: &report)
        } catch {
            print("cairn inspect: \(error)")
            throw ExitCode(2)
        }
        guard !report.damages.isEmpty else { return }
        print("\(InspectionText.count(report.damages.count, "damaged place"))")
        throw ExitCode(1)
    }

    /// The keyring that the master key opens: the one that was named, or the nearest in a folder above.
    private func openKeyring() throws(FileError) -> Keyring? {
        let fileSystem = PosixFileSystem()
        guard let keyFile else {
            // What a keyring says about itself needs no key.
            if (try? KeyringInspector.isKeyring(path, in: fileSystem)) == true { return nil }
            guard let found = try nearestKeyring(fileSystem) else { return nil }
            throw FileError(.wrongKey, .open, path: path, reason: "\(found) says it is encrypted; pass --key-file")
        }
        let master = try MasterKey(try fileSystem.contents(of: keyFile, limit: 4096), source: keyFile)
        if let keyring { return try Keyring.open(keyring, master: master, createIfMissing: false, in: fileSystem) }
        if (try? KeyringInspector.isKeyring(path, in: fileSystem)) == true {
            return try Keyring.open(path, master: master, createIfMissing: false, in: fileSystem)
        }
        guard let found = try nearestKeyring(fileSystem) else {
            throw FileError(.notFound, .open, path: path, reason: "no keyring above it; name one with --keyring")
        }
        return try Keyring.open(found, master: master, createIfMissing: false, in: fileSystem)
    }

    private func nearestKeyring(_ fileSystem: PosixFileSystem) throws(FileError) -> String? {
        var folder = path
        while true {
            let candidate = folder + "/keyring"
            if try fileSystem.exists(candidate) { return candidate }
            let parent = PosixFileSystem.directory(of: folder)
            guard parent != folder else { return nil }
            folder = parent
        }
    }
}
