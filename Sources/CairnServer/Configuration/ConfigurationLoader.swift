import CairnDefects
import CairnRaft
import Configuration
import SystemPackage
import Yams

/// Reads a node's configuration from flags, `CAIRN_…` environment variables and a YAML file, in that order of
/// precedence.
public enum ConfigurationLoader {
    /// Every key that a file may hold.
    static let keys: Set<String> = [
        "node.id", "node.data", "node.event-loops", "node.connections", "node.test-commands",
        "cluster.name", "cluster.nodes", "cluster.groups", "cluster.replicas",
        "cluster.rebuild-after-seconds",
        "raft.heartbeat-ms", "raft.election-timeout-ms", "raft.quiet-after-ms", "raft.log-bytes", "raft.log-entries",
        "storage.reserve-bytes", "storage.memtable-bytes", "storage.cache-bytes", "storage.memory-bytes",
        "storage.tablet-wal", "storage.reader-threads",
        "storage.compaction-bytes-per-second", "storage.ttl-sleep-seconds",
        "encryption.key-file", "encryption.key", "encryption.key-command",
        "log.level",
    ]

    /// - Parameters:
    ///   - file: the YAML file, or nil for a standalone node.
    ///   - flags: values from the command line by key, which win over everything else.
    /// - Throws: ``ConfigurationError`` that names the file, the key and the fix.
    public static func load(file: String?, flags: [String: String]) async throws(ConfigurationError)
        -> NodeConfiguration
    {
        var providers: [any ConfigProvider] = [
            InMemoryProvider(
                name: "flags",
                values: Dictionary(
                    uniqueKeysWithValues: flags.map {
                        (
                            AbsoluteConfigKey($0.key.split(separator: ".").map(String.init)),
                            ConfigValue(.string($0.value), isSecret: false)
                        )
                    })),
            EnvironmentVariablesProvider().prefixKeys(with: "cairn"),
        ]
        if let file {
            try checkKeys(of: file)
            do {
                providers.append(try await FileProvider<YAMLSnapshot>(filePath: FilePath(file)))
            } catch {
                throw ConfigurationError(file: file, key: "(file)", problem: "\(error)", fix: "check its YAML")
            }
        }
        let reader = KeyReader(config: ConfigReader(providers: providers), file: file)
        do throws(ConfigurationError) {
            return try read(reader, hasFile: file != nil).validated()
        } catch {
            throw ConfigurationError(file: error.file ?? file, key: error.key, problem: error.problem, fix: error.fix)
        }
    }

