import ArgumentParser
import CairnFiles

/// `cairn key`: the keys that data at rest is encrypted with.
struct Key: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a master key; show or change the data keys of a cluster.",
        discussion: """
            A node that is started with a master key (encryption.key-file, encryption.key-command, or CAIRN_ENCRYPTION_KEY \
            in the environment) encrypts every file that it begins: logs, tables and manifests. The master key locks the \
            node's keyring, whose data keys lock the files. Without the master key the data is lost, so keep a copy of it \
            away from the data.
            """,
        subcommands: [Generate.self, List.self, Rotate.self])

    /// `cairn key generate`
    struct Generate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print a new master key.",
            discussion: "For example: (umask 077 && cairn key generate > master.key)")

        func run() { print(MasterKey.generate()) }
    }
}
