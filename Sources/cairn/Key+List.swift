import ArgumentParser
import CairnBSON
import CairnClient
import CairnFiles
import CairnReplication
import NIOPosix

extension Key {
    /// `cairn key list`
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the data keys, and how many files are under each.",
            discussion: """
                Asks every node of a running cluster, or reads a data folder with --data, for which no key is needed: a file \
                says in the clear which data key it is under. A key that no file is under goes when its node starts next, \
                or at the end of `cairn key rotate --rewrite`.
                """)

        @Argument(help: ArgumentHelp("Any node of the cluster.", valueName: "address"))
        var address = "127.0.0.1:27017"

        @Option(help: ArgumentHelp("Read this data folder instead of asking a cluster.", valueName: "dir"))
        var data: String?

        func run() async throws {
            var table = Table(["node", "data key", "state", "files", "bytes"], numbers: [0, 3, 4])
            var isWhole = true
            if let data {
                do { try Self.add(folder: data, to: &table) } catch {
                    print("cairn key list: \(error)")
                    throw ExitCode(2)
                }
            } else {
                let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
                let layout = try await ClusterDiscovery.layout(from: try ConnectionString(address), on: group.next())
                for node in layout.nodes {
                    let keys = await NodeKeys.fetch(from: node.clientAddress, on: group)
                    for row in keys.rows { table.add(["\(node.id.rawValue)"] + row) }
                    if keys.problem != nil { isWhole = false }
                }
            }
            print(table.text)
            if !isWhole { throw ExitCode(1) }
        }

        private static func add(folder: String, to table: inout Table) throws(FileError) {
            let fileSystem = PosixFileSystem()
            let outline = try KeyringOutline(of: "\(folder)/keyring", in: fileSystem)
            let usage = try DataKeyUsage(of: folder, in: fileSystem)
            for id in outline.keyIDs {
                let use = usage.uses[id] ?? DataKeyUsage.Use()
                let state = id == outline.activeID ? "active" : use.files > 0 ? "in use" : "unused"
                table.add(["-", Keyring.name(id), state, "\(use.files)", "\(use.bytes)"])
            }
            // A file under a key that the keyring lacks cannot be opened any more.
            for (id, use) in usage.uses.sorted(by: { $0.key < $1.key }) where !outline.keyIDs.contains(id) {
                let name = id == 0 ? "none" : Keyring.name(id)
                table.add(["-", name, id == 0 ? "in the clear" : "MISSING", "\(use.files)", "\(use.bytes)"])
            }
            if !usage.unknown.isEmpty { table.add(["-", "unknown", "unfinished", "\(usage.unknown.count)", "-"]) }
        }
    }
}

/// What a node says of its data keys.
struct NodeKeys {
    /// Key, state, files, bytes.
    var rows: [[String]] = []
    var oldFiles: Int64 = 0
    var oldBytes: Int64 = 0
    var isRewriting = false
    /// Why there is no answer, or why the last rewriting failed.
    var problem: String?

    static func fetch(from address: String, on group: MultiThreadedEventLoopGroup) async -> NodeKeys {
        do throws(ClientError) {
            return NodeKeys(
                try await ClusterDiscovery.ask(
                    try ConnectionString(address), ["cairnDataKeys": 1, "$db": "admin"], on: group.next()))
        } catch {
            var keys = NodeKeys()
            keys.problem = "\(error)"
            keys.rows = [["-", keys.problem!, "-", "-"]]
            return keys
        }
    }

    private init() {}

    private init(_ reply: Document) {
        guard let keys = reply["keys"]?.asArray else {
            problem = reply["errmsg"]?.stringValue ?? "an answer without keys"
            rows = [["-", problem!, "-", "-"]]
            return
        }
        for case .document(let key) in keys {
            let files = key["files"]?.int64Exactly ?? 0
            let bytes = key["bytes"]?.int64Exactly ?? 0
            let isActive = key["active"]?.asBool ?? false
            if !isActive {
                oldFiles += files
                oldBytes += bytes
            }
            let state = isActive ? "active" : files > 0 ? "in use" : "unused"
            rows.append([key["keyId"]?.stringValue ?? "?", state, "\(files)", "\(bytes)"])
        }
        if let files = reply["clearFiles"]?.int64Exactly, files > 0 {
            oldFiles += files
            oldBytes += reply["clearBytes"]?.int64Exactly ?? 0
            rows.append(["none", "in the clear", "\(files)", "\(reply["clearBytes"]?.int64Exactly ?? 0)"])
        }
        if let files = reply["unknownFiles"]?.int64Exactly, files > 0 {
            rows.append(["unknown", "unfinished", "\(files)", "-"])
        }
        isRewriting = reply["rewriting"]?.asBool ?? false
        problem = reply["failure"]?.stringValue
    }
}