    private static func read(_ reader: KeyReader, hasFile: Bool) throws(ConfigurationError) -> NodeConfiguration {
        var result = NodeConfiguration(standaloneIn: "")
        if let lines = try reader.strings("cluster.nodes") {
            result.nodes = try lines.map { line throws(ConfigurationError) in try NodeAddress(parsing: line) }
            result.replicas = min(3, result.nodes.count.isMultiple(of: 2) ? result.nodes.count - 1 : result.nodes.count)
        } else if let joined = try joinedFolder(try reader.string("node.data")) {
            result = joined
        } else if hasFile {
            throw ConfigurationError(
                key: "cluster.nodes", problem: "the file names no nodes",
                fix: "list each as '1 client=HOST:PORT peer=HOST:PORT http=HOST:PORT'")
        } else if let port = try reader.integer("node.port") {
            guard (1...64_000).contains(port) else {
                throw ConfigurationError(key: "node.port", problem: "\(port) is not in 1...64000", fix: "try 27017")
            }
            result = NodeConfiguration(standaloneIn: "", port: port)
        }
        if let value = try reader.string("node.data") { result.dataDirectory = value }
        if let value = try reader.integer("node.id") { result.node = NodeID(rawValue: UInt64(max(value, 0))) }
        if let value = try reader.integer("node.event-loops") { result.eventLoops = value }
        if let value = try reader.integer("node.connections") { result.connectionsMax = value }
        if let value = try reader.boolean("node.test-commands") { result.testCommandsEnabled = value }
        // Of no file: nobody keeps a bug in a configuration.
        if let names = try reader.string("defect") {
            result.defects = try defects(names.split(separator: ","), areAllowed: result.testCommandsEnabled)
        }
        if let value = try reader.string("cluster.name") { result.clusterName = value }
        if let value = try reader.integer("cluster.groups") { result.dataGroups = value }
        if let value = try reader.integer("cluster.replicas") { result.replicas = value }
        if let value = try reader.integer("cluster.rebuild-after-seconds") { result.rebuildAfterSeconds = value }
        if let value = try reader.integer("raft.heartbeat-ms") { result.heartbeatMilliseconds = value }
        if let value = try reader.integer("raft.election-timeout-ms") { result.electionTimeoutMilliseconds = value }
        if let value = try reader.integer("raft.quiet-after-ms") { result.quietAfterMilliseconds = value }
        if let value = try reader.integer("raft.log-bytes") { result.logBytesMax = value }
        if let value = try reader.integer("raft.log-entries") { result.logEntriesMax = value }
        if let value = try reader.integer("storage.memtable-bytes") { result.memtableBytesMax = value }
        if let value = try reader.integer("storage.reserve-bytes") { result.spaceReserveBytes = value }
        if let value = try reader.integer("storage.cache-bytes") { result.cacheBytesMax = value }
        if let value = try reader.integer("storage.reader-threads") { result.readerThreads = value }
        if let value = try reader.integer("storage.memory-bytes") { result.memoryBytesMax = value }
        if let value = try reader.integer("storage.compaction-bytes-per-second") {
            result.compactionBytesPerSecond = value
        }
        if let value = try reader.integer("storage.ttl-sleep-seconds") { result.expirySleepSeconds = value }
        if let value = try reader.boolean("storage.tablet-wal") { result.tabletsHaveWAL = value }
        var sources: [EncryptionSource] = []
        if let value = try reader.string("encryption.key-file") { sources.append(.file(value)) }
        if let value = try reader.string("encryption.key") { sources.append(.text(value)) }
        if let value = try reader.string("encryption.key-command") { sources.append(.command(value)) }
        guard sources.count <= 1 else {
            throw ConfigurationError(
                key: "encryption", problem: "more than one source of the master key",
                fix: "set one of key-file, key and key-command")
        }
        result.encryption = sources.first
        if let value = try reader.string("log.level") { result.logLevel = value }
        return result
    }

    /// The deliberate bugs that a node is told to have.
    ///
    /// - Throws: ``ConfigurationError`` where it cannot have them: a node that seems to have a bug, and does not, would let
    ///   whoever looks for it believe that there is nothing to find.
    private static func defects(_ names: [Substring], areAllowed: Bool) throws(ConfigurationError) -> Defects {
        func refused(_ problem: String, _ fix: String) -> ConfigurationError {
            ConfigurationError(key: "CAIRN_DEFECT", problem: problem, fix: fix)
        }
        guard Defects.areCompiledIn else {
            throw refused("a release build has no deliberate bugs", "unset it, or run a debug build")
        }
        guard areAllowed else {
            throw refused("only a node for tests has deliberate bugs", "unset it, or pass --enable-test-commands")
        }
        var found: [Defect] = []
        for name in names {
            guard let defect = Defect(rawValue: String(name)) else {
                throw refused(
                    "there is no defect '\(name)'",
                    "one of \(Defect.allCases.map(\.rawValue).joined(separator: ", ")) may be meant")
            }
            found.append(defect)
        }
        return Defects(found)
    }

    /// What a folder that was made for a joining node says; nil for any other.
    private static func joinedFolder(_ directory: String?) throws(ConfigurationError) -> NodeConfiguration? {
        guard let directory else { return nil }
        do { return try NodeFolder.configuration(of: directory) } catch let error as ConfigurationError {
            throw error
        } catch {
            throw ConfigurationError(
                key: "node.data", problem: "\(directory) cannot be read (\(error))", fix: "check its permissions")
        }
    }

    /// Refuses a file with a key that means nothing, which would otherwise be a setting that silently has no effect.
    private static func checkKeys(of file: String) throws(ConfigurationError) {
        let text: String
        do {
            let descriptor = try FileDescriptor.open(FilePath(file), .readOnly)
            defer { try? descriptor.close() }
            var bytes: [UInt8] = []
            let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 1)
            // Safety: the buffer lives until this scope ends and `read` fills at most its size.
            defer { unsafe chunk.deallocate() }
            while true {
                let count = try unsafe descriptor.read(into: chunk)
                if count == 0 { break }
                guard bytes.count + count <= 1 << 20 else {
                    throw ConfigurationError(
                        file: file, key: "(file)", problem: "over 1 MiB", fix: "name a configuration file")
                }
                unsafe bytes.append(contentsOf: chunk[..<count])
            }
            text = String(decoding: bytes, as: UTF8.self)
        } catch let error as ConfigurationError {
            throw error
        } catch {
            throw ConfigurationError(
                file: file, key: "(file)", problem: "cannot be read (\(error))",
                fix: "check the path and its permissions")
        }
        let root: Any?
        do { root = try Yams.load(yaml: text) } catch {
            throw ConfigurationError(
                file: file, key: "(file)", problem: "not valid YAML: \(error)", fix: "mend that line")
        }
        guard let sections = root as? [String: Any] else {
            throw ConfigurationError(
                file: file, key: "(file)", problem: "no sections",
                fix: "start from cluster-configs/local-3/cluster.yaml")
        }
        for (section, content) in sections.sorted(by: { $0.key < $1.key }) {
            for name in ((content as? [String: Any]) ?? [:]).keys.sorted() where !keys.contains("\(section).\(name)") {
                let known = keys.filter { $0.hasPrefix(section + ".") }.sorted().joined(separator: ", ")
                throw ConfigurationError(
                    file: file, key: "\(section).\(name)", problem: "unknown key",
                    fix: known.isEmpty ? "remove the section '\(section)'" : "one of \(known) may be meant")
            }
            if !keys.contains(where: { $0.hasPrefix(section + ".") }) {
                throw ConfigurationError(
                    file: file, key: section, problem: "unknown section",
                    fix: "sections are cluster, encryption, log, node, raft, storage")
            }
        }
    }
}

/// Reads typed values and turns what cannot be read into a ``ConfigurationError``.
private struct KeyReader {
    let config: ConfigReader
    let file: String?

    func string(_ key: String) throws(ConfigurationError) -> String? {
        try value(key, "text") { try config.requiredString(forKey: ConfigKey(key)) }
    }

    func strings(_ key: String) throws(ConfigurationError) -> [String]? {
        try value(key, "a list of texts") { try config.requiredStringArray(forKey: ConfigKey(key)) }
    }

    func integer(_ key: String) throws(ConfigurationError) -> Int? {
        // A flag is text whatever it means, so text that reads as a number is one.
        if let text = config.string(forKey: ConfigKey(key)), let number = Int(text) { return number }
        return try value(key, "a whole number") { try config.requiredInt(forKey: ConfigKey(key)) }
    }

    func boolean(_ key: String) throws(ConfigurationError) -> Bool? {
        if let text = config.string(forKey: ConfigKey(key)), let flag = Bool(text) { return flag }
        return try value(key, "true or false") { try config.requiredBool(forKey: ConfigKey(key)) }
    }

    /// The value, or nil when no source has the key.
    private func value<T>(_ key: String, _ kind: String, _ read: () throws -> T) throws(ConfigurationError) -> T? {
        do { return try read() } catch {
            // The library's error type is its own; its text is what tells a missing key from an unreadable one.
            if "\(error)".hasPrefix("Missing required config value") { return nil }
            throw ConfigurationError(file: file, key: key, problem: "is not \(kind)", fix: "write \(kind)")
        }
    }
}
